"""The soak's upstream, a process that can be killed: ``python -m tests.faults.soak.upstream PORT``.

Answers ``?call=N`` at once and ``?stream=N&deltas=D&pause=S`` event by event. A request whose
credential is none of ours, or whose body is not the one of its number, is refused.
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import parse_qs, urlsplit

import uvloop

from tests.faults.soak import script
from tests.harness.listener import Answering
from tests.harness.messages import chunk
from tests.harness.peer import Caller, Request


async def main(port: int) -> None:
    """Serve until killed."""
    upstream = Serving(_answer)
    await upstream.start(port=port)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


class Serving(Answering):
    """Remembers no connection: there are as many as a soak has."""

    def _accept(self) -> Caller:
        return Caller(lambda _: None, self._take)


async def _answer(caller: Caller, request: Request) -> None:
    wanted = parse_qs(urlsplit(request.target.decode()).query)
    number = int((wanted.get("call") or wanted["stream"])[0])
    values = request.values("x-api-key")
    serial = script.serial_of(values[0].decode()) if len(values) == 1 else None
    if serial is None or request.body != script.question(number):
        await caller.send(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
        return
    field = f"{script.SERIAL_FIELD}: {serial}\r\n"
    if "call" in wanted:
        await _answer_call(caller, number, field)
    else:
        await _stream(caller, number, int(wanted["deltas"][0]), float(wanted["pause"][0]), field)


async def _answer_call(caller: Caller, number: int, field: str) -> None:
    body = script.answer(number)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{field}"
    await caller.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)


async def _stream(caller: Caller, number: int, deltas: int, pause: float, field: str) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{field}"
    await caller.send(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
    for position, event in enumerate(script.events(number, deltas)):
        if caller.ending:
            return
        # Some events come in pieces, as they do from a proxy.
        cut = len(event) // 2 if position % 5 == 0 else len(event)
        await caller.send(b"".join(chunk(piece) for piece in (event[:cut], event[cut:]) if piece))
        await asyncio.sleep(pause)
    await caller.send(chunk(b""))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
