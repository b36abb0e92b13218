"""The processes of a measurement: the relay, an upstream, a reader; and a round with them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Final

from tests.bench.reading import Round, Seen
from tests.bench.relaying import TAPPED, UNTAPPED

NAMES: Final = ("relay", "upstream", "reader")
ROOT: Final = Path(__file__).parents[2]
# What is in a stream beside its deltas: two starts, a ping, a delta of the message, two stops.
OTHER_EVENTS: Final = 6
_START_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """One round."""

    events: int
    seconds: float
    size: int
    """Bytes that the reader got."""
    pieces: int
    """In how many the relay passed on what it read."""
    cpu: dict[str, float]
    """Seconds, by process."""


class Bench:
    """The processes at work."""

    def __init__(self, pids: dict[str, int], reader: subprocess.Popen[str], admin: int) -> None:
        self._pids = pids
        self._reader = reader
        self._admin = admin

    def measure(self, asked: Round) -> Measured:
        """Run one round."""
        pieces = self._pieces(asked.relay)
        cpu = self._cpu()
        seen = self._ask(asked)
        after = self._cpu()
        return Measured(
            events=asked.streams * (asked.deltas + OTHER_EVENTS),
            seconds=seen.seconds,
            size=seen.size,
            pieces=self._pieces(asked.relay) - pieces,
            cpu={name: after[name] - cpu[name] for name in NAMES},
        )

    def _ask(self, asked: Round) -> Seen:
        assert self._reader.stdin is not None
        assert self._reader.stdout is not None
        self._reader.stdin.write(json.dumps(asdict(asked)) + "\n")
        self._reader.stdin.flush()
        line = self._reader.stdout.readline()
        if not line:
            raise SystemExit("the reader has given up")
        return Seen(**json.loads(line))

    def _cpu(self) -> dict[str, float]:
        return {name: _cpu_seconds(pid) for name, pid in self._pids.items()}

    def _pieces(self, relay: str) -> int:
        name = f'relay_overhead_seconds_count{{phase="chunk",relay="{relay}"}} '
        connection = HTTPConnection("127.0.0.1", self._admin)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        return next(int(float(line[len(name) :])) for line in lines if line.startswith(name))


def _cpu_seconds(pid: int) -> float:
    """Return a process's CPU time, its own and the kernel's for it.

    The clock is that of clock_getcpuclockid(3), which Python offers for threads alone; the
    kernel makes its number so. /proc/pid/stat counts the same time, but in ticks of 10 ms.
    """
    return time.clock_gettime((~pid << 3) | 2)


@contextlib.contextmanager
def running_bench() -> Iterator[Bench]:
    """Start the processes, and end them."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        read_end, write_end = os.pipe()
        stack.callback(os.close, read_end)
        stack.callback(os.close, write_end)
        upstream = _start(stack, "streaming", descriptors=[listener.fileno(), read_end])
        port, admin = _free_port(), _free_port()
        settings = _configure(folder, listener.getsockname()[1], port, admin)
        log = stack.enter_context((folder / "log").open("w+", encoding="utf-8"))
        relay = _start(stack, "relaying", str(settings), log=log)
        _wait_for(port, relay, log)
        reader = _start(stack, "reading", str(port), descriptors=[write_end])
        pids = {"relay": relay.pid, "upstream": upstream.pid, "reader": reader.pid}
        yield Bench(pids, reader, admin)


def _start(
    stack: contextlib.ExitStack,
    module: str,
    *arguments: str,
    descriptors: Sequence[int] = (),
    log: IO[str] | None = None,
) -> subprocess.Popen[str]:
    """Start a module of this package; the numbers of its descriptors follow its arguments."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.bench.{module}", *arguments, *map(str, descriptors)],
        cwd=ROOT,
        env=os.environ | {"ANTHROPIC_API_KEY": "sk-ant-bench"},
        pass_fds=descriptors,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _configure(folder: Path, upstream: int, port: int, admin: int) -> Path:
    file = folder / "agent.yaml"
    relay = {"url": f"http://127.0.0.1:{upstream}", "grant": "anthropic"}
    settings = {
        "grants": ["anthropic"],
        "relays": {TAPPED: relay, UNTAPPED: relay},
        "listen": [f"127.0.0.1:{port}"],
        "admin": f"127.0.0.1:{admin}",
    }
    file.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return file


def _wait_for(port: int, relay: subprocess.Popen[str], log: IO[str]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and relay.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(_POLL_SECONDS)
    log.seek(0)
    raise SystemExit(f"the relay does not start\n{log.read()}")
