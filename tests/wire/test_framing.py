"""Heads that are no strict HTTP/1.1, or that frame a body in two ways: 400, and closed."""

from __future__ import annotations

from typing import Final

import pytest

from tests.wire.case import Case, Seen, all_refused, refused, relayed, request, specified
from tests.wire.ends import Ends
from tests.wire.playing import check

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHUNK: Final = b"2\r\n{}\r\n0\r\n\r\n"

LENGTHS: Final = all_refused(
    {
        "two equal lengths": request(b"Content-Length: 2\r\nContent-Length: 2"),
        "two unequal lengths": request(b"Content-Length: 2\r\nContent-Length: 3"),
        "two lengths in two cases": request(b"Content-Length: 2\r\ncontent-length: 2"),
        "two lengths in one line": request(b"Content-Length: 2, 2"),
        "two unequal lengths in one line": request(b"Content-Length: 2, 3"),
        "two lengths without a space": request(b"Content-Length: 2,2"),
        "an empty length": request(b"Content-Length:"),
        "a length of spaces": request(b"Content-Length:   "),
        "an empty length and a good one": request(b"Content-Length:\r\nContent-Length: 2"),
        "a signed length": request(b"Content-Length: +2"),
        "a negative length": request(b"Content-Length: -2"),
        "a negative zero": request(b"Content-Length: -0"),
        "a hexadecimal length": request(b"Content-Length: 0x2"),
        "a length in hexadecimal digits": request(b"Content-Length: a"),
        "an octal length": request(b"Content-Length: 0o2"),
        "an underscored length": request(b"Content-Length: 0_2"),
        "an underscore behind the length": request(b"Content-Length: 2_"),
        "a fraction": request(b"Content-Length: 2.0"),
        "an exponent": request(b"Content-Length: 2e0"),
        "a quoted length": request(b'Content-Length: "2"'),
        "a length and a word": request(b"Content-Length: 2 bytes"),
        "a length and a parameter": request(b"Content-Length: 2;x=1"),
        "a space within the length": request(b"Content-Length: 1 0"),
        "a comma behind the length": request(b"Content-Length: 2,"),
        "a comma before the length": request(b"Content-Length: ,2"),
        "digits beyond ASCII": request("Content-Length: ٢".encode()),
        "a superscript digit": request(b"Content-Length: \xb2"),
        "nineteen digits": request(b"Content-Length: 1000000000000000000"),
        "nineteen digits that mean 2": request(b"Content-Length: 0000000000000000002"),
        "2**64 + 2": request(b"Content-Length: 18446744073709551618"),
        "2**63": request(b"Content-Length: 9223372036854775808"),
        "a thousand digits": request(b"Content-Length: " + b"9" * 1000),
        "a length that is a word": request(b"Content-Length: chunked"),
        "a no-break space before the length": request(b"Content-Length: \xa02"),
        "a vertical tab before the length": request(b"Content-Length: \x0b2"),
        "a form feed behind the length": request(b"Content-Length: 2\x0c"),
    }
)

