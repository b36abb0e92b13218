"""``relay run``: an agent that calls through the relay, or none; its signals and exit statuses."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from relay.cli import UNUSABLE
from tests.harness import FUSE_SECONDS, ROOT
from tests.harness.configuration import Config, both_relays, configuration
from tests.harness.pages import Handler, handling
from tests.harness.relay import RelayProcess, relay_process, update_configuration
from tests.harness.secrets import CREDENTIALS, KEY, OTHER_TOKEN, TOKEN

pytestmark = pytest.mark.asyncio_loop

AGENT = f"""\
#!{sys.executable}
import json, os, sys
settings = None
if "--settings" in sys.argv:
    path = sys.argv[sys.argv.index("--settings") + 1]
    settings = {{"mode": os.stat(path).st_mode & 0o777, **json.load(open(path))}}
told = {{"arguments": sys.argv[1:], "environment": dict(os.environ), "settings": settings}}
print(json.dumps(told | {{"stdin": sys.stdin.read()}}))
sys.exit(7)
"""
HELD = {
    **dict.fromkeys(("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"), KEY),
    "ANTHROPIC_AUTH_TOKEN": KEY,
    "MY_KEY": KEY,
    "MY_TOKEN": TOKEN,
    "MY_HEADER": KEY,
}
"""What an agent must not find in its environment."""


@dataclass
class Run:
    """A folder with a configuration, and programs that stand for agents."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bin = self.folder / "bin"
        self.project = self.folder / "project"
        for each in (self.bin, self.project, self.folder / "home"):
            each.mkdir()
        for name in ("claude", "codex", "opencode", "mine"):
            self.program(name, AGENT)

    def program(self, name: str, text: str) -> None:
        """Put a program where it is found."""
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def variables(self) -> dict[str, str]:
        """Return the environment of `relay run`."""
        return {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "PYTHONPATH": str(ROOT),
            "RELAY_CONFIG": str(self.folder / "agent.yaml"),
            "RELAY_SECRETS": str(self.folder),
            **self.environment,
        }

    def command(self, *arguments: str) -> list[str]:
        """Return `relay run` with these arguments."""
        return [sys.executable, "-m", "relay", "run", *arguments]

    async def __call__(self, *arguments: str) -> Ended:
        """Run it to its end."""
        process = await asyncio.create_subprocess_exec(
            *self.command(*arguments),
            cwd=self.project,
            env=self.variables(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(FUSE_SECONDS):
            out, err = await process.communicate(b"typed")
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())


@dataclass
class Ended:
    """What came of a run."""

    status: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        """What the agent found."""
        told: dict[str, Any] = json.loads(self.out)
        return told

    @property
    def refusal(self) -> str:
        """The one line that says why nothing was started."""
        assert (self.status, self.out) == (UNUSABLE, "")
        (line,) = self.err.splitlines()
        assert line.startswith("relay: ")
        assert not any(secret in line for secret in (*CREDENTIALS, TOKEN, OTHER_TOKEN))
        return line


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A folder without a relay."""
    return Run(tmp_path)


@asynccontextmanager
async def serving(run: Run, **changes: object) -> AsyncIterator[RelayProcess]:
    """Have a relay serve this folder's configuration, on the port that is in it."""
    address = ("127.0.0.1", 0)
    with socket.create_server(address) as free, socket.create_server(address) as other:
        listen, admin = (f"127.0.0.1:{each.getsockname()[1]}" for each in (free, other))
    config: Config = configuration(1, listen=[listen], admin=admin, **changes)
    environment = {name: HELD[name] for name in ("MY_KEY", "MY_TOKEN", "MY_HEADER")}
    async with relay_process(run.folder, config, environment) as relay:
        yield relay


# What the agent finds


async def test_the_agent_gets_what_relay_env_says_and_no_credential(run: Run) -> None:
    """None of those that agents read, nor one that the relay reads; by settings as well."""
    held = {
        "grants": [{"name": "anthropic", "source": {"env": "MY_KEY"}}],
        "clients": [{"name": "agent", "token": {"env": "MY_TOKEN"}}],
        "relays": {"anthropic": {"headers": {"x-own": {"env": "MY_HEADER"}}}},
    }
    run.environment = HELD | {"NO_PROXY": "corp", "KEPT": "1"}
    async with serving(run, **held) as relay:
        ended = await run("--", "claude", "--model", "x", "--", "-p")
    assert (ended.status, ended.err) == (7, "")
    told = ended.told
    environment = told["environment"]
    assert not set(HELD) - {"ANTHROPIC_AUTH_TOKEN"} & set(environment)
    assert not any(KEY in value for value in environment.values())
    assert environment["ANTHROPIC_AUTH_TOKEN"] == TOKEN
    assert environment["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{relay.port}/relay/anthropic"
    assert (environment["NO_PROXY"], environment["KEPT"]) == ("corp,127.0.0.1", "1")
    option, path, *rest = told["arguments"]
    assert (option, rest) == ("--settings", ["--model", "x", "--", "-p"])
    assert told["settings"]["mode"] == 0o600
    assert not os.path.exists(path)  # noqa: ASYNC240, PTH110  # at once
    inner = told["settings"]["env"]
    empty = {"ANTHROPIC_API_KEY": "", "OPENAI_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": ""}
    assert {name: inner[name] for name in empty} == empty
    set_by_run = {name: value for name, value in inner.items() if value}
    assert set_by_run.items() <= environment.items()
    assert told["settings"]["skipWebFetchPreflight"] is True
    assert told["stdin"] == "typed"


async def test_a_credential_may_be_where_the_relay_is_alone(run: Run) -> None:
    """The running relay is believed that it has one."""
    async with serving(run, grants=[{"name": "anthropic", "source": {"env": "MY_KEY"}}]):
        assert (await run("--", "claude")).status == 7


async def test_codex_and_opencode_get_their_own(run: Run) -> None:
    """Codex its provider on the command line, opencode all in variables."""
    async with serving(run, **both_relays(1)) as relay:
        codex = (await run("--", "codex", "exec", "hi")).told
        opencode = (await run("--relay", "openai", "--", "opencode", "run")).told
        named = (await run("--for", "codex", "--", "mine")).told
    url = f"http://127.0.0.1:{relay.port}/relay/openai/v1"
    options = codex["arguments"]
    assert options[-2:] == ["exec", "hi"]
    assert f'model_providers.relay.base_url="{url}"' in options
    assert set(options[:-2:2]) == {"-c"}
    assert codex["environment"]["OPENAI_API_KEY"] == TOKEN
    assert TOKEN not in str(options)
    assert named["arguments"] == options[:-2]
    assert opencode["arguments"] == ["run"]
    assert url in opencode["environment"]["OPENCODE_CONFIG_CONTENT"]


async def test_the_client_may_be_another(run: Run) -> None:
    """By its name, whose token the relay must know."""
    clients = [
        {"name": "agent", "token": {"file": "token"}},
        {"name": "other", "token": {"file": "other_token"}},
    ]
    async with serving(run, clients=clients):
        told = (await run("--client", "other", "--for", "claude", "--", "mine")).told
    assert told["environment"]["ANTHROPIC_AUTH_TOKEN"] == OTHER_TOKEN


async def test_a_token_that_can_be_guessed_is_remarked_on(run: Run) -> None:
    """The agent starts all the same."""
    (run.folder / "token").write_text("k9Qw3Lx7Zp2Vt5Rd8Bn1M")
    async with serving(run):
        ended = await run("--", "claude")
    assert ended.status == 7
    assert "relay: the token of client agent is shorter than 128 bits; relay token" in ended.err


# When nothing is started


async def test_nothing_is_started_without_a_relay(run: Run) -> None:
    """What to start is said."""
    async with serving(run):
        pass
    refusal = (await run("--", "claude")).refusal
    assert "refused; start the relay: relay serve; nothing was started" in refusal


class Elsewhere(Handler):
    """Another program, which answers whatever it is asked."""

    heard: ClassVar[list[str]] = []

    def respond(self) -> None:
        """Answer with what another relay would, at best."""
        self.heard.append(str(self.headers))
        self.send_response(200)
        self.send_header("x-relay-proof", self.proof())
        self.end_headers()

    def proof(self) -> str:
        """Return something of the right length."""
        return "0" * 64


async def test_another_program_on_the_port_gets_no_token(run: Run) -> None:
    """Nothing is started, and it heard the name and a nonce alone."""
    async with serving(run) as relay:
        with handling(Elsewhere) as port:
            config = json.loads(relay.path.read_text())
            update_configuration(relay, config | {"listen": [f"127.0.0.1:{port}"]})
            refusal = (await run("--", "claude")).refusal
    assert "is not the relay of " in refusal
    heard = Elsewhere.heard.pop()
    assert not Elsewhere.heard
    assert "agent " in heard
    assert TOKEN not in heard


async def test_a_program_that_asks_the_relay_itself_is_found_out(run: Run) -> None:
    """The proof is for the port that the relay was called on."""
    async with serving(run) as relay:

        class Between(Elsewhere):
            """Hands the challenge to the relay."""

            def proof(self) -> str:
                """Return the relay's own answer."""
                told = f"x-relay-challenge: {self.headers['x-relay-challenge']}"
                head = f"HEAD {self.path} HTTP/1.0\r\nHost: h\r\n{told}\r\n\r\n"
                with socket.create_connection(("127.0.0.1", relay.port)) as asked:
                    asked.sendall(head.encode())
                    answer = b"".join(iter(lambda: asked.recv(4096), b"")).decode()
                return answer.split("x-relay-proof: ")[1].split("\r\n")[0]

        with handling(Between) as port:
            config = json.loads(relay.path.read_text())
            update_configuration(relay, config | {"listen": [f"127.0.0.1:{port}"]})
            refusal = (await run("--", "claude")).refusal
    assert "is not the relay of " in refusal


async def test_another_relay_on_the_port_is_not_ours(run: Run) -> None:
    """It has another token for this client."""
    async with serving(run) as relay:
        config = json.loads(relay.path.read_text())
        other = [{"name": "agent", "token": {"file": "other_token"}}]
        update_configuration(relay, config | {"clients": other})
        refusal = (await run("--", "claude")).refusal
    assert "it does not know the token of client agent" in refusal


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "token").unlink(), "has no token yet: .*; relay token makes one"),
        (lambda folder: (folder / "key").unlink(), "credential anthropic has no value: "),
    ],
    ids=["token", "key"],
)
async def test_nothing_is_started_where_something_is_missing(
    run: Run, spoil: Callable[[Path], None], said: str
) -> None:
    """A file that is gone is gone for the relay, too."""
    async with serving(run):
        spoil(run.folder)
        refusal = (await run("--", "claude")).refusal
    assert re.search(said, refusal)


