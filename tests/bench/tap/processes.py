"""The processes of a measurement: the relay, an upstream, a reader; and a round with them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from tests.bench.processes import await_port, module, start
from tests.bench.tap.reading import Round, Seen
from tests.bench.tap.relaying import TAPPED, UNTAPPED
from tests.faults.processes import cpu_seconds
from tests.harness.ports import free_ports

NAMES: Final = ("relay", "upstream", "reader")
# What is in a stream beside its deltas: two starts, a ping, a delta of the message, two stops.
OTHER_EVENTS: Final = 6


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
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def _pieces(self, relay: str) -> int:
        name = f'relay_overhead_seconds_count{{phase="chunk",relay="{relay}"}} '
        connection = HTTPConnection("127.0.0.1", self._admin)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        return next(int(float(line[len(name) :])) for line in lines if line.startswith(name))


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
        port, admin = free_ports(2)
        settings = _configure(folder, listener.getsockname()[1], port, admin)
        relay = _start(stack, "relaying", str(settings), log=folder / "log")
        await_port(port, relay, folder / "log")
        reader = _start(stack, "reading", str(port), descriptors=[write_end])
        pids = {"relay": relay.pid, "upstream": upstream.pid, "reader": reader.pid}
        yield Bench(pids, reader, admin)


def _start(
    stack: contextlib.ExitStack,
    name: str,
    *arguments: str,
    descriptors: Sequence[int] = (),
    log: Path | None = None,
) -> subprocess.Popen[str]:
    """Start a module of this package; the numbers of its descriptors follow its arguments."""
    return start(
        stack,
        module(f"tests.bench.tap.{name}", *arguments, *map(str, descriptors)),
        descriptors=descriptors,
        log=log,
        environment={"ANTHROPIC_API_KEY": "sk-ant-bench"},
    )


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
