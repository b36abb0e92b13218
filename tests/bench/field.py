"""The field: every peer and the upstreams behind them, at work at the same time.

A peer has one core to itself; what makes calls and what answers them share another. So a peer
that is busy all the time is what the others wait for, and a round measures nothing else; where
it is not, its CPU time says what it would have been able to do. Idle peers take no time.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench import calling, peers
from tests.bench.peers import CALLS, CHAIN, DIRECT, RELAYS, STREAMS, Setting, Upstreams
from tests.bench.processes import ROOT, await_port, start
from tests.faults.processes import cpu_seconds
from tests.harness.ports import free_ports


@dataclass(frozen=True, slots=True)
class Cores:
    """Who works where."""

    peer: int
    others: int

    @classmethod
    def available(cls) -> Cores:
        """Return two of this machine's, or the only one twice."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(peer=cores[0], others=cores[-1] if len(cores) < 3 else cores[1])


@dataclass(frozen=True, slots=True)
class Way:
    """A way for calls to take: through a peer, or to the upstreams directly."""

    name: str
    ports: dict[str, int]
    """By what is behind: CALLS or STREAMS."""
    pid: int | None = None
    start_seconds: float = 0.0
    """From the start of the peer to its first connection."""

    @property
    def key(self) -> str:
        """What the caller presents."""
        return calling.KEY if self.name == DIRECT else calling.TOKEN

    def path(self, behind: str, rest: str) -> str:
        """Return the target of a call."""
        return rest if self.name == DIRECT else f"/relay/{behind}{rest}"

    def cpu_seconds(self) -> float:
        """Return the CPU time the peer has taken so far."""
        return 0.0 if self.pid is None else cpu_seconds(self.pid)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start, and where."""

    cores: Cores
    relay_root: Path = ROOT
    """The tree whose relay is run."""


@contextlib.contextmanager
def running_peer(name: str, plan: Plan, upstreams: Upstreams) -> Iterator[Way]:
    """Run a peer for the length of the context."""
    if name == DIRECT:
        yield Way(name, {CALLS: upstreams.calls, STREAMS: upstreams.streams})
        return
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"bench-{name}-")))
        port, hop_port, returns = free_ports(3)
        setting = Setting(folder, port, upstreams)
        log = folder / "log"
        if name == CHAIN:
            setting = replace(setting, hop=hop_port, returns=returns)
            hop = start(stack, peers.hop(setting), core=plan.cores.peer, log=log)
            await_port(setting.hop, hop, log)
        command = peers.COMMANDS[name](setting)
        tree = plan.relay_root if name in RELAYS else ROOT
        began = time.perf_counter()
        process = start(stack, command, core=plan.cores.peer, log=log, folder=tree)
        await_port(port, process, log)
        took = time.perf_counter() - began
        yield Way(name, {CALLS: port, STREAMS: port}, process.pid, took)


@contextlib.contextmanager
def running_upstream(core: int) -> Iterator[int]:
    """Run the upstream of JSON calls, and yield its port."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-upstream-")))
        (port,) = free_ports(1)
        headers = "".join(
            f'            add_header {name} "{value}";\n'
            for name, value in calling.ANSWER_HEADERS.items()
        )
        file = peers.written(
            peers.HERE / "upstream.conf",
            folder,
            port=port,
            key=calling.KEY,
            headers=headers.rstrip(),
            answer=calling.answer_body(),
        )
        command = [peers.program("nginx"), "-p", str(folder), "-c", str(file), "-e", "stderr"]
        process = start(stack, command, core=core, log=folder / "log")
        await_port(port, process, folder / "log")
        yield port
