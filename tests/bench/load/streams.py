"""The streams of a round, all open at the same time, and what a round is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench import calling, processes
from tests.bench.load.agents import Agent
from tests.bench.load.events import BESIDE_SIZE, END, HEAD, PAYLOAD_SIZE, request_head
from tests.bench.load.loop import Loop, Problem
from tests.bench.load.upstream import Call, Upstream
from tests.faults.processes import cpu_seconds


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of everything."""

    loop: Loop
    upstream: Upstream


@dataclass(frozen=True, slots=True)
class Asked:
    """A round, as the bench asks for it."""

    kind: str
    port: int
    path: str
    key: str
    streams: int = 1
    seconds: float = 1.0
    rate: float = 0.0
    """Events a second, of each stream."""
    burst: int = 1
    """Events to a write, where they are not paced."""
    size: int = 0
    """Bytes of an upload."""
    pid: int | None = None
    """The peer's, if there is one."""

    def cpu_seconds(self) -> float:
        """Return the CPU time the peer has taken so far."""
        return 0.0 if self.pid is None else cpu_seconds(self.pid)

    def resident_kib(self) -> float:
        """Return the memory the peer has now."""
        return 0.0 if self.pid is None else processes.resident_kib(self.pid)


class Streams:
    """The streams of a round, from the calls to the last chunks."""

    def __init__(self, ends: Ends, asked: Asked, agents: Sequence[Agent]) -> None:
        self.agents = agents
        self.calls: list[Call] = []
        self._ends = ends
        self._asked = asked

    def open(self) -> None:
        """Make the calls; the answers begin."""
        self._ends.upstream.called = self._begin
        body = calling.request_body().encode()
        for number, agent in enumerate(self.agents):
            path = f"{self._asked.path}?stream={number}"
            agent.call(request_head(path, self._asked.key, len(body)) + body)
            self._ends.loop.turn()
        begun = self._all_begun
        self._ends.loop.until(begun, f"all {len(self.agents)} streams open")

    def _begin(self, call: Call) -> None:
        self.calls.append(call)
        call.handle.send(HEAD)

    def _all_begun(self) -> bool:
        return len(self.calls) == len(self.agents) and all(agent.size for agent in self.agents)

    def close(self, events: int) -> None:
        """End the answers, and read them to their ends.

        Raises:
            Problem: Less came than so many events take, whatever is around them.
        """
        until = self._ends.loop.until
        until(self._all_written, "all events written")
        for call in self.calls:
            call.write(END)
        until(self._all_written, "all ends written")
        until(lambda: all(agent.ended for agent in self.agents), "all read")
        size = sum(agent.size for agent in self.agents)
        if size < events * PAYLOAD_SIZE + len(self.agents) * BESIDE_SIZE:
            raise Problem(f"not all of {events} events came: {size} bytes")

    def _all_written(self) -> bool:
        return all([call.flushed() for call in self.calls])  # noqa: C419  # each of them writes
