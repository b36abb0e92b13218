"""Enters the sandbox: from a container's start to Claude Code, as the owner of the user's folder.

A container that starts as root becomes whoever owns the folder it is started in, and gives up
every right on the way: so files made here belong to the user, also where the user's id is not
1000 and where Docker itself runs without root. Then Claude Code's first questions (theme, trust
in this very folder, which is mounted for it) are answered in its own settings, and the relay is
asked once for what would have every call fail: Claude Code would try for minutes. A first word that
is a program here, such as git, is run as it is: to Claude Code it would be a prompt, and billed.

It holds no credential: only the relay's address, and a token that is worthless elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

_PATIENCE_SECONDS: Final = 20
_SETPRIV: Final = "/usr/bin/setpriv"
_CREDENTIAL_LINE: Final = re.compile(r"^\s*[A-Z_]+_(API_KEY|OAUTH_TOKEN)\s*=.", re.MULTILINE)

NO_CREDENTIAL: Final = """\
The relay has no credential yet. Start with ANTHROPIC_API_KEY=sk-ant-... in front of
`docker compose`, or put the key into the file secrets/anthropic_api_key beside compose.yaml."""
NO_UPSTREAM: Final = """\
The relay runs, but does not reach what it calls: no Headroom answers, or this host does not reach
the API. `docker compose exec relay relay doctor` says which. For Headroom, add
`--profile headroom` right after `docker compose`, or start your own; with the profile, agent.yaml
must have Headroom in claude.hops, as in examples/llm-proxy."""
UNKNOWN_CLIENT: Final = """\
The relay does not know this container's token. It is made anew with
`docker compose down && docker volume rm relay-token`, or by renewing agent.env."""
NO_RELAY: Final = """\
The relay can't be reached at {address}: it does not run, or a firewall on the host drops
what containers send. `docker compose exec relay relay doctor` says which."""

WELL: Final = "relay: no key is in here; {page} shows each call, and what it costs\n"
"""All that stands before Claude Code, where Compose is quiet."""
EXPOSED: Final = """\
This is the relay's own folder, and {file} in it holds the credential: whatever runs in here could
read it. Start Claude Code in your project's folder instead: see examples/claude/README.md."""

_REMEDIES: Final = {401: UNKNOWN_CLIENT, 502: NO_UPSTREAM, 503: NO_CREDENTIAL, 504: NO_UPSTREAM}


def main(arguments: Sequence[str]) -> NoReturn:
    """Become the user, make ready, and turn into what was asked for."""
    if os.getuid() == 0 and _rights():
        _become_owner(Path.cwd(), arguments)
    os.environ |= variables_of(os.getuid(), os.environ) | {"HOME": str(_home())}
    if token := _token(os.environ):
        os.environ["ANTHROPIC_AUTH_TOKEN"] = token
    if exposed := credential_within(Path.cwd()):
        raise SystemExit(EXPOSED.format(file=exposed))
    command = command_for(arguments)
    if command[0] == "claude":
        settle_questions(_home() / ".claude.json", Path.cwd())
        if problem := ask_relay(os.environ):
            raise SystemExit(problem)
        if sys.stderr.isatty() and (page := os.environ.get("RELAY_PAGE")):
            sys.stderr.write(WELL.format(page=page))
    os.execvp(command[0], command)  # noqa: S606  # no shell is wanted


def variables_of(uid: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the user's environment has besides.

    Root is who owns a folder of root's, and the user's own under an engine without root. Claude
    Code refuses root --dangerously-skip-permissions unless it is told that this is a sandbox, which
    it is: this root has no rights (observed on 2.1.330).
    """
    variables = {"USER": "agent", "LOGNAME": "agent"}
    if uid == 0 and "IS_SANDBOX" not in environment:
        variables["IS_SANDBOX"] = "1"
    return variables


def command_for(arguments: Sequence[str]) -> list[str]:
    """Return what to run: Claude Code with these arguments, or the program that is named first."""
    given = list(arguments)
    return given if given and shutil.which(given[0]) else ["claude", *given]


def _rights() -> bool:
    """Tell whether this process may change who it is, by the line CapEff of proc(5)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    effective = next(line for line in lines if line.startswith("CapEff:"))
    return int(effective.split()[1], 16) != 0


def _become_owner(folder: Path, arguments: Sequence[str]) -> NoReturn:
    """Start again as the owner of the folder, without a capability and no way to one."""
    owner = folder.stat()
    command = [_SETPRIV, f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
    command += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    command += [sys.executable, "-I", __file__, *arguments]
    os.execv(_SETPRIV, command)  # noqa: S606  # no shell is wanted


def _home() -> Path:
    """Return this user's own folder in the volume, made if need be."""
    home = Path(os.environ.get("AGENT_HOMES", "/agent")) / str(os.getuid())
    home.mkdir(mode=0o700, exist_ok=True)
    return home


def _token(environment: Mapping[str, str]) -> str | None:
    """Return the agents' token from the file that the relay shares, where there is one."""
    file = environment.get("ANTHROPIC_AUTH_TOKEN_FILE")
    if file is None:
        return None
    with contextlib.suppress(OSError):
        return Path(file).read_text(encoding="utf-8-sig").strip()
    return None


def credential_within(folder: Path) -> str | None:
    """Return which file of the relay's own folder holds a credential, if this is that folder."""
    with contextlib.suppress(OSError):
        if "\nname: agent-relay\n" not in (folder / "compose.yaml").read_text(encoding="utf-8"):
            return None
        if secret := next((folder / "secrets").glob("[!.]*"), None):
            return f"secrets/{secret.name}"
        text = (folder / ".env").read_text(encoding="utf-8-sig")
        return ".env" if _CREDENTIAL_LINE.search(text) else None
    return None


def settle_questions(file: Path, folder: Path) -> None:
    """Answer what Claude Code would ask first, and leave what it or the user has written."""
    settings = _settings(file)
    before = json.dumps(settings)
    settings.setdefault("hasCompletedOnboarding", True)
    settings.setdefault("theme", "dark")
    project = settings.setdefault("projects", {}).setdefault(str(folder), {})
    project.setdefault("hasTrustDialogAccepted", True)
    if json.dumps(settings) != before:
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(settings, indent=2), encoding="utf-8")
        temporary.replace(file)


def _settings(file: Path) -> dict[str, Any]:  # JSON
    with contextlib.suppress(OSError, ValueError):
        settings = json.loads(file.read_text(encoding="utf-8-sig"))
        if isinstance(settings, dict):
            return settings
    return {}


def ask_relay(environment: Mapping[str, str]) -> str | None:
    """Return what to tell the user where no call could succeed; None where one may.

    Only what the relay says itself counts: an API's own error is for Claude Code to show.
    """
    base = environment.get("ANTHROPIC_BASE_URL", "")
    request = urllib.request.Request(f"{base}/v1/models?limit=1")  # noqa: S310  # the relay's
    request.add_header("authorization", f"Bearer {environment.get('ANTHROPIC_AUTH_TOKEN', '')}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(request, timeout=_PATIENCE_SECONDS).close()
    except urllib.error.HTTPError as answer:
        with answer:
            own = answer.headers.get("x-relay-error")
            return _REMEDIES.get(answer.code) if own else None
    except TimeoutError:
        return None  # slow, and perhaps no more than that
    except OSError:
        return NO_RELAY.format(address=base)
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
