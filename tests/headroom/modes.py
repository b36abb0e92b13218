"""The ways to answer: one short function for each, and the table of their names.

A mode writes the usual answer or another one, whole or broken. Faults of the connection
are real ones: a stream is cut by closing it, a reset is a TCP reset. `stall` ends only
because the client's departure cancels it.
"""

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from . import failures
from .answering import Answering
from .answers import Answer, own_answer, relayed_answer
from .anthropic import PING
from .hop_modes import (
    EVENTS_BEFORE_FAULT,
    HOP_MODES,
    PING_INTERVAL_SECONDS,
    RESET_DELAY_SECONDS,
)
from .passage import INTERRUPTED
from .wire import response_head

BINARY = "application/octet-stream"
# What a `big` body repeats: every byte value in order.
BLOCK = bytes(range(256)) * 256

Play = Callable[[Answering], Awaitable[None]]


@dataclass(frozen=True)
class Mode:
    """How to answer, and what its arguments are unless given."""

    play: Play
    delay_seconds: float = 0.0
    gap_seconds: float = 0.0
    reads_body: bool = True


async def play_usual(answering: Answering) -> None:
    """Answer as Headroom does when all is well."""
    await answering.whole(answering.usual)


async def play_burst(answering: Answering) -> None:
    """Write all events at once."""
    await answering.begin(answering.usual)
    await answering.burst(answering.usual.pieces)


async def play_pings(answering: Answering) -> None:
    """Commit to a 200, send pings for a while, then the whole stream at once."""
    pings = answering.arguments.count("pings", 4) if answering.usual.streamed else 0
    await answering.begin(answering.usual)
    await answering.send([PING] * pings, PING_INTERVAL_SECONDS)
    await asyncio.sleep(PING_INTERVAL_SECONDS if pings else 0.0)
    await answering.burst(answering.usual.pieces)


async def play_error_midstream(answering: Answering) -> None:
    """Tell of a broken upstream within the stream, and end cleanly."""
    if not answering.usual.streamed:
        await answering.whole(failures.unreachable(answering))
        return
    await _begin_and_break(answering)
    await answering.send([INTERRUPTED])
    await answering.end()


async def play_truncated(answering: Answering) -> None:
    """Close in the middle of the body."""
    await _begin_and_break(answering)
    answering.keep = False


async def play_reset(answering: Answering) -> None:
    """Reset the connection, before the head or in the middle of the body."""
    if answering.arguments.text("before") != "head":
        await _begin_and_break(answering)
        await asyncio.sleep(RESET_DELAY_SECONDS)
    answering.connection.reset()
    answering.keep = False


async def play_stall(answering: Answering) -> None:
    """Fall silent, before the head or in the middle of the body, until the client goes."""
    if answering.arguments.text("before") != "head":
        await _begin_and_break(answering)
    await asyncio.Event().wait()


async def _begin_and_break(answering: Answering) -> None:
    answer = answering.usual
    await answering.begin(answer)
    after = answering.arguments.count("after", EVENTS_BEFORE_FAULT)
    pieces = answer.pieces[:after] if answer.streamed else (_half(answer),)
    await answering.send(pieces, answering.gap_seconds)


def _half(answer: Answer) -> bytes:
    body = b"".join(answer.pieces)
    return body[: len(body) // 2]


async def play_gzip(answering: Answering) -> None:
    """Compress the answer, each event of a stream so that it can be read at once."""
    answer = answering.usual
    fields = (*answer.headers, ("content-encoding", "gzip"))
    compress = _gzip_stream if answer.streamed else _gzip_whole
    await answering.whole(replace(answer, headers=fields, pieces=compress(answer.pieces)))


def _gzip_stream(pieces: Iterable[bytes]) -> tuple[bytes, ...]:
    # zlib's window bits: 31 writes gzip.
    coder = zlib.compressobj(wbits=31)
    flushed = [coder.compress(each) + coder.flush(zlib.Z_SYNC_FLUSH) for each in pieces]
    return (*flushed, coder.flush())


def _gzip_whole(pieces: Iterable[bytes]) -> tuple[bytes, ...]:
    return (gzip.compress(b"".join(pieces), mtime=0),)


async def play_echo(answering: Answering) -> None:
    """Send the request body back, after it has arrived or, with `duplex=1`, as it arrives."""
    answer = replace(own_answer(200, "OK", BINARY, b""), streamed=True)
    if answering.arguments.text("duplex") == "1":
        await answering.begin(answer)
        async for piece in answering.body:
            await answering.send([piece])
    else:
        pieces = [piece async for piece in answering.body]
        await answering.begin(answer)
        await answering.send(pieces)
    await answering.end()


async def play_big(answering: Answering) -> None:
    """Send `size` bytes with their length announced."""
    whole, rest = divmod(answering.arguments.count("size", 1024 * 1024), len(BLOCK))
    pieces = (*(BLOCK,) * whole, BLOCK[:rest])
    await answering.whole(relayed_answer(answering.exchange, 200, "OK", BINARY, pieces))


async def play_cookie(answering: Answering) -> None:
    """Set a cookie."""
    cookie = ("set-cookie", "standin=1; Path=/; HttpOnly")
    usual = answering.usual
    await answering.whole(replace(usual, headers=(*usual.headers, cookie)))


async def play_early(answering: Answering) -> None:
    """Refuse the request without reading its body, and close."""
    answering.keep = False
    await answering.whole(failures.over_limit(answering))


async def play_upgrade(answering: Answering) -> None:
    """Switch protocols, unasked, and say nothing more until the client goes."""
    fields = (("upgrade", "websocket"), ("connection", "Upgrade"))
    await answering.raw(response_head(101, "Switching Protocols", fields))
    await asyncio.Event().wait()


async def play_raw(answering: Answering) -> None:
    """Write the bytes that were asked for, and close."""
    answering.keep = False
    await answering.raw(answering.arguments.text("bytes").encode("latin-1"))


def _answers(build: Callable[[Answering], Answer]) -> Play:
    async def play(answering: Answering) -> None:
        await answering.whole(build(answering))

    return play


MODES: dict[str, Mode] = {
    "ok": Mode(play_usual),
    "slow": Mode(play_usual, gap_seconds=0.06),
    "late": Mode(play_usual, delay_seconds=2.0),
    "burst": Mode(play_burst),
    "pings": Mode(play_pings, delay_seconds=5.0),
    "error_midstream": Mode(play_error_midstream),
    "truncated": Mode(play_truncated),
    "reset": Mode(play_reset),
    "stall": Mode(play_stall),
    "gzip": Mode(play_gzip),
    "echo": Mode(play_echo, reads_body=False),
    "big": Mode(play_big),
    "cookie": Mode(play_cookie),
    "early": Mode(play_early, reads_body=False),
    "upgrade": Mode(play_upgrade),
    "raw": Mode(play_raw),
}
MODES |= {name: Mode(_answers(build)) for name, build in failures.FAILURES.items()}
MODES |= {name: Mode(play, reads_body=False) for name, play in HOP_MODES.items()}
