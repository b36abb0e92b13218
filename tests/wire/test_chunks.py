"""Chunked request bodies: sizes, extensions, ends and trailers, read strictly."""

from __future__ import annotations

from typing import Final

import pytest

from tests.wire.case import Case, Seen, all_refused, chunked, relayed, specified
from tests.wire.ends import Ends
from tests.wire.playing import check

pytestmark = pytest.mark.asyncio(loop_scope="module")

END: Final = b"\r\n{}\r\n0\r\n\r\n"
TOO_MANY: Final = b"".join(b"T%d: x\r\n" % i for i in range(129))

SIZES: Final = all_refused(
    {
        f"a size of {size!r}": chunked(size + END)
        for size in (
            *(b"", b" ", b"+2", b"-2", b"-0", b"0x2", b"0X2", b"x2", b"2x", b"g", b"2g", b"2_", b"0_2"),
            *(b" 2", b"2 ", b"\t2", b"2\t", b"2 2", b"2,", b"2,2", b"2.0", b"2:", b"$2", b"#2", b'"2"'),
            *(b"2h", b"\xb2", "٢".encode(), b"2\xa0", b"\xef\xbb\xbf2", b"2\x00", b"\x002", b"2\x0b"),
            *(b"0000000000000002", b"fffffffffffffffff", b"10000000000000000", b"8000000000000000"),
            *(b"ffffffff00000002", b"100000000000000000000000000000002", b"0" * 300 + b"2"),
            *(b"\r2", b"2\r", b"\n2", b"2\n", b"two", b"\\x2", b"%32", b"2%20", b"02h", b"2\xff"),
        )
    },
    may_cut=True,
)  # fmt: skip

EXTENSIONS: Final = all_refused(
    {
        f"an extension {extension!r}": chunked(b"2" + extension + END)
        for extension in (
            *(b";", b";;", b"; a", b" ;a", b";a ", b";a =b", b";a= b", b";a=", b";=b", b";=", b";a=b=c"),
            *(b";a;", b";a;;b", b';a="', b';a="b', b';a="b"c', b';a=b"c"', b';"a"=b', b";a\x00", b";a=\x00"),
            *(b";a=b\nc", b";\n", b";a\n", b";a=\n2", b";a\r", b";a=b\rc", b';a="\n"', b';a="\r"', b';a="\r\n"'),
            *(b';a="\x01"', b';a="\\\n"', b';a="\x7f"', b";a=b,c", b";a=(b)", b";a/b", b";a=b/c", b";\xe9"),
            *(b";" + b"a" * 300, b";a=" + b"b" * 300, b';a="' + b"b" * 300 + b'"', b";a" * 200, b",a", b"z"),
        )
    },
    may_cut=True,
)  # fmt: skip

ENDS: Final = all_refused(
    {
        "no end behind the data": chunked(b"2\r\n{}0\r\n\r\n"),
        "data longer than its size": chunked(b"2\r\n{}}\r\n0\r\n\r\n"),
        "data shorter than its size": chunked(b"3\r\n{}\r\n0\r\n\r\n"),
        "LF behind the size": chunked(b"2\n{}\r\n0\r\n\r\n"),
        "CR behind the size": chunked(b"2\r{}\r\n0\r\n\r\n"),
        "LF CR behind the size": chunked(b"2\n\r{}\r\n0\r\n\r\n"),
        "CR CR LF behind the size": chunked(b"2\r\r\n{}\r\n0\r\n\r\n"),
        "LF behind the data": chunked(b"2\r\n{}\n0\r\n\r\n"),
        "CR behind the data": chunked(b"2\r\n{}\r0\r\n\r\n"),
        "LF LF behind the data": chunked(b"2\r\n{}\n\n0\r\n\r\n"),
        "two ends behind the data": chunked(b"2\r\n{}\r\n\r\n0\r\n\r\n"),
        "spaces behind the data": chunked(b"2\r\n{}  \r\n0\r\n\r\n"),
        "any two bytes behind the data": chunked(b"2\r\n{}XX0\r\n\r\n"),
        "LF behind the last size": chunked(b"2\r\n{}\r\n0\n\r\n"),
        "LFs at the end": chunked(b"2\r\n{}\r\n0\n\n"),
        "LF at the very end": chunked(b"2\r\n{}\r\n0\r\n\n"),
        "CR CR LF at the very end": chunked(b"2\r\n{}\r\n0\r\n\r\r\n"),
        "an empty line before the first size": chunked(b"\r\n2\r\n{}\r\n0\r\n\r\n"),
        "no chunks but data": chunked(b"{}\r\n\r\n"),
        "a signed last size": chunked(b"2\r\n{}\r\n-0\r\n\r\n"),
        "a last size of 0x0": chunked(b"2\r\n{}\r\n0x0\r\n\r\n"),
        "a last size of 00000000000000000": chunked(b"2\r\n{}\r\n" + b"0" * 17 + b"\r\n\r\n"),
        "a size without an end": chunked(b"1" * 300),
        "extensions without an end": chunked(b"2;a=" + b"b" * 400),
    },
    may_cut=True,
)

