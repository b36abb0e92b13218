"""The terminal that a live view is drawn on: waits, and notices that nobody is at it any more.

Where a terminal is closed, the kernel says so. It does not to a process that Docker has put into
a container (`docker exec`): the engine keeps its end of the terminal open and reads on, whoever
has left (observed on 20.10). There, and nowhere else, the terminal itself is asked now and then
how it is (ECMA-48, device status report); one that used to answer and does no longer is gone.
"""

from __future__ import annotations

import os
import select
import termios
import time
from contextlib import suppress
from typing import IO, Final, Self

# Three unanswered questions are twenty seconds at most: a connection to the terminal may stall.
ASK_SECONDS: Final = 5.0
UNANSWERED_LIMIT: Final = 3
_QUESTION: Final = "\x1b[5n"
_ANSWER: Final = b"\x1b[0n"
FAREWELL_SECONDS: Final = 0.2
_GONE: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL
_INPUT: Final = 0
_LOCAL_MODES: Final = 3


def was_entered() -> bool:
    """Whether this process was put into its container from outside, where its parent is."""
    return os.getppid() == 0


class Terminal:
    """An output that is a terminal; its modes are as they were once it is left."""

    def __init__(self, out: IO[str], descriptor: int = _INPUT, *, entered: bool) -> None:
        self._out = out
        self._input = descriptor
        self._asks = entered and _is_same_terminal(descriptor, out.fileno())
        self._next_question = time.monotonic()
        self._unanswered = 0
        self._answers = False
        """Whether it ever did: not every terminal does."""

    def __enter__(self) -> Self:
        if self._asks:
            # The terminal's answers are read at once and not echoed; Ctrl-C stays a signal.
            self._modes = termios.tcgetattr(self._input)
            modes = termios.tcgetattr(self._input)
            modes[_LOCAL_MODES] &= ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(self._input, termios.TCSANOW, modes)
        return self

    def __exit__(self, *_: object) -> None:
        if self._asks:
            if self._unanswered:
                self._poll(FAREWELL_SECONDS)  # or the shell would get the answer
            with suppress(termios.error):  # it is gone
                termios.tcsetattr(self._input, termios.TCSAFLUSH, self._modes)

    def wait(self, seconds: float) -> None:
        """Wait as long, or until the terminal is gone.

        Raises:
            BrokenPipeError: It is.
            OSError: It was closed just as it was asked.
        """
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            if self._asks and now >= self._next_question:
                self._ask()
                self._next_question = now + ASK_SECONDS
            events = self._poll((min(end, self._next_question) if self._asks else end) - now)
            if any(event & _GONE for event in events):
                raise BrokenPipeError("the terminal is gone")
            if events and _ANSWER in os.read(self._input, 1024):
                self._unanswered, self._answers = 0, True

    def _poll(self, seconds: float) -> list[int]:
        poll = select.poll()
        poll.register(self._out.fileno(), 0)  # that it is gone, is said in any case
        if self._asks:
            poll.register(self._input, select.POLLIN)
        return [event for _, event in poll.poll(max(0.0, seconds) * 1000)]

    def _ask(self) -> None:
        if self._answers and self._unanswered >= UNANSWERED_LIMIT:
            raise BrokenPipeError("the terminal answers no more")
        self._unanswered += 1
        self._out.write(_QUESTION)
        self._out.flush()


def _is_same_terminal(descriptor: int, output: int) -> bool:
    """Whether what is typed at this terminal is ours to read."""
    return os.isatty(descriptor) and os.path.sameopenfile(descriptor, output)
