"""Uploads: one agent sends large bodies, one after the other."""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from collections.abc import Iterator
from typing import Final

from tests.bench.load.agents import Agent, connected
from tests.bench.load.events import answer, request_head
from tests.bench.load.loop import IN, OUT, Loop, Problem
from tests.bench.load.streams import Asked, Ends
from tests.bench.load.upstream import Call

# Random, so that whatever is left out, doubled or displaced changes the sum.
_RANDOM: Final = os.urandom(1024 * 1024)


class Upload:
    """The body in a file, from which it goes to the socket without a copy; and the agent."""

    def __init__(self, agent: Agent, loop: Loop, file: int, size: int) -> None:
        self._agent = agent
        self._loop = loop
        self._file = file
        self._size = size
        self._sent = 0
        self._answer = b""
        agent.write = self._write
        agent.take = self._take

    def run(self, head: bytes) -> dict[str, int]:
        """Send the body once, and return what the upstream says of it."""
        self._sent, self._answer = 0, b""
        self._agent.call(head)
        self._loop.watch(self._agent.handle, IN | OUT)
        self._loop.until(lambda: self._agent.ended, "uploaded")
        said: dict[str, int] = json.loads(self._answer.splitlines()[-3])
        return said

    def _write(self) -> None:
        rest = self._size - self._sent
        with contextlib.suppress(BlockingIOError):
            self._sent += os.sendfile(self._agent.handle.fileno(), self._file, self._sent, rest)
        if self._sent == self._size:
            self._loop.watch(self._agent.handle, IN)

    def _take(self, data: bytes) -> None:
        self._answer += data


def uploads(ends: Ends, asked: Asked) -> dict[str, float]:
    """Upload for a while, the first time with a look at what arrives."""
    ends.upstream.called = _say_what_came
    head = request_head(f"{asked.path}?stream=0", asked.key, asked.size)
    with _file(asked.size) as (file, expected), connected(ends.loop, asked.port, 1) as (agent,):
        upload = Upload(agent, ends.loop, file, asked.size)
        ends.upstream.sums_up = True
        said = upload.run(head)
        ends.upstream.sums_up = False
        if said != {"length": asked.size, "sum": expected}:
            raise Problem(f"of {asked.size} bytes {said} came, not the sum {expected}")
        return _measured(upload, head, asked)


def _measured(upload: Upload, head: bytes, asked: Asked) -> dict[str, float]:
    count = 0
    cpu, started = asked.cpu_seconds(), time.perf_counter()
    while (seconds := time.perf_counter() - started) < asked.seconds:
        upload.run(head)
        count += 1
    cpu = asked.cpu_seconds() - cpu
    return {"bytes": count * asked.size, "seconds": seconds, "cpu_seconds": cpu}


def _say_what_came(call: Call) -> None:
    call.handle.send(answer({"length": call.length, "sum": call.sum}))


@contextlib.contextmanager
def _file(size: int) -> Iterator[tuple[int, int]]:
    """Yield a file with a body of this size, and its CRC-32."""
    body = (_RANDOM * (size // len(_RANDOM) + 1))[:size]
    file = os.memfd_create("body")
    try:
        os.write(file, body)
        yield file, zlib.crc32(body)
    finally:
        os.close(file)