async def test_nothing_is_started_without_a_client(run: Run) -> None:
    """A relay that is open to all on this host knows nobody's token."""
    async with serving(run) as relay:
        (run.folder / "relay_token").unlink(missing_ok=True)
        update_configuration(relay, json.loads(relay.path.read_text()) | {"clients": []})
        refusal = (await run("--", "claude")).refusal
    assert "no client is declared" in refusal
    assert "relay token" in refusal


async def test_nothing_is_started_with_a_mistaken_configuration(run: Run) -> None:
    """The lines are those of relay check."""
    missing = await run("--", "claude")
    (run.folder / "agent.yaml").write_text("grants: 7")
    mistaken = await run("--", "claude")
    assert (missing.status, missing.out, mistaken.status, mistaken.out) == (UNUSABLE, "") * 2
    assert missing.err.endswith("; relay init writes one\n")
    assert mistaken.err.endswith("in the configuration\n")


@pytest.mark.parametrize("arguments", [["--", "mine"], ["mine"], ["--", "/bin/sh", "-c", "true"]])
async def test_an_unknown_program_needs_a_name(run: Run, arguments: list[str]) -> None:
    """Which there are is said."""
    async with serving(run):
        refusal = (await run(*arguments)).refusal
    assert "claude, claude-code, codex, opencode, " in refusal
    async with serving(run):
        assert "what is to run?" in (await run()).refusal


