"""The page docs/troubleshooting.md, where the relay does not start: each message is provoked."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from relay.cli import FAILED, OK, UNUSABLE, main
from relay.credentials.reading import Reading
from relay.credentials.shape import remark, remarks
from tests.harness import FUSE_SECONDS, ROOT
from tests.harness.relay import update_configuration
from tests.harness.secrets import OTHER_TOKEN, TOKEN
from tests.integration.test_run import Run, serving

Output = pytest.CaptureFixture[str]

SANDBOX: Final = ROOT / "examples" / "claude" / "entry.py"
SECTION: Final = (
    (ROOT / "docs" / "troubleshooting.md")
    .read_text()
    .split("\n## The relay does not start\n")[1]
    .split("\n## ")[0]
)
OF_CHECK, OF_OTHERS = (
    re.findall(r"^\| `(.*?)` \|", part, re.MULTILINE)
    for part in SECTION.split("\nOf `relay run`")[0].split("\nOf the other commands:\n")
)
OF_RUN: Final = re.findall(
    r"^\| `(.*?)` \|",
    SECTION.split("\nOf `relay run`")[1].split("\nThe sandbox of ")[0],
    re.MULTILINE,
)
"""The messages of the section's first two tables."""

URL: Final = "claude: {base_url: 'http://localhost:8787'}\n"
SHORT: Final = "grants: [anthropic]\n" + URL
HOPS: Final = "[{name: headroom, url: 'http://localhost:8787'}]"
CHAIN: Final = f"grants: [anthropic]\nclaude:\n  hops: {HOPS}\n"
KEY: Final = "sk-ant-api03-u8Qm2Lx7Vt0RcY5dWk1Zp9Hs3Nf6Bj4Gg-eA7oQw"
TLS: Final = "relays: {anthropic: {url: 'https://localhost', ca_file: nothing.pem}}\n"

OWN: Final = "grants: [{name: corp, source: {file: x}, %s}]\n" + URL

