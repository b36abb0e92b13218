"""Sizes at their limit and one over: lines, heads, numbers of headers, bodies."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from tests.wire.case import Case, Seen, all_refused, refused, relayed, request, specified
from tests.wire.ends import Ends
from tests.wire.playing import check

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINE: Final = 16 * 1024
HEAD: Final = 64 * 1024
COUNT: Final = 128
START: Final = b"POST /relay/anthropic/v1/messages"


def long_start(length: int) -> bytes:
    """Return a request line of that length."""
    filler = length - len(START + b"? HTTP/1.1")
    return START + b"?" + b"q" * filler + b" HTTP/1.1"


def long_line(length: int) -> bytes:
    """Return a header line of that length."""
    return b"X-Long: " + b"v" * (length - 8)


def long_name(length: int) -> bytes:
    """Return a header line of that length whose name is long."""
    return b"X" * (length - 3) + b": v"


def many(count: int) -> tuple[bytes, ...]:
    """Return lines that make a head of so many headers: Host, token and length are there too."""
    return tuple(b"X-%d: v" % i for i in range(count - 3))


def large(size: int) -> tuple[bytes, ...]:
    """Return lines that make a head of that size, its empty line included."""
    lines = [long_line(LINE)] * 3
    body = 2
    return (*lines, long_line(size - (len(with_lines(*lines)) - body) - 2))


def with_lines(*lines: bytes) -> bytes:
    """Return a request with these header lines."""
    return request(b"\r\n".join([*lines, b"Content-Length: 2"]))


def at_limit(name: str, *lines: bytes) -> Case:
    """Return the case of lines that cross."""
    return relayed(name, with_lines(*lines), Seen(fields=lines))


TARGET: Final = long_start(LINE).split(b" ")[1].removeprefix(b"/relay/anthropic")
ACCEPTED: Final = [
    relayed("a request line at its limit", request(start=long_start(LINE)), Seen(target=TARGET)),
    at_limit("a header at its limit", long_line(LINE)),
    at_limit("a header's name at its limit", long_name(LINE)),
    at_limit("headers at their number's limit", *many(COUNT)),
    at_limit("a head at its limit", *large(HEAD)),
    at_limit("a head one under its limit", *large(HEAD - 1)),
]
LONG_TARGETS: Final = all_refused(
    {
        "a request line one over": request(start=long_start(LINE + 1)),
        "a request line of twice the limit": request(start=long_start(2 * LINE)),
        "a request line one over, without an end": long_start(LINE + 1),
        "a target without an end": START + b"/" * LINE,
        "a method without an end": b"X" * (LINE + 1),
    },
    414,
)
LARGE_HEADERS: Final = all_refused(
    {
        "a header one over": with_lines(long_line(LINE + 1)),
        "a header's name one over": with_lines(long_name(LINE + 1)),
        "a header of a MiB": with_lines(long_line(1 << 20)),
        "a header without an end": request(b"", b"").removesuffix(b"\r\n") + long_line(LINE + 1),
        "a name without an end": request(b"", b"").removesuffix(b"\r\n") + b"X" * (LINE + 1),
        "a Content-Length that is too long": request(b"Content-Length: " + b" " * LINE + b"2"),
        "a token that is too long": request(token=b"x-api-key: " + b"x" * LINE + b"\r\n"),
        "one header too many": with_lines(*many(COUNT + 1)),
        "a thousand headers": with_lines(*many(1000)),
        "one header too many, without an end": request(b"", b"").removesuffix(b"\r\n")
        + b"X: y\r\n" * (COUNT - 1),
        "a head one over": with_lines(*large(HEAD + 1)),
        "a head of many long headers": with_lines(*[long_line(LINE)] * 8),
        "a head without an end": request(b"", b"").removesuffix(b"\r\n")
        + (long_line(LINE) + b"\r\n") * 4
        + b"X: ",
        "a head of empty values": with_lines(*[b"X" * 600 + b":"] * 120),
    },
    431,
)

LIMITED: Final = b"POST /relay/limited/v1/messages HTTP/1.1"


def limited(lines: bytes, body: bytes, *, start: bytes = LIMITED) -> bytes:
    """Return a request to the relay whose bodies have at most ten bytes."""
    return request(lines, body, start=start)


MAX_BODY: Final = [
    *(
        relayed(
            f"a body of {size}",
            limited(b"Content-Length: %d" % size, b"x" * size),
            Seen(body=b"x" * size, relay=b"limited"),
        )
        for size in (0, 1, 9, 10)
    ),
    *(
        relayed(
            f"chunks of {size}",
            limited(b"Transfer-Encoding: chunked", b"1\r\nx\r\n" * size + b"0\r\n\r\n"),
            Seen(body=b"x" * size, relay=b"limited", chunked=True),
        )
        for size in (0, 10)
    ),
    *all_refused(
        {
            "a body of 11": limited(b"Content-Length: 11", b"x" * 11),
            "a length of 11, and nothing yet": limited(b"Content-Length: 11", b""),
            "a length of 10**17, and nothing yet": limited(b"Content-Length: 1" + b"0" * 17, b""),
            "a length of 11, that waits for 100": limited(
                b"Content-Length: 11\r\nExpect: 100-continue", b""
            ),
        },
        413,
    ),
    *all_refused(
        {
            "chunks of 11": limited(b"Transfer-Encoding: chunked", b"1\r\nx\r\n" * 11 + b"0\r\n\r\n"),
            "a chunk of 11": limited(b"Transfer-Encoding: chunked", b"b\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n"),
            "a chunk of a MiB begins": limited(b"Transfer-Encoding: chunked", b"100000\r\n" + b"x" * 11),
        },
        413,
        may_cut=True,
    ),
    refused("a body of 11 without a token", limited(b"Content-Length: 11", b"x" * 11).replace(b"x-api-key", b"x"), 401),
    refused("a body of 11 to a path that is not allowed", limited(b"Content-Length: 11", b"x" * 11, start=b"POST /relay/limited/stats HTTP/1.1"), 403, reason="path"),
]  # fmt: skip

BIG: Final = bytes(range(256)) * 4096 * 4
BODIES: Final = [
    relayed("a body of 4 MiB", request(b"Content-Length: %d" % len(BIG), BIG), Seen(body=BIG)),
    relayed(
        "a chunk of 4 MiB",
        request(b"Transfer-Encoding: chunked", b"%x\r\n" % len(BIG) + BIG + b"\r\n0\r\n\r\n"),
        Seen(body=BIG, chunked=True),
    ),
    relayed(
        "a body in four pieces",
        (
            request(b"Content-Length: %d" % len(BIG), b""),
            *(BIG[i : i + (1 << 20)] for i in range(0, len(BIG), 1 << 20)),
        ),
        Seen(body=BIG),
    ),
]


@specified(ACCEPTED, LONG_TARGETS, LARGE_HEADERS, bytewise=False)
async def test_heads_have_limits(ends: Ends, case: Case) -> None:
    """At the limit a request is relayed; one over it is refused, also before its end."""
    await check(ends, case)


@specified(
    [
        replace(case, name=f"{case.name}, in pieces", sent=pieces)
        for case in (*ACCEPTED, *LONG_TARGETS, *LARGE_HEADERS)
        if len(case.whole) < 200_000
        for pieces in [tuple(case.whole[i : i + 1000] for i in range(0, len(case.whole), 1000))]
    ],
    bytewise=False,
)
async def test_heads_have_the_same_limits_in_pieces(ends: Ends, case: Case) -> None:
    """However a head is cut."""
    await check(ends, case)


@specified(MAX_BODY)
async def test_a_body_over_max_body_is_refused(ends: Ends, case: Case) -> None:
    """Before it is read, where its length is given."""
    await check(ends, case)


@specified(BODIES, bytewise=False)
async def test_bodies_stream_at_any_size(ends: Ends, case: Case) -> None:
    """Without a limit there is none."""
    await check(ends, case)
