"""JSON calls, made by wrk: how many a second, and how long one takes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Final

from tests.bench import calling
from tests.bench.field import Way
from tests.bench.peers import CALLS, program
from tests.bench.rounds import Misbehaved, Sample

_SCRIPT: Final = Path(__file__).parent / "wrk.lua"


class Calls:
    """Calls from connections that each make one after the other."""

    def __init__(self, folder: Path, core: int) -> None:
        self._folder = folder
        self._core = core

    def measure(self, way: Way, connections: int, seconds: float) -> Sample:
        """Make calls for a while.

        Raises:
            Misbehaved: An answer's status was not 200, or there was none.
        """
        cpu = way.cpu_seconds()
        seen = self._run(way, connections, seconds)
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

    def _run(self, way: Way, connections: int, seconds: float) -> dict[str, float]:
        done = subprocess.run(
            [
                *("taskset", "--cpu-list", str(self._core), program("wrk"), "--threads=1"),
                *(f"--connections={connections}", f"--duration={max(1, round(seconds))}s"),
                *("--timeout=10s", f"--script={_SCRIPT}"),
                f"http://127.0.0.1:{way.ports[CALLS]}{way.path(CALLS, calling.PATH)}",
                str(self._request(way)),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        seen: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return seen

    def _request(self, way: Way) -> Path:
        lines = (calling.HEADERS | {"x-api-key": way.key}).items()
        head = "".join(f"{name}: {value}\n" for name, value in lines)
        file = self._folder / way.name
        file.write_text(f"{head}\n{calling.request_body()}")
        return file
