"""JSON calls, made by wrk: how many a second, and how long one takes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.bench import calling
from tests.bench.field import Way
from tests.bench.peers import CALLS, program
from tests.bench.rounds import Misbehaved, Sample

_SCRIPT: Final = Path(__file__).parent / "wrk.lua"


class Calls:
    """The case of so many connections, each with one call after the other."""

    def __init__(self, folder: Path, connections: int, seconds: float, core: int) -> None:
        self.name = f"calls_{connections}"
        self._folder = folder
        self._connections = connections
        self._seconds = seconds
        self._core = core

    def measure(self, way: Way) -> Sample:
        """Make calls for a while."""
        cpu = way.cpu_seconds()
        seen = self._run(way)
        cpu = way.cpu_seconds() - cpu
        if seen["wrong"] or not seen["calls"]:
            raise Misbehaved(f"{way.name}: {seen['wrong']:.0f} of {seen['calls']:.0f} calls failed")
        return {
            "per_second": seen["calls"] / seen["seconds"],
            "p50_us": seen["p50"],
            "p99_us": seen["p99"],
            "cpu_us": cpu / seen["calls"] * 1e6,
            "busy": cpu / seen["seconds"],
        }

    def _run(self, way: Way) -> dict[str, float]:
        file = self._folder / way.name
        lines = (calling.HEADERS | {"x-api-key": way.key}).items()
        head = "".join(f"{name}: {value}\n" for name, value in lines)
        file.write_text(f"{head}\n{calling.request_body()}")
        done = subprocess.run(
            [
                *("taskset", "--cpu-list", str(self._core), program("wrk"), "--threads=1"),
                *(f"--connections={self._connections}", f"--duration={self._seconds:.0f}s"),
                *("--timeout=10s", f"--script={_SCRIPT}"),
                *(f"http://127.0.0.1:{way.ports[CALLS]}{way.path(CALLS, calling.PATH)}", str(file)),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        seen: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return seen


@contextmanager
def calls(connections: int, seconds: float, core: int) -> Iterator[Calls]:
    """Yield the case."""
    with TemporaryDirectory(prefix="bench-calls-") as folder:
        yield Calls(Path(folder), connections, seconds, core)
