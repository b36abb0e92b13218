"""The upstream's answers that cannot pass: a 502 before the head, a torso after it."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.wire.answer import END, OK_LINE, OLD, Row, check_framing, chunks, play, row, rows, sized
from tests.wire.ends import Ends
from tests.wire.upstream import Then

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDS: Final[tuple[Then, ...]] = ("end", "reset")
MALFORMED: Final = {
    "nothing": b"",
    "garbage": b"garbage",
    "a garbage line": b"garbage\r\n\r\n",
    "a body alone": b'{"ok": true}',
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x50",
    "an HTTP/2 frame": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "HTTP/0.9": b"<html>hello</html>",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "http in lower case": b"http/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "ICY": b"ICY 200 OK\r\n\r\nok",
    "a status of two digits": b"HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\nok",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok",
    "a status of letters": b"HTTP/1.1 2xx OK\r\ncontent-length: 2\r\n\r\nok",
    "a signed status": b"HTTP/1.1 +20 OK\r\ncontent-length: 2\r\n\r\nok",
    "status 0": b"HTTP/1.1 000 OK\r\ncontent-length: 2\r\n\r\nok",
    "status 600": b"HTTP/1.1 600 OK\r\ncontent-length: 2\r\n\r\nok",
    "status 999": b"HTTP/1.1 999 OK\r\ncontent-length: 2\r\n\r\nok",
    "no status": b"HTTP/1.1 OK\r\ncontent-length: 2\r\n\r\nok",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\ncontent-length: 2\r\n\r\nok",
    "a tab before the status": b"HTTP/1.1\t200 OK\r\ncontent-length: 2\r\n\r\nok",
    "a control byte in the reason": b"HTTP/1.1 200 O\x01K\r\ncontent-length: 2\r\n\r\nok",
    "a bare CR in the reason": b"HTTP/1.1 200 O\rK\r\ncontent-length: 2\r\n\r\nok",
    "an empty line before": b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "a space before": b" HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "half a status line": b"HTTP/1.1 20",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "a head without its last line": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n",
    "an interim answer alone": b"HTTP/1.1 100 Continue\r\n\r\n",
    "interim answers and half a head": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    "interim answers without end": b"HTTP/1.1 103 X\r\n\r\n" * 1000,
    "an interim answer with two lengths": b"HTTP/1.1 103 X\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n"
    + sized(),
    "bare LFs": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    **{
        name: OK_LINE + lines + END + b"ok"
        for name, lines in {
            "two equal lengths": b"content-length: 2\r\ncontent-length: 2",
            "two unequal lengths": b"content-length: 2\r\nContent-Length: 3",
            "two lengths in one line": b"content-length: 2, 2",
            "both lengths": b"content-length: 2\r\ntransfer-encoding: chunked",
            "both lengths, the other way round": b"transfer-encoding: chunked\r\ncontent-length: 2",
            "an empty length": b"content-length:",
            "a signed length": b"content-length: +2",
            "a negative length": b"content-length: -2",
            "a hexadecimal length": b"content-length: 0x2",
            "an underscored length": b"content-length: 0_2",
            "an overlong length": b"content-length: 1000000000000000000",
            "a fraction": b"content-length: 2.0",
            "gzip": b"transfer-encoding: gzip",
            "gzip, chunked": b"transfer-encoding: gzip, chunked",
            "chunked, chunked": b"transfer-encoding: chunked, chunked",
            "chunked twice": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "xchunked": b"transfer-encoding: xchunked",
            "identity": b"transfer-encoding: identity",
            "an empty coding": b"transfer-encoding:",
            "a space before the colon": b"x-a : b\r\ncontent-length: 2",
            "a folded line": b"x-a: b\r\n c\r\ncontent-length: 2",
            "a folded first line": b" x-a: b\r\ncontent-length: 2",
            "a bare LF": b"x-a: b\nx-b: c\r\ncontent-length: 2",
            "a bare CR": b"x-a: b\rx-b: c\r\ncontent-length: 2",
            "a NUL": b"x-a: b\x00c\r\ncontent-length: 2",
            "a control byte": b"x-a: b\x1bc\r\ncontent-length: 2",
            "a DEL": b"x-a: b\x7f\r\ncontent-length: 2",
            "no colon": b"x-a\r\ncontent-length: 2",
            "an empty name": b": b\r\ncontent-length: 2",
            "a spaced name": b"x a: b\r\ncontent-length: 2",
            "a quoted name": b'"x": b\r\ncontent-length: 2',
            "a name beyond ASCII": b"x\xe9: b\r\ncontent-length: 2",
            "a header too long": b"x-a: " + b"b" * 16384 + b"\r\ncontent-length: 2",
            "too many headers": b"x-a: b\r\n" * 128 + b"content-length: 2",
            "headers too large": (b"x-a: " + b"b" * 16000 + b"\r\n") * 5 + b"content-length: 2",
        }.items()
    },
    "chunked on HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    **{
        f"a redirect {status}": b"HTTP/1.1 %d X\r\nlocation: http://evil.test/%d\r\ncontent-length: 2\r\n\r\nok" % (status, status)
        for status in (300, 301, 302, 303, 305, 306, 307, 308, 399)
    },
    "a redirect without a Location": b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x00",
    "an upgrade, and an answer behind it": b"HTTP/1.1 101 X\r\nupgrade: h2c\r\n\r\n" + sized(),
    "an upgrade behind 100": b"HTTP/1.1 100 X\r\n\r\nHTTP/1.1 101 X\r\nupgrade: h2c\r\n\r\n",
}  # fmt: skip
REFUSED: Final = [
    row(f"{name}, then {then}", answer, then=then)
    for name, answer in MALFORMED.items()
    for then in (ENDS if len(answer) < 200 else ENDS[:1])
]

SHORT: Final = OK_LINE + b"content-length: 9" + END
SIZED: Final = (
    ("nothing of a length", SHORT, b""),
    ("half a length", SHORT + b"half", b"half"),
    ("all but a byte", SHORT + b"12345678", b"12345678"),
)
CHUNKED: Final = (
    ("no chunk", chunks(b""), b""),
    ("half a size", chunks(b"2"), b""),
    ("half a chunk", chunks(b"9\r\nhalf"), b"half"),
    ("a chunk without its end", chunks(b"4\r\nhalf"), b"half"),
    ("a chunk with half its end", chunks(b"4\r\nhalf\r"), b"half"),
    ("no last chunk", chunks(b"4\r\nhalf\r\n"), b"half"),
    ("half a last chunk", chunks(b"4\r\nhalf\r\n0"), b"half"),
    ("no last line", chunks(b"4\r\nhalf\r\n0\r\n"), b"half"),
    ("half a last line", chunks(b"4\r\nhalf\r\n0\r\n\r"), b"half"),
    ("half a trailer", chunks(b"4\r\nhalf\r\n0\r\nX-A: b"), b"half"),
    ("no line behind a trailer", chunks(b"4\r\nhalf\r\n0\r\nX-A: b\r\n"), b"half"),
)  # fmt: skip
BROKEN: Final = [
    *(
        row(f"{name}, then {then}", answer, body, then=then, framing="sized", length=9)
        for then in ENDS
        for name, answer, body in SIZED
    ),
    *(
        row(f"{name}, then {then}", answer, body, then=then, framing="chunked")
        for then in ENDS
        for name, answer, body in CHUNKED
    ),
    row("no framing", OK_LINE + b"\r\nhalf", b"half", then="reset", framing="chunked"),
    row("an agent of HTTP/1.0, half a chunk", chunks(b"9\r\nhalf"), b"half", then="end", framing="until close", sent=OLD, ending="reset"),
    row("an agent of HTTP/1.0, no last chunk", chunks(b"4\r\nhalf\r\n"), b"half", then="end", framing="until close", sent=OLD, ending="reset"),
    row("an agent of HTTP/1.0, no framing", OK_LINE + b"\r\nhalf", b"half", then="reset", framing="until close", sent=OLD, ending="reset"),
    row("an agent of HTTP/1.0, half a length", SHORT + b"half", b"half", then="end", framing="sized", sent=OLD, length=9),
]  # fmt: skip
WRONG_CHUNKS: Final = [
    row(f"a chunk {wrong!r}", chunks(b"4\r\nhalf\r\n" + wrong), b"half", framing="chunked")
    for wrong in (
        *(b"x\r\n", b"-1\r\n", b"+1\r\nx\r\n", b"0x1\r\nx\r\n", b"1 \r\nx\r\n", b" 1\r\nx\r\n", b"\r\n", b"\n", b"1\nx\r\n"),
        *(b"1_0\r\n", b"10000000000000000\r\n", b"1;\r\nx\r\n", b"1;a=\r\nx\r\n", b"1;a\nb\r\nx\r\n", b'1;a="\r\n', b"1;" + b"a" * 300),
        *(b"0\n\n", b"0\r\n\n", b"0\r\nX A: b\r\n\r\n", b"0\r\n: b\r\n\r\n", b"0\r\n x: b\r\n\r\n", b"0\r\nX: b\x00\r\n\r\n"),
        *(b"00000000000000000\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"\x00", b"0" * 300),
    )
]  # fmt: skip
MESSAGES: Final = (
    "The relay got no valid answer from its upstream.",
    "The upstream answered with a redirect, which is not relayed.",
    "The upstream tried to switch protocols, which is not relayed.",
)


@rows(REFUSED)
async def test_what_cannot_be_passed_on_becomes_a_502(ends: Ends, row: Row) -> None:
    """With a fixed body, that says nothing of what it was."""
    answer = await play(ends, row)
    assert (answer.status, answer.outcome) == (502, "upstream_error")
    error = json.loads(answer.body)
    assert set(error) == {"type", "error"}
    assert error["error"]["type"] == "api_error"
    assert error["error"]["message"] in MESSAGES
    assert [name.lower() for name, _ in answer.fields] == [
        *(b"content-type", b"x-relay-error", b"date", b"content-length"),
    ]


@rows([*BROKEN, *WRONG_CHUNKS])
async def test_an_answer_that_breaks_off_never_ends_cleanly(ends: Ends, row: Row) -> None:
    """What came is delivered; then the connection ends without the last chunk, or is reset.

    So it is with a wrong chunk, behind which nothing is delivered either.
    """
    answer = await play(ends, row)
    assert (answer.status, answer.outcome) == (200, "")
    assert answer.body == row.body
    assert not answer.complete
    assert not answer.broken
    check_framing(answer, row)