TRAILERS: Final = all_refused(
    {
        f"a trailer {name}": chunked(b"2\r\n{}\r\n0\r\n" + trailer + b"\r\n\r\n")
        for name, trailer in {
            "without a colon": b"X-A",
            "with a space before the colon": b"X-A : b",
            "without a name": b": b",
            "with a space in its name": b"X A: b",
            "with a space before its name": b" X-A: b",
            "that is folded": b"X-A: b\r\n c",
            "with a bare LF": b"X-A: b\nX-B: c",
            "with a bare CR": b"X-A: b\rX-B: c",
            "with a NUL": b"X-A: b\x00c",
            "with a DEL": b"X-A: b\x7fc",
            "beyond ASCII in its name": b"X-\xe9: b",
            "that is a request line": b"GET /relay/anthropic/v1/models HTTP/1.1",
            "that is too long": b"X-A: " + b"b" * 16384,
            "for which there are too many": TOO_MANY.removesuffix(b"\r\n"),
            "that is one of too large ones": b"\r\n".join([b"X-A: " + b"b" * 16000] * 5),
            "without an end that is too long": b"X-A: " + b"b" * 17000,
        }.items()
    },
    may_cut=True,
)

SEEN: Final = Seen(chunked=True)
ACCEPTED: Final = [
    relayed(name, chunked(body), Seen(chunked=True, body=seen))
    for name, body, seen in (
        ("one chunk", b"2\r\n{}\r\n0\r\n\r\n", b"{}"),
        ("no chunk but the last", b"0\r\n\r\n", b""),
        ("a last size of several zeros", b"2\r\n{}\r\n000\r\n\r\n", b"{}"),
        ("zeros before a size", b"0002\r\n{}\r\n0\r\n\r\n", b"{}"),
        ("fifteen digits", b"000000000000002\r\n{}\r\n0\r\n\r\n", b"{}"),
        ("lower and upper case digits", b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
        ("many chunks", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"{}"),
        ("line ends as data", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
        ("a last chunk as data", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
        ("a request as data", b"12\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        ("every byte as data", b"100\r\n" + bytes(range(256)) + b"\r\n0\r\n\r\n", bytes(range(256))),
        ("an extension", b"2;a\r\n{}\r\n0\r\n\r\n", b"{}"),
        ("an extension with a value", b"2;a=b\r\n{}\r\n0\r\n\r\n", b"{}"),
        ("an extension in quotes", b'2;a="b;c=\\" d"\r\n{}\r\n0\r\n\r\n', b"{}"),
        ("two extensions", b'2;a;b="c"\r\n{}\r\n0\r\n\r\n', b"{}"),
        ("an extension of the last chunk", b"2\r\n{}\r\n0;a=b\r\n\r\n", b"{}"),
        ("a trailer", b"2\r\n{}\r\n0\r\nX-A: b\r\n\r\n", b"{}"),
        ("a trailer that is a credential", b"2\r\n{}\r\n0\r\nx-api-key: x\r\nAuthorization: Bearer x\r\n\r\n", b"{}"),
        ("a trailer that frames", b"2\r\n{}\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n", b"{}"),
        ("a trailer that is a Host", b"2\r\n{}\r\n0\r\nHost: evil.test\r\n\r\n", b"{}"),
    )
]  # fmt: skip


@specified(SIZES, EXTENSIONS, ENDS, TRAILERS, ACCEPTED)
async def test_chunks_are_read_strictly(ends: Ends, case: Case) -> None:
    """A wrong chunk is 400 and never completes a request upstream; trailers are dropped."""
    await check(ends, case)
