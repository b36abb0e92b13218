"""Looks for secrets in the memory of a container's processes, from a container that may."""

from __future__ import annotations

import subprocess
from typing import Final

from tests.e2e.stack import AGENT_IMAGE

# Prints the numbers of the lines on standard input that are found. It does not search itself; a
# process that ends meanwhile, such as a health check's, has nothing any more.
_SEARCH: Final = """
import contextlib, os, sys
wanted = dict(enumerate(line.encode() for line in sys.stdin.read().split()))
def search(process):
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", 0) as memory:
        for line in maps:
            place, rights, *_ = line.split()
            begin, end = (int(each, 16) for each in place.split("-"))
            if rights.startswith("r"):
                with contextlib.suppress(OSError, OverflowError):  # what the kernel keeps to itself
                    memory.seek(begin)
                    found = memory.read(end - begin)
                    yield from (number for number, value in wanted.items() if value in found)
for process in set(filter(str.isdigit, os.listdir("/proc"))) - {str(os.getpid())}:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for number in search(process):
            print(number)
"""


def in_memory(container: str, *values: str) -> set[str]:
    """Return those of the values that a process of the container's holds."""
    beside = ["--pid", f"container:{container}", "--cap-add", "SYS_PTRACE", "--network", "none"]
    command = ["docker", "run", "--rm", "-i", *beside, AGENT_IMAGE, "python", "-c", _SEARCH]
    done = subprocess.run(
        command, input="\n".join(values), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {values[int(number)] for number in done.stdout.split()}
