"""What the kernel knows of a process: its memory, its CPU time, its descriptors."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

KILOBYTE: Final = 1024
MEGABYTE: Final = 1024 * KILOBYTE


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has now (proc_pid_status(5), VmRSS)."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """Return the most it ever had (VmHWM)."""
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    assert found
    return int(found[1]) * KILOBYTE


def cpu_seconds(pid: int) -> float:
    """Return a process's CPU time, its own and the kernel's for it.

    The clock is that of clock_getcpuclockid(3), which Python offers for threads alone.
    """
    return time.clock_gettime((~pid << 3) | 2)


def descriptors(pid: int) -> set[int]:
    """Return the descriptors that it has open."""
    return {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