MISTAKES: Final = [
    *(OWN % "header: X, headers: {Y: '{a}'}", OWN % "headers: {Y: '{a}', y: '{b}'}"),
    *(
        OWN % "headers: {Y: mine}",
        SHORT.replace("anthropic", f"{{name: claude, source: {{file: x, json: {KEY}}}}}"),
    ),
    *("", URL, "grants: [anthropic]\n", "grants: [openai]\n" + URL),
    *("grants: [anthropic, claude]\n" + URL, "grants: [corp]\n" + URL),
    *("grants:\n\t- anthropic\n", "grants: [{name: anthropic, source: {path: key}}]\n" + URL),
    "grants: [{name: anthropic, source: {env: " + KEY + "}}]\n" + URL,
    "grants: [anthropic]\nclaude: {base_url: 'localhost:8787'}\n",
    "grants: [anthropic]\nclaude: {base_url: 'http://me:word@localhost:8787'}\n",
    *(SHORT + "listen: [8484]\n", SHORT + "listen: ['0.0.0.0:8484']\n"),
    *(SHORT + "admin: '127.0.0.1:8484'\n", "grants: [anthropic]\n" + TLS),
    *("grants: [anthropic\n" + URL, "grant: [anthropic]\n" + URL),
    *(SHORT + "grant: [anthropic]\n", SHORT + "admin: '0.0.0.0:9484'\n"),
    *(SHORT + f"api_key: '{KEY}'\n", SHORT + "api_key: x\n"),
    *(
        "grants: [anthropic]\nclaude: {base_url: 'http://localhost:8484'}\n",
        SHORT + "listen: 8484\n",
        SHORT + "listen: ['[::1]:1', '[::1]:1']\n",
    ),
    "grants: [anthropic]\nclaude: {base_url: 'https://api.anthropic.com/v1'}\n",
    "grants: [anthropic]\nclaude:\nbase_url: 'http://localhost:8787'\n",
    CHAIN + "  base_url: 'http://localhost:8787'\n",
    CHAIN + "returns: '127.0.0.1:8484'\n",
    CHAIN.replace("8787", "8485"),
    CHAIN.replace("[", "[openai, ", 1) + "relays: {openai: {url: 'http://localhost:8787'}}\n",
    CHAIN.replace("http://localhost:8787", "https://api.anthropic.com"),
    "grants: [anthropic]\nclaude: {base_url: 'http://api.anthropic.com'}\n",
    CHAIN.replace("}]", "}, {name: again, url: 'http://localhost:8787'}]"),
    CHAIN.replace("}]", "}, {name: headroom, url: 'http://localhost:9000'}]"),
    CHAIN.replace("}]", ", headers: {x-api-key: {file: key}}}]"),
    CHAIN.replace("}]", ", headers: {x-relay-call: {file: key}}}]"),
    CHAIN + f"relays: {{anthropic: {{hops: {HOPS}}}}}\n",
    CHAIN + "relays: {anthropic: {headers: {x-api-key: {file: key}}}}\n",
    (
        "grants: [{name: corp, header: x-key, source: {file: key}}]\n"
        f"claude: {{grant: corp, hops: {HOPS}}}\n"
    ),
    (
        "grants: [anthropic]\nrelays:\n"
        f"  anthropic: {{hops: {HOPS}}}\n"
        f"  other: {{grant: anthropic, url: 'https://api.anthropic.com', hops: {HOPS}}}\n"
    ),
    SHORT + "returns: '127.0.0.1:8485'\n",
]
ALLOWED: Final = (
    *("relays: {openai:", "\ngrant:", "0.0.0.0:9484", "api_key:", "/v1'", "'http://api."),
    *("  other:", SHORT + "returns:"),
)
"""What is in those that serve all the same, with a warning."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command runs in, without anything that it could find elsewhere."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_message_of_relay_check(folder: Path, capsys: Output) -> None:
    """Each in the table is what the command says of one of these mistakes, word for word."""
    for text in MISTAKES:
        (folder / "agent.yaml").write_text(text)
        allowed = any(each in text for each in ALLOWED)
        assert main(["check"]) == (OK if allowed else UNUSABLE)
    (folder / "agent.yaml").unlink()
    assert main(["check"]) == UNUSABLE
    assert main(["check", "--config", str(folder)]) == UNUSABLE
    said = "".join(capsys.readouterr()).splitlines()
    assert KEY not in str(said)
    assert [text for text in OF_CHECK if not any(line.endswith(text) for line in said)] == []


VALUES: Final = [
    *(f"'{KEY}'", f"A_KEY={KEY}", f"Bearer {KEY}", f"{KEY} #", KEY.replace("api", "oat")),
    *("sk-ant-...", "changeme", "$A_KEY", "~/key", '{"a": 1}', "sk-proj-8Qm2Lx7Vt0RcY5dWk1Zp", KEY),
    "9fK2" * 3000,
]


def test_every_remark_on_a_value() -> None:
    """Each in its table is what is said of one of these, in a grant or as a token."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    section = page.split("\n## A value that cannot be right\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    shown = [text.rstrip("… ") for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    grants = ("anthropic", "claude", None)
    said = [str(remark(value, grant)) for value in VALUES for grant in grants]
    both = Reading(KEY, expires_at=1, readable_by_all=True)
    said += [str(each) for each in remarks(both, "anthropic")]
    said += [str(each) for each in remarks(Reading(KEY, end_is_unread=True), "anthropic")]
    assert len(shown) > 12
    assert [text for text in shown if not any(line.startswith(text) for line in said)] == []


def test_the_example_is_what_is_said(folder: Path, capsys: Output) -> None:
    """The lines above the table, from a file with that mistake."""
    text = "grants: [anthropic]\nclaude:\n  base_url: 'http://localhost'\n  base_ulr: x\n"
    (folder / "agent.yaml").write_text(text)
    assert main(["check"]) == UNUSABLE
    said = capsys.readouterr().err.replace("agent.yaml:4", "agent.yaml:3")
    assert f"```\n{said}```" in SECTION


