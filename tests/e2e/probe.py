"""Runs inside a container, by `python -`: says as JSON what its process may do there.

Standard library only, and nothing of the tests': the containers have neither.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import sys
from pathlib import Path

# The kernel's own: not files of anyone's.
NOT_FILES = ("proc", "sys")


def service_process() -> Path:
    """Return the service's own process: the first, or what the first one looks after."""
    children = [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and status_of(process)["PPid"] == "1"
    ]
    return Path("/proc", str(min(children, default=1)))


def status_of(process: Path) -> dict[str, str]:
    """Return what the kernel says of a process."""
    lines = (process / "status").read_text().splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name: value.strip() for name, _, value in pairs}


def attempts_to_write() -> dict[str, list[str]]:
    """Try to make a file in every folder there is; return the folders by what came of it."""
    outcomes: dict[str, list[str]] = {}
    for folder, folders, _ in os.walk("/"):
        if folder == "/":
            folders[:] = [each for each in folders if each not in NOT_FILES]
        path = Path(folder, ".probe")
        try:
            path.touch(exist_ok=False)
            path.unlink()
            outcome = "written"
        except OSError as error:
            outcome = errno.errorcode[error.errno or 0]
        outcomes.setdefault(outcome, []).append(folder)
    return outcomes


def control_group(*names: str) -> str | None:
    """Return a limit of the control group's: by its name in version 2, or in version 1."""
    for name in names:
        with contextlib.suppress(OSError):
            return Path("/sys/fs/cgroup", name).read_text().strip()
    return None


def main() -> None:
    """Look around, and print what was found."""
    process = service_process()
    pid = int(process.name)
    environment = (process / "environ").read_bytes().decode().split("\0")
    mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    secrets = Path("/run/secrets")
    found = {
        "status": status_of(process),
        "writing": attempts_to_write(),
        "mounts": {mount[4]: mount[5].split(",") for mount in mounts},
        "environment": dict(each.split("=", 1) for each in environment if "=" in each),
        "core": resource.prlimit(pid, resource.RLIMIT_CORE),
        "descriptors": resource.prlimit(pid, resource.RLIMIT_NOFILE),
        "pids": control_group("pids.max", "pids/pids.max"),
        "memory": control_group("memory.max", "memory/memory.limit_in_bytes"),
        "swap": control_group("memory.swap.max", "memory/memory.memsw.limit_in_bytes"),
        "secrets": {
            each.name: [f"{each.stat().st_mode & 0o7777:04o}", each.stat().st_uid]
            for each in (secrets.iterdir() if secrets.is_dir() else ())
        },
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
