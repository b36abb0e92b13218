"""What is no HTTP is refused at its first wrong byte, not when a buffer is full or a timer ends.

Nothing follows the wrong byte here, and the connection stays open: an answer of 408 would
say that a timer had to end first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from tests.wire.case import Case, Seen, all_refused, refused, relayed, request, specified
from tests.wire.ends import Ends
from tests.wire.playing import check

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME_BYTES: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
TLS: Final = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200, 232)) + b"\x20" + bytes(32)
)
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

SINGLE: Final = all_refused(
    {
        f"the byte {byte:#04x}": bytes([byte])
        for byte in range(256)
        if bytes([byte]) not in (*(bytes([each]) for each in NAME_BYTES), b"\r")
    }
)
BEGINNINGS: Final = [
    relayed(
        f"a method that begins with {chr(byte)}",
        request(start=b"%cX /relay/anthropic/v1/messages HTTP/1.1" % byte),
        Seen(method=b"%cX" % byte),
    )
    for byte in NAME_BYTES
]
OTHERS: Final = all_refused(
    {
        "a TLS hello": TLS,
        "a TLS hello's first byte": TLS[:1],
        "a TLS hello's record header": TLS[:5],
        "an SSLv2 hello": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00",
        "an SSH banner": b"SSH-2.0-OpenSSH_9.6\r\n",
        "SOCKS 5": b"\x05\x01\x00",
        "SOCKS 4": b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
        "a PROXY line": b"PROXY TCP4 127.0.0.1 127.0.0.1 56324 443\r\n",
        "a binary PROXY header": b"\r\n\r\n\x00\r\nQUIT\n",
        "a Redis command": b"*1\r\n$4\r\nPING\r\n",
        "a PostgreSQL start": b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        "a MongoDB message": b"\x3f\x00\x00\x00\x01\x00\x00\x00",
        "an SMTP greeting": b"EHLO relay.test\r\n",
        "an RTSP request": b"OPTIONS rtsp://x/ RTSP/1.0\r\n",
        "a SIP request": b"INVITE sip:x@y SIP/2.0\r\n",
        "JSON": b'{"model": "x"}\r\n',
        "XML": b"<?xml version='1.0'?>",
        "gzip": b"\x1f\x8b\x08\x00",
        "zeros": bytes(100),
        "UTF-16": "GET / HTTP/1.1\r\n".encode("utf-16"),
        "gRPC's frame": b"\x00\x00\x00\x00\x05hello",
        "a WebSocket frame": b"\x81\x85\x00\x00\x00\x00hello",
    }
)
PREFACES: Final = [
    refused("an HTTP/2 preface", PREFACE, 505),
    refused("an HTTP/2 preface's first line", PREFACE[:16], 505),
    refused("an HTTP/2 preface with settings", PREFACE + bytes(9), 505),
]

START: Final = b"POST /relay/anthropic/v1/messages"
HEAD: Final = request(b"", b"").removesuffix(b"\r\n")
WRONG_BYTES: Final = all_refused(
    {
        f"{name}, then {byte!r}": prefix + byte
        for name, prefix, wrong in (
            ("a method", b"POST", (b"\r", b"\n", b"\t", b":", b"/", b"\x00", b"\x7f", b"\x80")),
            ("a space", b"POST ", (b" ", b"\t", b"\r", b"\n", b"\x00", b"\x7f", b"\xc3")),
            ("a target", START, (b"\t", b"\r", b"\n", b"\x00", b"\x7f", b"\xe9")),
            ("a target's space", START + b" ", (b" ", b"h", b"\r", b"\n", b"1", b"\x00")),
            ("H", START + b" H", (b"t", b" ", b"\r", b"H")),
            ("HTTP", START + b" HTTP", (b"S", b" ", b"1", b"\r")),
            ("HTTP/", START + b" HTTP/", (b"x", b".", b"\r", b" ", b"\n")),
            ("HTTP/1", START + b" HTTP/1", (b"1", b",", b" ", b"\r", b"\n")),
            ("HTTP/1.", START + b" HTTP/1.", (b"x", b".", b"\r", b" ")),
            ("HTTP/1.1", START + b" HTTP/1.1", (b"1", b" ", b"\n", b"\t", b".", b"\x00")),
            ("a request line's CR", START + b" HTTP/1.1\r", (b"\r", b" ", b"X", b"\x00")),
            ("a line's end", HEAD, (b" ", b"\t", b":", b"\n", b"\x00", b"(", b"\xe9", b'"')),
            ("a name", HEAD + b"X-A", (b" ", b"\t", b"\r", b"\n", b"(", b"\x00", b"\x7f", b"\xff")),
            ("a value", HEAD + b"X-A: b", (b"\n", b"\x00", b"\x01", b"\x0b", b"\x1b", b"\x7f")),
            ("a value's CR", HEAD + b"X-A: b\r", (b"\r", b" ", b"c", b"\t", b"\x00")),
            ("the last CR", HEAD + b"\r", (b"\r", b" ", b"X", b"\t")),
            ("an empty line", b"\r\n", (b"\n", b" ", b"\t", b"\x16", b"\x80")),
            ("an empty line's CR", b"\r", (b"\r", b" ", b"P")),
        )
        for byte in wrong
    }
)  # fmt: skip
# More bytes could show that it is no version at all, which would be malformed.
OTHER_VERSIONS: Final = [
    replace(case, alone=True)
    for case in (
        *all_refused(
            {
                f"the beginning of version {version.decode()}": START + b" HTTP/" + version
                for version in (b"0", b"2", b"3", b"9", b"1.2", b"1.3", b"1.9")
            },
            505,
        ),
        refused("an HTTP/2 preface up to its version", b"PRI * HTTP/2", 505),
    )
]

CHUNKED: Final = request(b"Transfer-Encoding: chunked", b"")
WRONG_CHUNK_BYTES: Final = all_refused(
    {
        f"{name}, then {byte!r}": CHUNKED + prefix + byte
        for name, prefix, wrong in (
            ("the head", b"", (b"\r", b"\n", b" ", b"+", b"-", b"g", b";", b"x", b"\x00", b"\xff")),
            ("a size", b"2", (b"\n", b" ", b"\t", b"x", b"g", b"_", b",", b"\x00")),
            ("a size's CR", b"2\r", (b"\r", b" ", b"{", b"\x00")),
            ("fifteen digits", b"0" * 15, (b"0", b"f")),
            ("an extension's semicolon", b"2;", (b"\r", b"\n", b" ", b";", b"=", b"\x00")),
            ("an extension's name", b"2;a", (b"\n", b" ", b"(", b"\x00", b"\xe9")),
            ("an extension's value", b"2;a=b", (b"\n", b" ", b"=", b'"', b"\x00")),
            ("an extension's quote", b'2;a="b', (b"\n", b"\r", b"\x00", b"\x7f")),
            ("the data", b"2\r\n{}", (b"\n", b" ", b"0", b"}", b"\x00")),
            ("the data's CR", b"2\r\n{}\r", (b"\r", b"0", b" ", b"\x00")),
            ("the last chunk", b"2\r\n{}\r\n0\r\n", (b"\n", b" ", b":", b"\t", b"\x00", b"(")),
            ("a trailer's name", b"0\r\nX-A", (b" ", b"\r", b"\n", b"\x00")),
            ("a trailer's value", b"0\r\nX-A: b", (b"\n", b"\x00", b"\x7f")),
            ("the last CR", b"0\r\n\r", (b"\r", b"0", b" ")),
        )
        for byte in wrong
    },
    may_cut=True,
)


@specified(SINGLE, BEGINNINGS, OTHERS, PREFACES, bytewise=False)
async def test_the_first_byte_that_cannot_be_http_is_refused(ends: Ends, case: Case) -> None:
    """No name of a method begins like that; those that do are relayed."""
    await check(ends, case)


@specified(WRONG_BYTES, OTHER_VERSIONS, WRONG_CHUNK_BYTES, bytewise=False)
async def test_a_wrong_byte_is_refused_as_it_comes(ends: Ends, case: Case) -> None:
    """Wherever in a request it stands: the relay does not wait for the line's end."""
    await check(ends, case)
