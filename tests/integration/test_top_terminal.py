"""``relay top`` on a real terminal: closed, or open with nobody at it."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from relay.cli import FAILED
from relay.commands import top
from relay.commands.top import terminal as module
from relay.commands.top.terminal import Terminal
from relay.config import ListenAddress
from tests.harness.pages import Handler, handling

FUSE_SECONDS = 30.0
SHORT_SECONDS = 0.05
ROOT = Path(__file__).parents[2]
QUESTION, ANSWER = b"\x1b[5n", b"\x1b[0n"


class Emulator:
    """What a terminal's window is to its programs: reads, and answers while somebody is there."""

    def __init__(self) -> None:
        self.outer, self.inner = pty.openpty()
        self.out: IO[str] = os.fdopen(os.dup(self.inner), "w")
        self.shown = b""
        self.there = True
        self.asked = 0
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self.outer, self._stop], [], [])
            if self._stop in ready:
                return
            data = os.read(self.outer, 65536)
            self.shown += data
            self.asked += data.count(QUESTION)
            if QUESTION in data and self.there:
                self.type(ANSWER)

    def type(self, data: bytes) -> None:
        """Type, as a user or the window itself."""
        os.write(self.outer, data)

    def close(self) -> None:
        """Take everything down."""
        os.close(self._stopped)
        self._thread.join()
        self.out.close()
        for each in (self.outer, self.inner, self._stop):
            os.close(each)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A terminal with somebody at it."""
    with closing(Emulator()) as emulator:
        yield emulator


@pytest.fixture
def address() -> Iterator[ListenAddress]:
    """Where a page is that has no calls."""
    with handling(Handler) as port:
        yield ListenAddress("127.0.0.1", port)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terminals of these tests answer at once, or never."""
    monkeypatch.setattr(module, "ASK_SECONDS", SHORT_SECONDS)


def local_modes(descriptor: int) -> int:
    """Return the terminal's modes that say what becomes of what is typed."""
    modes: int = termios.tcgetattr(descriptor)[3]
    return modes & (termios.ICANON | termios.ECHO | termios.ISIG)


def drawn_once(outer: int) -> bytes:
    """Read until there is a picture."""
    text = b""
    while b"calls in flight" not in text:
        ready, _, _ = select.select([outer], [], [], FUSE_SECONDS)
        assert ready, text
        text += os.read(outer, 65536)
    return text


def test_a_terminal_that_is_closed_ends_it(address: ListenAddress) -> None:
    """At once, whenever the next look would be, with nothing more to say."""
    outer, inner = pty.openpty()
    command = [sys.executable, "-W", "error", "-m", "relay", "top", "--interval", "3600"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    # In a session of its own without a controlling terminal: no SIGHUP will end it.
    with subprocess.Popen(
        command,
        stdin=inner,
        stdout=inner,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"RELAY_ADMIN": str(address)},
        start_new_session=True,
    ) as process:
        os.close(inner)
        try:
            drawn_once(outer)
            os.close(outer)
            _, said = process.communicate(timeout=FUSE_SECONDS)
        finally:
            process.kill()
    assert (process.returncode, said) == (FAILED, "")


def test_a_terminal_that_is_closed_while_it_draws_ends_it(
    address: ListenAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Linux then says of writing is no failure of the relay's."""

    class Screen(io.TextIOWrapper):
        """Was a terminal when it was last looked at."""

        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    outer, inner = pty.openpty()
    monkeypatch.setattr(Terminal, "wait", lambda *_: os.close(outer))
    out = Screen(
        io.FileIO(inner, "w", closefd=False), write_through=True
    )  # as PYTHONUNBUFFERED does
    with pytest.raises(BrokenPipeError):
        top.run(address, once=False, as_json=False, interval=1.0, out=out)
    os.close(inner)


@pytest.mark.parametrize("entered", [True, False])
def test_a_terminal_that_is_closed_is_gone_wherever_it_is(entered: bool) -> None:
    """What would be put back, is put back nowhere."""
    outer, inner = pty.openpty()
    out = io.TextIOWrapper(io.FileIO(inner, "w"), write_through=True)
    with out, Terminal(out, inner, entered=entered) as terminal:
        os.close(outer)
        with pytest.raises(OSError, match=r"terminal is gone|Input/output error"):
            terminal.wait(FUSE_SECONDS)


def test_whoever_leaves_a_terminal_that_stays_open_is_missed(emulator: Emulator) -> None:
    """Once it has answered, and no more than three questions later."""
    with Terminal(emulator.out, emulator.inner, entered=True) as terminal:
        while emulator.asked < 3:
            terminal.wait(SHORT_SECONDS)
        emulator.there = False
        with pytest.raises(BrokenPipeError):
            terminal.wait(FUSE_SECONDS)


def test_a_terminal_that_never_answers_is_left_alone(emulator: Emulator) -> None:
    """Not every one does, whatever is typed on it."""
    emulator.there = False
    with Terminal(emulator.out, emulator.inner, entered=True) as terminal:
        emulator.type(b"q")
        while emulator.asked < module.UNANSWERED_LIMIT + 3:
            terminal.wait(SHORT_SECONDS)


def test_answers_are_not_shown(emulator: Emulator) -> None:
    """And the terminal's modes are what they were; Ctrl-C is a signal all the while."""
    before = local_modes(emulator.inner)
    with Terminal(emulator.out, emulator.inner, entered=True) as terminal:
        emulator.type(b"typed")
        while not emulator.asked:
            terminal.wait(SHORT_SECONDS)
        assert local_modes(emulator.inner) == termios.ISIG
    assert local_modes(emulator.inner) == before
    assert emulator.shown.replace(QUESTION, b"") == b""


def test_no_answer_is_left_to_the_shell(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one may be on its way still."""
    monkeypatch.setattr(module, "FAREWELL_SECONDS", FUSE_SECONDS)
    emulator.there = False
    late = threading.Timer(SHORT_SECONDS, emulator.type, [ANSWER])
    with Terminal(emulator.out, emulator.inner, entered=True) as terminal:
        while not emulator.asked:
            terminal.wait(SHORT_SECONDS)
        late.start()
    late.join()
    emulator.type(b"exit\n")
    assert os.read(emulator.inner, 100) == b"exit\n"


@pytest.mark.parametrize("source", ["the same", "another terminal", "no terminal"])
def test_nothing_is_asked_where_nobody_would_hear_the_answer(
    emulator: Emulator, source: str
) -> None:
    """Nor where the kernel says what becomes of the terminal."""
    modes = local_modes(emulator.inner)
    with open(os.devnull) as elsewhere, closing(Emulator()) as another:  # noqa: PTH123  # a device
        sources = {"another terminal": another.inner, "no terminal": elsewhere.fileno()}
        descriptor = sources.get(source, emulator.inner)
        with Terminal(emulator.out, descriptor, entered=source in sources) as terminal:
            terminal.wait(SHORT_SECONDS)
            assert local_modes(emulator.inner) == modes
    assert emulator.asked == 0