def served(file: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Have a relay start that cannot."""
    return subprocess.run(
        [sys.executable, "-m", "relay", "serve", "--config", str(file)],
        env={"RELAY_ADMIN": "127.0.0.1:0", "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=FUSE_SECONDS,
        check=False,
    )


def test_every_message_of_the_others(folder: Path, capsys: Output) -> None:
    """A port that is taken, no relay to ask, nothing to print for an agent."""
    file = folder / "agent.yaml"
    file.write_text(SHORT + "clients: [{name: agent, token: {file: nothing}}]\n")
    chain = folder / "chain.yaml"
    chain.write_text(CHAIN)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        serve = served(file, RELAY_LISTEN=taken)
        returns = served(chain, RELAY_LISTEN="127.0.0.1:0", RELAY_RETURNS=taken)
    os.environ["RELAY_ADMIN"] = taken  # where nobody listens any more
    statuses = [serve.returncode, returns.returncode, main(["health"]), main(["env"])]
    del os.environ["RELAY_ADMIN"]
    file.write_text(SHORT)
    statuses += [main(["env", "--relay", "openai"]), main(["env", "codex"])]
    assert set(statuses) == {FAILED}
    said = returns.stderr.replace(taken, "127.0.0.1:8485")
    said += (serve.stderr + capsys.readouterr().err).replace(taken, "127.0.0.1:9484")
    assert [message for message in OF_OTHERS if f"relay: {message}" not in said] == []
    assert len(OF_OTHERS) == len(statuses)


@pytest.mark.asyncio_loop
async def test_every_message_of_run(tmp_path: Path) -> None:
    """Each is said of one of these, and nothing is started."""
    run = Run(tmp_path)
    claude = ("--", "claude")
    settings = run.project / ".claude/settings.json"
    settings.parent.mkdir()
    refusals = []
    async with serving(run) as relay:
        refusals += [(await run("--", "mine")).refusal]
        refusals += [(await run(*claude, "--settings=x")).refusal]
        run.environment = {"CLAUDE_CODE_USE_BEDROCK": "1"}
        refusals += [(await run(*claude)).refusal]
        run.environment = {}
        settings.write_text('{"apiKeyHelper": "x"}')
        refusals += [(await run(*claude)).refusal]
        settings.unlink()
        (tmp_path / "key").unlink()
        refusals += [(await run(*claude)).refusal]
        (tmp_path / "token").write_text(OTHER_TOKEN)
        config = json.loads(relay.path.read_text())
        (tmp_path / "mine").write_text(TOKEN)
        changed = [{"name": "agent", "token": {"file": "mine"}}]
        update_configuration(relay, config | {"clients": changed})
        refusals += [(await run(*claude)).refusal]
        (tmp_path / "mine").unlink()
        refusals += [(await run(*claude)).refusal]
        update_configuration(relay, config | {"clients": []})
        refusals += [(await run(*claude)).refusal]
        update_configuration(relay, config)
        port = relay.port
    refusals += [(await run(*claude)).refusal]
    said = "".join(refusals).replace(str(port), "8484").replace(f"{tmp_path}/", "")
    assert [message for message in OF_RUN if message not in said] == []
    assert len(OF_RUN) == len(refusals)


def test_every_message_of_the_sandbox() -> None:
    """What it says before Claude Code starts begins as in the third table, and in this order."""
    says = re.findall(r'^[A-Z_]+: Final = """\\\n([^"]*)"""', SANDBOX.read_text(), re.MULTILINE)
    shown = re.findall(r"^\| `(.*?)` \|", SECTION.split("\nThe sandbox of ")[1], re.MULTILINE)
    assert len(says) == len(shown)
    assert all(text.startswith(begin) for text, begin in zip(says, shown, strict=True))
