"""Mutations of HTTP messages: some know the grammar, some know only bytes.

Each takes a draft, or bytes, and the genes that choose; the words are those that servers
have disagreed on.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from tests.harness.secrets import OTHER_TOKEN, TOKEN
from tests.wire.drafts import Draft
from tests.wire.genes import Genes

FIELD_LINES: Final = (
    *(b"X-A: b", b"Content-Length: 2", b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: +2", b"Content-Length: 2, 2"),
    *(b"Content-Length:", b"Content-Length: 0x2", b"Content-Length: 99999999999999999999", b"content-length: 02", b"Content-Length: 2 "),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding : chunked"),
    *(b"Transfer-Encoding: xchunked", b"Transfer-Encoding:\x0bchunked", b"transfer-encoding: Chunked", b"Transfer-Encoding: chunked, chunked"),
    *(b"Host: evil.test", b"Host: ", b"Host: a/b", b"Host: [::1]:80", b"Origin: https://evil.test", b"Upgrade: websocket", b"Upgrade: h2c"),
    *(b"Connection: close", b"Connection: x-api-key", b"Connection: content-length, host", b"Connection: transfer-encoding", b"Connection: X-A"),
    *(b"x-api-key: wrong", b"x-api-key:", b"Authorization:", b"Authorization: Bearer", b"x-api-key: " + TOKEN.encode(), b"Authorization: Basic x", b"Authorization: Bearer " + OTHER_TOKEN.encode()),
    *(b"Authorization: Bearer " + TOKEN.encode(), b"x-goog-api-key: x", b"api-key: x", b"x_api_key: x", b"Cookie: a=b", b"Forwarded: for=x"),
    *(b"X-Forwarded-Host: x", b"X-Original-URL: /admin", b"X-Rewrite-URL: /", b"X-Headroom-Base-Url: x", b"X-Relay-Error: x", b"Proxy-Authorization: x"),
    *(b"anthropic-version: 2024-01-01", b"anthropic-beta: c", b"anthropic-beta: a-1", b"Expect: 100-continue", b"Expect: x", b"TE: trailers"),
    *(b" folded", b"\tfolded", b": empty", b"no colon", b"sp ace: x", b"X-A: \x00", b"X-\xe9: y", b"X-E: \xe9", b"Keep-Alive: 5", b"Trailer: X-T"),
    *(b"set-cookie: a=b", b"access-control-allow-origin: *", b"alt-svc: clear", b"location: /x", b"X-Long: " + b"y" * 17000, b"X-Fit: " + b"y" * 16000),
)  # fmt: skip
_ENDS: Final = (
    *(b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"", b" \r\n", b"\r\n ", b"\r\n\r\n"),
    *(b"\x00\r\n", b"\t\r\n"),
)
_TARGET_BITS: Final = (
    *(b"/", b"/..", b"/.", b"/%2e%2e", b"/.%2e/", b"..%2f", b"%5c..", b"/..;/", b"\\", b"#", b"?", b"%", b"%00", b"%0d%0a", b"%zz"),
    *(b"%252e", b"//", b";x", b"*", b"http://x", b"\xc3\xa9", b" ", b"\t", b"@", b"&a=b", b"%2f", b"/x", b"/v1/../stats", b"%7f", b"%41"),
)  # fmt: skip
_METHODS: Final = (
    b"GET",
    b"POST",
    b"HEAD",
    b"CONNECT",
    b"TRACE",
    b"track",
    b"OPTIONS",
    b"get",
    b"P\x00ST",
    b"PO ST",
    b"",
    b"G(T",
    b"X" * 50,
)
_VERSIONS: Final = (
    *(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"http/1.1", b"HTTP/11"),
    *(b"HTTP/1.1 ", b"", b"HTTP/1.10", b"HTTPS/1.1"),
)
_STATUSES: Final = (
    *(b"200", b"100", b"101", b"103", b"204", b"206", b"301", b"304", b"307", b"404", b"500"),
    *(b"599", b"600", b"099", b"20", b"2000", b"+20", b"2 0", b""),
)
_SIZES: Final = (
    *(b"0", b"1", b"2", b"5", b"e", b"F", b"+2", b"-1", b"0x2", b"2 ", b" 2", b"", b"02", b"00", b"g", b"2;a", b"2;a=b", b'2;a="b"', b"2;"),
    *(b"2; a", b"2;a\n", b'2;a="\n', b"2;a=", b"ffffffffffffffff", b"fffffffffffffff", b"000000000000002", b"0000000000000002", b"2\x00"),
    *(b"2_", b"2,2", b"2\r", b"2\n", b"\xb2", b"2;" + b"a" * 300),
)  # fmt: skip
_BYTES: Final = (
    b"\r\n\x00 \t:;,/\\.%#?@=+-_0123456789abcdefxAZ\"'()\x01\x0b\x0c\x1f\x7f\x80\xa0\xff"
)


def _replace_line(draft: Draft, genes: Genes) -> None:
    if draft.lines:
        draft.lines[genes.below(len(draft.lines))] = genes.pick(FIELD_LINES)


def _insert_line(draft: Draft, genes: Genes) -> None:
    draft.lines.insert(genes.below(len(draft.lines) + 1), genes.pick(FIELD_LINES))


def _duplicate_line(draft: Draft, genes: Genes) -> None:
    if draft.lines:
        line = genes.pick(draft.lines)
        draft.lines.insert(genes.below(len(draft.lines) + 1), line)


def _drop_line(draft: Draft, genes: Genes) -> None:
    if draft.lines:
        del draft.lines[genes.below(len(draft.lines))]


def _alter_line(draft: Draft, genes: Genes) -> None:
    """Give a line another case, another spacing, or an odd byte."""
    if not draft.lines:
        return
    index = genes.below(len(draft.lines))
    name, colon, value = draft.lines[index].partition(b":")
    draft.lines[index] = (
        name.upper() + colon + value,
        name + b" " + colon + value,
        name.replace(b"-", b"_") + colon + value,
        b" " + name + colon + value,
        name + colon + value.strip(),
        name + colon + b" \t " + value + b" \t",
        name + colon + value + b",",
        name + colon + value + genes.pick((b"\x00", b"\x7f", b"\n", b"\r", b"\xff", b"x")),
        name + colon,
        name + value,
    )[genes.below(10)]


def _alter_end(draft: Draft, genes: Genes) -> None:
    """End a line in another way: what is a line is then another matter."""
    if draft.lines:
        index = genes.below(len(draft.lines))
        following = draft.lines[index + 1 : index + 2] or [b"X-Z: z"]
        draft.lines[index : index + 2] = [draft.lines[index] + genes.pick(_ENDS) + following[0]]


def _alter_start(draft: Draft, genes: Genes) -> None:
    parts = draft.start.split(b" ")
    choices = (
        (_VERSIONS, _STATUSES) if parts[0].startswith(b"HTTP/") else (_METHODS, None, _VERSIONS)
    )
    index = genes.below(len(choices))
    words = choices[index] if index < len(parts) else ()
    if words is None:
        cut = genes.below(len(parts[1]) + 1)
        parts[1] = parts[1][:cut] + genes.pick(_TARGET_BITS) + parts[1][cut:]
    elif words:
        parts[index] = genes.pick(words)
    draft.start = genes.pick((b" ", b" ", b" ", b" ", b" ", b"  ", b"\t")).join(parts)


def _alter_piece(draft: Draft, genes: Genes) -> None:
    """Put another size, or another end, in the place of a piece of the body."""
    if draft.body:
        draft.body[genes.below(len(draft.body))] = genes.pick(genes.pick((_SIZES, _ENDS)))


def _move_piece(draft: Draft, genes: Genes) -> None:
    if draft.body:
        piece = genes.pick(draft.body)
        draft.body.insert(genes.below(len(draft.body) + 1), piece)


def _drop_piece(draft: Draft, genes: Genes) -> None:
    if draft.body:
        del draft.body[genes.below(len(draft.body))]


def _add_trailer(draft: Draft, genes: Genes) -> None:
    draft.body[-1:-1] = [genes.pick(FIELD_LINES), genes.pick(_ENDS)]


_OF_DRAFTS: Final[tuple[Callable[[Draft, Genes], None], ...]] = (
    *(_insert_line, _replace_line, _duplicate_line, _drop_line, _alter_line, _alter_end),
    *(_alter_start, _alter_start, _alter_piece, _move_piece, _drop_piece, _add_trailer),
)  # fmt: skip


def _mutate_bytes(data: bytes, genes: Genes) -> bytes:
    """Put in, take out, alter or repeat some bytes, wherever they are."""
    start = genes.below(len(data) + 1)
    length = genes.below(8)
    byte = bytes([_BYTES[genes.below(len(_BYTES))]])
    kind = genes.below(6)
    if kind == 0:
        return data[:start] + byte + data[start + 1 :]
    if kind == 1:
        return data[:start] + byte + data[start:]
    if kind == 2:
        return data[:start] + data[start + 1 + length :]
    if kind == 3:
        return data[: start + 4 * length] + data[start:]
    if kind == 4:
        return data[:start]
    return data[:start] + byte * (1 + 30 * length) + data[start:]


def _assemble(draft: Draft) -> bytes:
    return b"\r\n".join([draft.start, *draft.lines, b"", b""]) + b"".join(draft.body)


def mutated(seed: Draft, genes: Genes) -> bytes:
    """Return the message with at most three mutations of its parts and two of its bytes."""
    draft = seed.copy()
    kinds = genes.byte()
    for _ in range(kinds % 4):
        genes.pick(_OF_DRAFTS)(draft, genes)
    data = _assemble(draft)
    for _ in range((0, 0, 0, 0, 0, 1, 1, 2)[kinds // 4 % 8]):
        data = _mutate_bytes(data, genes)
    return data


def cut_up(data: bytes, genes: Genes) -> tuple[bytes, ...]:
    """Return the bytes in one piece, in two, in several, or one by one."""
    kind = genes.below(8)
    if kind < 4 or len(data) < 2:
        return (data,)
    if kind < 7:
        positions = sorted({genes.below(len(data)) for _ in range(kind - 3)} - {0})
        edges = [0, *positions, len(data)]
        return tuple(data[a:b] for a, b in pairwise(edges))
    size = 1 if len(data) < 400 else 97
    return tuple(data[i : i + size] for i in range(0, len(data), size))
