"""The load of streams and uploads, as the bench sees it: a process that is asked for rounds."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.bench import calling
from tests.bench.field import Way
from tests.bench.peers import STREAMS
from tests.bench.processes import module, start
from tests.bench.rounds import Misbehaved, Sample

MEGABYTE: Final = 1024 * 1024


class Load:
    """The process; its port is the upstream's."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log
        self.port = int(self._answer()["port"])

    def run(self, kind: str, way: Way, **parameters: float) -> Sample:
        """Run a round.

        Raises:
            Misbehaved: What came was not what was sent.
        """
        path = way.path(STREAMS, calling.PATH)
        asked = {"kind": kind, "port": way.ports[STREAMS], "path": path, "key": way.key}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked | {"pid": way.pid} | parameters) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "problem" in answer:
            raise Misbehaved(f"{way.name}, {kind}: {answer['problem']}")
        return {name: float(value) for name, value in answer.items()}

    def _answer(self) -> dict[str, str | float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the load has given up:\n{self._log.read_text()}")
        answer: dict[str, str | float] = json.loads(line)
        return answer


@contextlib.contextmanager
def running_load(core: int) -> Iterator[Load]:
    """Run it for the length of the context."""
    with contextlib.ExitStack() as stack:
        log = Path(stack.enter_context(TemporaryDirectory(prefix="bench-load-"))) / "log"
        yield Load(start(stack, module("tests.bench.load"), core=core, log=log), log)