@pytest.mark.parametrize(
    ("place", "settings", "said"),
    [
        ("home/.claude/settings.json", {"apiKeyHelper": "x"}, "apiKeyHelper in .*home/"),
        ("project/.claude/settings.json", {"apiKeyHelper": "x"}, "apiKeyHelper in .*project/"),
        (
            "project/.claude/settings.local.json",
            {"env": {"CLAUDE_CODE_USE_VERTEX": "1"}},
            "CLAUDE_CODE_USE_VERTEX in .* has Claude Code call another API",
        ),
    ],
)
async def test_settings_that_lead_elsewhere_stop_claude_code(
    run: Run, place: str, settings: dict[str, object], said: str
) -> None:
    """And no other agent."""
    file = run.folder / place
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(settings))
    async with serving(run):
        assert re.search(said, (await run("--", "claude")).refusal)
        assert (await run("--for", "anthropic", "--", "mine")).status == 7


async def test_switches_and_settings_of_its_own_stop_claude_code(run: Run) -> None:
    """The last --settings alone counts; a switch that is off is none."""
    async with serving(run):
        for name in ("BEDROCK", "VERTEX", "FOUNDRY"):
            run.environment = {f"CLAUDE_CODE_USE_{name}": "1"}
            assert f"$CLAUDE_CODE_USE_{name} is set" in (await run("--", "claude")).refusal
        run.environment = {"CLAUDE_CODE_USE_BEDROCK": "0"}
        for option in (["--settings", "x"], ["--settings=x"]):
            assert "its --settings" in (await run("--", "claude", *option)).refusal
        assert (await run("--", "claude")).status == 7


