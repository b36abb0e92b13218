"""``relay run --serve``: the relay and one agent in one command, without Docker.

The relay serves in this process while the agent runs, on free ports of loopback and with a token
made for this run; the return address is the configured one, for the hops' own configuration names
it. A child of the same user could read this process's environment and memory, so the process makes
itself undumpable. Files of the same user stay readable for the agent: this measures and limits, and
does not guard.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from relay import DOCS
from relay.app import App
from relay.commands import CommandError
from relay.commands.child import hold_signals
from relay.commands.env import AgentChoice
from relay.commands.run import Start, hidden_variables, prepare, run
from relay.commands.token import fresh_token
from relay.config import ClientSettings, FileSource, ListenAddress, Settings
from relay.downstream.listener import CannotListen
from relay.telemetry import access_log

NOT_GUARDED: Final = (
    "this measures and limits, it does not guard: what your account can read, the agent can; "
    f"with compose it cannot: {DOCS}/getting-started.md"
)
_FREE: Final = ListenAddress("127.0.0.1", 0)
_CLIENT: Final = "agent"
_SET_DUMPABLE: Final = 4
"""``PR_SET_DUMPABLE`` of prctl(2)."""


async def serve_and_run(
    settings: Settings, choice: AgentChoice, command: Sequence[str], environment: Mapping[str, str]
) -> int:
    """Serve, run the agent, and return its exit status.

    Raises:
        CommandError: Nothing was started; the text says why.
    """
    hold_signals()
    _become_undumpable()
    with tempfile.TemporaryDirectory(prefix="relay-run-") as folder:
        token = Path(folder) / "token"
        token.touch(mode=0o600)
        token.write_text(fresh_token(), encoding="ascii")
        client = ClientSettings(_CLIENT, (FileSource(file=str(token)),))
        served = replace(settings, listen=(_FREE,), admin=(_FREE,), clients=(client,))
        log = _open_log(environment)
        app = App(served)
        serving = asyncio.create_task(_serve(app, loaded := asyncio.Event()))
        try:
            await _started(serving, loaded)
            listen, admin = app.bound
            served = replace(served, listen=(listen,), admin=(admin,))
            choice = replace(choice, client=_CLIENT)
            start = await prepare(served, choice, command, environment)
            start = replace(start, environment=_without_tokens(settings, start))
            _say(NOT_GUARDED)
            _say(f"page http://{admin}/, log {log}")
            return await asyncio.to_thread(run, start)
        finally:
            app.stop()
            app.stop()  # no call outlives the agent
            await asyncio.gather(serving, return_exceptions=True)


async def _serve(app: App, loaded: asyncio.Event) -> None:
    await app.run(on_loaded=loaded.set)


async def _started(serving: asyncio.Task[None], loaded: asyncio.Event) -> None:
    """Wait until the relay serves.

    Raises:
        CommandError: It cannot.
    """
    waiting = asyncio.create_task(loaded.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if serving.done():
        try:
            await serving
        except CannotListen as error:
            raise CommandError(str(error)) from error


def _without_tokens(settings: Settings, start: Start) -> Mapping[str, str]:
    """Return the agent's environment without the tokens of the file's own clients."""
    hidden = hidden_variables(settings) - start.told.variables.keys()
    return {name: value for name, value in start.environment.items() if name not in hidden}


def _open_log(environment: Mapping[str, str]) -> Path:
    """Append the log to a file."""
    state = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    path = Path(state) / "relay" / "run.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a")
    except OSError as error:
        reason = (error.strerror or "unknown").lower()
        raise CommandError(f"the log {path} cannot be written: {reason}") from error
    access_log.set_up(environment.get("RELAY_LOG"), stream)
    return path


def _become_undumpable() -> None:
    """Have the kernel deny other processes of this user this one's memory (prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def _say(text: str) -> None:
    sys.stderr.write(f"relay: {text}\n")
