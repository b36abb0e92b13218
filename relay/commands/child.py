"""Runs a program in the foreground, as if it had been started in the relay's place.

It stays in the same process group, so that it has the terminal: keys such as Ctrl-C signal both
processes, and only the child acts on them. Signals that were sent to the relay's process alone are
passed on.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Final

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
PASSED_ON: Final = frozenset(
    {
        *(signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP),
        *(signal.SIGUSR1, signal.SIGUSR2),
    }
)
"""Signals that are passed on. Other threads must not receive them: see `hold_signals`."""

_OF_KEYS: Final = frozenset({signal.SIGINT, signal.SIGQUIT})
_FROM_KERNEL: Final = 0x80
"""``SI_KERNEL`` of siginfo.h: by a terminal, not by another process."""


def hold_signals() -> None:
    """Block the child's signals in this thread and in those that it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)


def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run it to its end; return its exit status, or 128 and the signal that killed it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    try:
        pid = os.posix_spawnp(
            command[0],
            list(command),
            environment,
            setsigmask=before - PASSED_ON,
            # Python ignores these signals, and a child would inherit that.
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
        return _wait(pid)
    except FileNotFoundError:
        sys.stderr.write(f"relay: {command[0]}: not found\n")
        return NOT_FOUND
    except OSError as error:
        sys.stderr.write(f"relay: {command[0]}: {(error.strerror or 'unknown').lower()}\n")
        return NOT_EXECUTABLE
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(pid: int) -> int:
    over = threading.Event()
    passing = threading.Thread(target=_pass_on, args=(pid, over), daemon=True)
    passing.start()
    status = _status(pid)
    over.set()
    assert passing.ident is not None
    signal.pthread_kill(passing.ident, signal.SIGHUP)
    passing.join()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _status(pid: int) -> int:
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return status
        os.kill(os.getpid(), signal.SIGSTOP)  # the shell is to see that it stopped


def _pass_on(pid: int, over: threading.Event) -> None:
    while True:
        number, by_key = _next_signal()
        if over.is_set():
            return
        if not by_key:
            os.kill(pid, number)


def _next_signal() -> tuple[int, bool]:
    """Return the next signal, and whether a key sent it: then the child has it already."""
    if hasattr(signal, "sigwaitinfo"):
        told = signal.sigwaitinfo(PASSED_ON)
        return told.si_signo, told.si_code == _FROM_KERNEL
    number = signal.sigwait(PASSED_ON)  # macOS does not say who sent it
    return number, number in _OF_KEYS and sys.stdin.isatty()
