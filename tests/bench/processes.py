"""Processes that are measured or measure: started on a core, awaited, and ended.

Their CPU times and memory are read from the kernel, so that nothing is asked of them while
they work.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.faults.processes import cpu_seconds

ROOT: Final = Path(__file__).parents[2]
_START_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.001
_END_SECONDS: Final = 5.0
# What looks after itself every half second takes far less.
_REST_SECONDS: Final = 0.5
_REST_CPU_SECONDS: Final = 0.005


def module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this Python."""
    return [sys.executable, "-m", name, *arguments]


def start(  # noqa: PLR0913  # Popen has as many, and more
    stack: contextlib.ExitStack,
    command: Sequence[str],
    *,
    core: int | None = None,
    log: Path | None = None,
    descriptors: Sequence[int] = (),
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a process that ends with the stack; its log is what it writes to standard error."""
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
    stderr = stack.enter_context(log.open("a")) if log else None
    process = subprocess.Popen(
        [*pinned, *command],
        cwd=folder,
        env=os.environ | dict(environment or {}),
        pass_fds=descriptors,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    stack.callback(end, process)
    return process


def end(process: subprocess.Popen[str]) -> None:
    """End a process, gently at first."""
    process.terminate()
    try:
        process.communicate(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def await_port(port: int, process: subprocess.Popen[str], log: Path) -> None:
    """Return once a process takes connections; one that ends before ends the measurement."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(_POLL_SECONDS)
    raise SystemExit(f"{process.args!r} does not start:\n{log.read_text()}")


def await_rest(pid: int) -> None:
    """Return once a process has nothing more to do: a relay goes on loading after it listens."""
    taken = 0.0
    while (now := cpu_seconds(pid)) - taken > _REST_CPU_SECONDS:
        taken = now
        time.sleep(_REST_SECONDS)


def resident_kib(pid: int, figure: str = "VmRSS") -> int:
    """Return a process's memory in KiB, or the most it has had (``VmHWM``)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{figure}:"))


def forget_peak(pid: int) -> None:
    """Have ``VmHWM`` begin anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