CODINGS: Final = [
    *all_refused(
        {
            name: request(lines, CHUNK)
            for name, lines in {
                "length and chunked": b"Content-Length: 12\r\nTransfer-Encoding: chunked",
                "chunked and length": b"Transfer-Encoding: chunked\r\nContent-Length: 12",
                "length 0 and chunked": b"Content-Length: 0\r\nTransfer-Encoding: chunked",
                "length and identity": b"Content-Length: 12\r\nTransfer-Encoding: identity",
                "a bad length and chunked": b"Content-Length: x\r\nTransfer-Encoding: chunked",
                "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                "chunked, chunked": b"Transfer-Encoding: chunked, chunked",
                "chunked and identity lines": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
                "identity and chunked lines": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
                "gzip, chunked": b"Transfer-Encoding: gzip, chunked",
                "gzip and chunked lines": b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
                "chunked, gzip": b"Transfer-Encoding: chunked, gzip",
                "chunked, identity": b"Transfer-Encoding: chunked, identity",
                "identity, chunked": b"Transfer-Encoding: identity, chunked",
                "deflate": b"Transfer-Encoding: deflate",
                "gzip": b"Transfer-Encoding: gzip",
                "identity": b"Transfer-Encoding: identity",
                "xchunked": b"Transfer-Encoding: xchunked",
                "chunkedx": b"Transfer-Encoding: chunkedx",
                "x-chunked": b"Transfer-Encoding: x-chunked",
                "chunk": b"Transfer-Encoding: chunk",
                "chunked with a parameter": b"Transfer-Encoding: chunked;q=1",
                "chunked with a semicolon": b"Transfer-Encoding: chunked;",
                "chunked with a comma": b"Transfer-Encoding: chunked,",
                "a comma before chunked": b"Transfer-Encoding: ,chunked",
                "quoted": b'Transfer-Encoding: "chunked"',
                "single quoted": b"Transfer-Encoding: 'chunked'",
                "an empty coding": b"Transfer-Encoding:",
                "an empty coding and chunked": b"Transfer-Encoding:\r\nTransfer-Encoding: chunked",
                "a vertical tab before chunked": b"Transfer-Encoding: \x0bchunked",
                "a form feed behind chunked": b"Transfer-Encoding: chunked\x0c",
                "a NUL behind chunked": b"Transfer-Encoding: chunked\x00",
                "a no-break space before chunked": b"Transfer-Encoding: \xa0chunked",
                "a zero-width space": "Transfer-Encoding: \u200bchunked".encode(),
                "a Kelvin sign for a k": "Transfer-Encoding: chun\u212aed".encode(),
                "a space within": b"Transfer-Encoding: chun ked",
                "a space before the colon": b"Transfer-Encoding : chunked",
                "a tab before the colon": b"Transfer-Encoding\t: chunked",
                "a space before the name": b" Transfer-Encoding: chunked",
                "folded": b"Transfer-Encoding:\r\n chunked",
                "folded behind": b"Transfer-Encoding: chunked\r\n\tidentity",
                "bare LF before": b"X-A: b\nTransfer-Encoding: chunked",
                "bare CR before": b"X-A: b\rTransfer-Encoding: chunked",
                "bare LF within": b"Transfer-Encoding:\nchunked",
            }.items()
        }
    ),
    refused(
        "chunked on HTTP/1.0",
        request(
            b"Transfer-Encoding: chunked",
            CHUNK,
            start=b"POST /relay/anthropic/v1/messages HTTP/1.0",
        ),
    ),
    refused(
        "identity on HTTP/1.0",
        request(
            b"Transfer-Encoding: identity",
            start=b"POST /relay/anthropic/v1/messages HTTP/1.0",
        ),
    ),
]