# Statuses and signals


async def test_exit_statuses_are_a_shells(run: Run) -> None:
    """127 not found, 126 not executable, 128 and the signal that killed it."""
    run.program("killed", "#!/bin/sh\nkill -9 $$\n")
    run.program("ended", "#!/bin/sh\nexit 3\n")
    (run.project / "plain").write_text("")
    named = ("--for", "anthropic", "--")
    async with serving(run):
        statuses = [
            (await run(*named, program)).status
            for program in ("killed", "ended", "nowhere", "./plain")
        ]
    assert statuses == [128 + 9, 3, 127, 126]


COUNTING = f"""\
#!{sys.executable}
import os, signal, sys
heard = []
def hear(number, frame):
    heard.append(signal.Signals(number).name)
    os.write(1, b"heard " + heard[-1].encode() + b"\\n")
for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(each, hear)
os.write(1, b"ready\\n")
while "SIGTERM" not in heard:
    signal.pause()
print(heard)
sys.exit(5)
"""


ON_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


async def test_a_signal_to_run_alone_is_passed_on(run: Run) -> None:
    """Each once, in the agent's own time."""
    run.program("claude", COUNTING)
    async with serving(run):
        process = await asyncio.create_subprocess_exec(
            *run.command("--", "claude"), env=run.variables(), stdout=subprocess.PIPE
        )
        assert process.stdout
        async with asyncio.timeout(FUSE_SECONDS):
            assert await process.stdout.readline() == b"ready\n"
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
                process.send_signal(number)
                line = await process.stdout.readline()
                assert line == f"heard {number.name}\n".encode()
            assert await process.stdout.read() == b"['SIGINT', 'SIGHUP', 'SIGTERM']\n"
            assert await process.wait() == 5


async def test_a_key_reaches_the_agent_once(run: Run) -> None:
    """The terminal is the agent's own, and run does not add a signal of its own."""
    run.program("claude", COUNTING)
    async with serving(run):
        outer, inner = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ON_TERMINAL, *run.command("--", "claude")),
            env=run.variables(),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        with os.fdopen(outer, "rb", buffering=0) as terminal:
            typing = asyncio.to_thread(_interrupt, terminal.fileno(), process.pid)
            lines = await asyncio.wait_for(typing, FUSE_SECONDS)
        assert await process.wait() == 5
    assert lines[-1] == "['SIGINT', 'SIGTERM']"


def _interrupt(terminal: int, pid: int) -> list[str]:
    """Press Ctrl-C once the agent is there, then end it; return what was on the screen.

    Two signals at once would be heard as one: run stands still until the agent has heard its own.
    """
    shown = b""
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # Linux says so of a terminal without programs
            return shown.decode().splitlines()
        before, shown = shown, shown + data
        if b"ready" in shown and b"ready" not in before:
            os.kill(pid, signal.SIGSTOP)
            os.write(terminal, b"\x03")
        if b"heard SIGINT" in shown and b"heard SIGINT" not in before:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)
