"""``relay top`` in its container, on a terminal whose window is closed."""

from __future__ import annotations

import os
import pty
import select
import subprocess

from tests.e2e.stack import FUSE_SECONDS, PROJECT, Stack, eventually

QUESTION, ANSWER = b"\x1b[5n", b"\x1b[0n"


def read_until(descriptor: int, text: bytes) -> None:
    """Read what is shown until a text is in it."""
    shown = b""
    while text not in shown:
        ready, _, _ = select.select([descriptor], [], [], FUSE_SECONDS)
        assert ready, shown
        shown += os.read(descriptor, 65536)


def watching(stack: Stack) -> int:
    """Return how many run in the relay's container."""
    return stack.docker("top", "relay").count("relay top")


def test_it_does_not_outlive_its_terminal(stack: Stack) -> None:
    """Though Docker keeps its end of that open, and tells nobody."""
    outer, inner = pty.openpty()
    command = [*stack.compose.compose_command_property, "exec", "relay", "relay", "top"]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=inner, stdout=inner, stderr=inner, start_new_session=True
    ) as process:
        os.close(inner)
        read_until(outer, QUESTION)
        os.write(outer, ANSWER)
        read_until(outer, b"calls in flight")
        assert watching(stack) == 1
        process.kill()
    os.close(outer)
    eventually(lambda: watching(stack) == 0 or None, "the end of relay top")