FIELD_LINES: Final = all_refused(
    {
        name: request(lines + b"\r\nContent-Length: 2")
        for name, lines in {
            "a space before the colon": b"X-A : b",
            "a tab before the colon": b"X-A\t: b",
            "a space within the name": b"X A: b",
            "an empty name": b": b",
            "an empty name and value": b":",
            "a space for a name": b" : b",
            "no colon": b"X-A",
            "no colon but a value": b"X-A b",
            "an equals sign for the colon": b"X-A=b",
            "a folded line": b"X-A: b\r\n c",
            "a line folded with a tab": b"X-A: b\r\n\tc",
            "a line folded to nothing": b"X-A: b\r\n ",
            "a folded line that looks like a field": b"X-A: b\r\n Content-Length: 5",
            "a bare LF in a value": b"X-A: b\nX-B: c",
            "a bare LF before a length": b"X-A: b\nContent-Length: 5",
            "a bare CR in a value": b"X-A: b\rX-B: c",
            "a bare CR at the end of a value": b"X-A: b\r",
            "two CRs at the end": b"X-A: b\r\r",
            "LF CR for an end": b"X-A: b\n\rX-B: c",
            "a bare CR in a name": b"X\r-A: b",
            "a bare LF in a name": b"X\n-A: b",
            "a quoted name": b'"X-A": b',
            "a name in brackets": b"[X-A]: b",
            "a name with a slash": b"X/A: b",
            "a name with a comma": b"X,A: b",
            "a name with a semicolon": b"X;A: b",
            "a name with an at sign": b"X@A: b",
            "a name with an equals sign": b"X=A: b",
            "a name with a parenthesis": b"X(A: b",
            "a name with a backslash": b"X\\A: b",
            "a name beyond ASCII": b"X-\xc3\xa9: b",
            "a byte order mark before the name": b"\xef\xbb\xbfX-A: b",
            "a no-break space in the name": b"X-A\xa0: b",
        }.items()
    }
) + all_refused(
    {
        f"control byte {byte:#04x} in a {place}": request(line + b"\r\nContent-Length: 2")
        for byte in (*range(9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F)
        for place, line in {
            "value": b"X-A: b%cc" % byte,
            "name": b"X-%cA: b" % byte,
        }.items()
    }
)

REQUEST_LINES: Final = all_refused(
    {
        name: request(start=start)
        for name, start in {
            "two spaces behind the method": b"POST  /relay/anthropic/v1/messages HTTP/1.1",
            "two spaces before the version": b"POST /relay/anthropic/v1/messages  HTTP/1.1",
            "a space behind the version": b"POST /relay/anthropic/v1/messages HTTP/1.1 ",
            "a space before the method": b" POST /relay/anthropic/v1/messages HTTP/1.1",
            "a tab behind the method": b"POST\t/relay/anthropic/v1/messages HTTP/1.1",
            "a tab before the version": b"POST /relay/anthropic/v1/messages\tHTTP/1.1",
            "a space in the target": b"POST /relay/anthropic/v1/mess ages HTTP/1.1",
            "no version": b"POST /relay/anthropic/v1/messages",
            "no version but a space": b"POST /relay/anthropic/v1/messages ",
            "no target": b"POST HTTP/1.1",
            "no target but a space": b"POST  HTTP/1.1",
            "a method alone": b"POST",
            "no method": b"/relay/anthropic/v1/messages HTTP/1.1",
            "an empty method": b" /relay/anthropic/v1/messages HTTP/1.1",
            "two versions": b"POST /relay/anthropic/v1/messages HTTP/1.1 HTTP/1.1",
            "lower case http": b"POST /relay/anthropic/v1/messages http/1.1",
            "mixed case http": b"POST /relay/anthropic/v1/messages Http/1.1",
            "HTTPS": b"POST /relay/anthropic/v1/messages HTTPS/1.1",
            "another protocol": b"POST /relay/anthropic/v1/messages ICE/1.0",
            "a version of one digit": b"POST /relay/anthropic/v1/messages HTTP/1",
            "a version without its dot": b"POST /relay/anthropic/v1/messages HTTP/11",
            "a version with a comma": b"POST /relay/anthropic/v1/messages HTTP/1,1",
            "a version with three numbers": b"POST /relay/anthropic/v1/messages HTTP/1.1.1",
            "a version with a zero within": b"POST /relay/anthropic/v1/messages HTTP/1.01",
            "a version of two digits behind the dot": b"POST /relay/anthropic/v1/messages HTTP/1.10",
            "a signed version": b"POST /relay/anthropic/v1/messages HTTP/+1.1",
            "a space in the version": b"POST /relay/anthropic/v1/messages HTTP/1. 1",
            "a space behind HTTP": b"POST /relay/anthropic/v1/messages HTTP /1.1",
            "a version in letters": b"POST /relay/anthropic/v1/messages HTTP/x.1",
            "a quoted method": b'"POST" /relay/anthropic/v1/messages HTTP/1.1',
            "a method with a colon": b"POST: /relay/anthropic/v1/messages HTTP/1.1",
            "a method with a slash": b"PO/ST /relay/anthropic/v1/messages HTTP/1.1",
            "a method with brackets": b"PO[]ST /relay/anthropic/v1/messages HTTP/1.1",
            "a method beyond ASCII": b"PO\xc3\x9fT /relay/anthropic/v1/messages HTTP/1.1",
            "a NUL in the method": b"PO\x00ST /relay/anthropic/v1/messages HTTP/1.1",
            "a bare LF behind the version": b"POST /relay/anthropic/v1/messages HTTP/1.1\nX-A: b",
            "a bare CR behind the version": b"POST /relay/anthropic/v1/messages HTTP/1.1\rX-A: b",
            "two CRs": b"POST /relay/anthropic/v1/messages HTTP/1.1\r",
            "HTTP/0.9": b"POST /relay/anthropic/v1/messages\r\n",
            "a header for a request line": b"Host: relay.test",
            "a status line": b"HTTP/1.1 200 OK",
        }.items()
    }
) + all_refused(
    {
        "two empty lines before": b"\r\n\r\n" + request(),
        "many empty lines before": b"\r\n" * 50 + request(),
        "a bare LF before": b"\n" + request(),
        "a bare CR before": b"\r" + request(),
        "a space before": b" " + request(),
        "a NUL before": b"\x00" + request(),
        "a byte order mark before": b"\xef\xbb\xbf" + request(),
        "a field line folded at once": request(host=b" Host: relay.test\r\n"),
        "bare LFs everywhere": request().replace(b"\r\n", b"\n"),
        "bare CRs everywhere": request().replace(b"\r\n", b"\r"),
        "LF CR everywhere": request().replace(b"\r\n", b"\n\r"),
        "a bare LF ends the head": request(b"Content-Length: 2").replace(b"\r\n\r\n", b"\r\n\n"),
        "CR CR LF ends the head": request(b"Content-Length: 2").replace(b"\r\n\r\n", b"\r\n\r\r\n"),
    }
)

VERSIONS: Final = all_refused(
    {
        f"HTTP/{version.decode()}": request(
            start=b"POST /relay/anthropic/v1/messages HTTP/" + version
        )
        for version in (
            *(b"0.9", b"1.2", b"1.9", b"2.0", b"2.1", b"3.0", b"9.9"),
            *(b"01.1", b"2", b"2.0x", b"21"),
        )
    },
    505,
)

ACCEPTED: Final = [
    relayed("a length", request(), Seen()),
    relayed("no space before the length", request(b"Content-Length:2"), Seen()),
    relayed("spaces and tabs around the length", request(b"Content-Length: \t 2 \t "), Seen()),
    relayed("a zero before the length", request(b"Content-Length: 02"), Seen()),
    relayed("eighteen digits", request(b"Content-Length: 000000000000000002"), Seen()),
    relayed("length 0", request(b"Content-Length: 0", b""), Seen(body=b"")),
    relayed("neither length nor chunks", request(b"", b""), Seen(body=b"", sized=False)),
    relayed("chunks", request(b"Transfer-Encoding: chunked", CHUNK), Seen(chunked=True)),
    relayed("CHUNKED", request(b"TRANSFER-ENCODING: CHUNKED", CHUNK), Seen(chunked=True)),
    relayed("spaces and tabs around chunked", request(b"Transfer-Encoding: \tchunked \t", CHUNK), Seen(chunked=True)),
    relayed("one empty line before", b"\r\n" + request(), Seen()),
    relayed("an empty value", request(b"X-A:\r\nContent-Length: 2"), Seen(fields=(b"X-A: ",))),
    relayed("a colon in a value", request(b"X-A: :b:\r\nContent-Length: 2"), Seen(fields=(b"X-A: :b:",))),
    relayed("a value beyond ASCII", request(b"X-A: \xc3\xa9\xff\r\nContent-Length: 2"), Seen(fields=(b"X-A: \xc3\xa9\xff",))),
    relayed("a tab in a value", request(b"X-A: b\tc\r\nContent-Length: 2"), Seen(fields=(b"X-A: b\tc",))),
    relayed("every sign that a name may hold", request(b"X!#$%&'*+-.^`|~9: b\r\nContent-Length: 2"), Seen(fields=(b"X!#$%&'*+-.^`|~9: b",))),
    relayed("names in their own spelling", request(b"x-LoWeR: b\r\nX-UPPER: c\r\nContent-Length: 2"), Seen(fields=(b"x-LoWeR: b", b"X-UPPER: c"))),
    relayed("a field three times", request(b"X-A: 1\r\nX-A: 2\r\nX-A: 1\r\nContent-Length: 2"), Seen(fields=(b"X-A: 1", b"X-A: 2", b"X-A: 1"))),
    relayed("HTTP/1.0", request(start=b"POST /relay/anthropic/v1/messages HTTP/1.0"), Seen(), closes=True),
]  # fmt: skip


@specified(LENGTHS, CODINGS, FIELD_LINES, REQUEST_LINES, VERSIONS, ACCEPTED)
async def test_a_head_is_read_strictly(ends: Ends, case: Case) -> None:
    """What two servers could read differently is refused; what is left is relayed as it is."""
    await check(ends, case)
