"""What was measured on, and with what."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.bench.peers import program

# Debian's names of what the bench runs; the services need not run.
PACKAGES: Final = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "taskset": "util-linux",
}
_VERSIONED: Final = ("nginx", "haproxy", "wrk")
# Of a machine that has nothing else to do.
_QUIET: Final = 0.5
_VERSION: Final = re.compile(r"\d+\.\d+[\w.+~-]*")


def missing() -> list[str]:
    """Return the packages that have to be installed first."""
    return [package for name, package in PACKAGES.items() if not program(name)]


def disturbance() -> str:
    """Return a warning where others are at work on this machine, or ""."""
    load = os.getloadavg()[0]
    if load < _QUIET:
        return ""
    return (
        f"The load average is {load:.1f} before anything has begun: others are at work here. "
        "Of what follows, only the CPU times and the memory tell much."
    )


def machine() -> dict[str, object]:
    """Return what figures depend on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def versions(relay_root: Path) -> dict[str, str]:
    """Return the versions of the peers and of what they run on."""
    relay = _said([sys.executable, "-m", "relay", "--version"], relay_root)
    return {
        **{name: _said([program(name), "-v"], relay_root) for name in _VERSIONED},
        "aiohttp": version("aiohttp"),
        "relay": relay,
        "python": platform.python_version(),
    }


def _said(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else ""


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
