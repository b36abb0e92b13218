"""``relay doctor --report``: one file to attach to a report of something that does not work.

Versions, agent.yaml, what the doctor finds, and what the running relay says of itself: of each only
what `excerpt`, `running` and `redaction` let through. It can be written where the configuration is
mistaken or missing, for then it is needed most.
"""

from __future__ import annotations

import io
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

from relay import __version__
from relay.commands import CommandError
from relay.commands.check import credentials_of
from relay.commands.doctor import StreamOptions, System, diagnose
from relay.commands.doctor.hops import extras_of
from relay.commands.report.excerpt import excerpt
from relay.commands.report.redaction import Redaction
from relay.commands.report.running import Section, look
from relay.config import ConfigurationError, ListenAddress, Settings
from relay.upstream.egress import Egress

_LIBRARIES: Final = ("aiohttp", "pydantic", "PyYAML", "prometheus-client", "uvloop", "orjson")
_NOT_READ: Final = "(cannot be read)"
# Variables whose values are shown; of others only that they are set.
_SHOWN: Final = ("RELAY_LISTEN", "RELAY_RETURNS", "RELAY_ADMIN", "RELAY_LOG", "TZ", "LANG")


async def compose(
    file: Path | None,
    loaded: Settings | ConfigurationError,
    system: System,
    admin: ListenAddress,
    environment: Mapping[str, str] = os.environ,
) -> str:
    """Return the report's text; ``file`` is agent.yaml, where there is one."""
    redaction = Redaction(environment)
    shown = _configuration(file, redaction)
    findings = await _findings(loaded, system, redaction)
    sections = [
        ("configuration, redacted", shown),
        ("variables", _variables(environment)),
        ("relay doctor", findings),
        *await look(admin),
    ]
    _learn(sections, redaction)
    versions = redaction.known_out(_text("versions", _versions(system)))
    head = f"relay doctor --report, {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n"
    body = "".join(redaction.apply(_text(*section)) for section in sections)
    return f"{head}\n{versions}{body}"


def write(text: str, folder: Path) -> Path:
    """Write a report into a folder, for its owner alone; return where.

    Raises:
        CommandError: It cannot be written.
    """
    path = folder / f"relay-report-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.txt"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as out:  # noqa: PTH123  # a descriptor
            out.write(text)
    except OSError as error:
        reason = (error.strerror or "unknown").lower()
        raise CommandError(
            f"{path.name} cannot be written here: {reason}; --report=- prints it instead"
        ) from error
    return path


def _learn(sections: Iterable[Section], redaction: Redaction) -> None:
    for _, lines in sections:
        for line in lines:
            redaction.learn(line)


def _text(heading: str, lines: Iterable[str]) -> str:
    return "\n".join([f"== {heading}", *lines, "", ""])


def _versions(system: System) -> list[str]:
    found = {name: metadata.version(name) for name in _LIBRARIES}
    return [
        f"relay {__version__}",
        f"Python {platform.python_version()} ({sys.implementation.name})",
        f"{platform.system()} {platform.release()} {platform.machine()}",
        f"Docker: {system.docker_platform() or 'no client here'}",
        *(f"{name} {version}" for name, version in found.items()),
    ]


def _configuration(file: Path | None, redaction: Redaction) -> list[str]:
    if file is None:
        return ["(there is none)"]
    folder = file.absolute().parent
    try:
        lines = excerpt(file.read_text(encoding="utf-8"), folder, redaction)
    except (OSError, UnicodeDecodeError, ConfigurationError):
        lines = [_NOT_READ]
    redaction.hide(str(file.absolute()), "agent.yaml")
    redaction.hide(str(file), "agent.yaml")
    redaction.hide(str(folder), "<folder>")
    return lines


def _variables(environment: Mapping[str, str]) -> list[str]:
    """Return the variables that matter: the values of some, of others only that they are set."""
    lines = [f"{name}={environment[name]}" for name in _SHOWN if environment.get(name)]
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for name in sorted(environment):
        heeded = name.startswith(("RELAY_", "ANTHROPIC_", "CLAUDE_CODE_", "OPENAI_"))
        if name not in _SHOWN and (heeded or name.lower() in proxies) and environment[name]:
            lines.append(f"{name} is set")
    return lines or ["(none)"]


async def _findings(
    loaded: Settings | ConfigurationError, system: System, redaction: Redaction
) -> list[str]:
    if isinstance(loaded, ConfigurationError):
        return [*loaded.explain(), "nothing else was looked at"]
    await _hide_values(loaded, redaction)
    out = io.StringIO()
    await diagnose(loaded, system, StreamOptions(), out, as_json=False)
    return out.getvalue().splitlines()


async def _hide_values(settings: Settings, redaction: Redaction) -> None:
    """Hide every credential's value: they are in no file that the excerpt reads."""
    grants, clients = await credentials_of(settings)
    extras = [each.credential for each in await extras_of(settings)]
    for credential in (*grants, *clients, *extras):
        _hide(credential.values() or (), redaction)
        credential.close()
    for egress in map(Egress, settings.egresses):
        await egress.look()
        _hide(egress.secrets, redaction)
        egress.close()


def _hide(values: Iterable[bytes], redaction: Redaction) -> None:
    for value in values:
        redaction.hide(value.decode())
