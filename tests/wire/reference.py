"""What the relay has to do with a request that is strict HTTP: refuse it, or forward what.

The design's checks in the design's order, written from the design alone and without a word
of the relay's code, so that the fuzz has something to compare with.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from tests.harness.secrets import OTHER_TOKEN, TOKEN
from tests.wire.strict import Fields, Request, only

_TUNNELS: Final = (b"CONNECT", b"TRACE", b"TRACK")
_NAME_BYTES: Final = string.ascii_letters.encode() + string.digits.encode() + b"_.-"
_TOKENS: Final = {TOKEN.encode(): "agent", OTHER_TOKEN.encode(): "other"}
_DROPPED: Final = frozenset(
    b"connection keep-alive te trailer transfer-encoding upgrade http2-settings content-length host expect "
    b"authorization x-api-key api-key x-goog-api-key cookie cookie2 forwarded".split()
)
_DROPPED_PREFIXES: Final = (
    *(b"proxy-", b"x-forwarded-", b"x-original-", b"x-rewrite-", b"x-headroom-"),
)
_DROPPED_FROM_ANSWERS: Final = frozenset(
    b"connection keep-alive te trailer transfer-encoding upgrade http2-settings content-length set-cookie set-cookie2".split()
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a relay is configured for."""

    name: bytes
    allow: tuple[bytes, ...]
    credential: tuple[bytes, bytes]
    prefix: bytes = b""
    version: bool = True
    betas: tuple[bytes, ...] = ()
    max_body: int | None = None


def expected_status(request: Request, kind: Kind) -> int:
    """Return the status of the relay's own answer; 200 for a probe, 0 where it forwards."""
    path = request.target.partition(b"?")[0]
    status = _judge_target(request, path) or _judge_place(request)
    if status:
        return status
    if not (path + b"/").startswith(b"/relay/%b/" % kind.name):
        return 404
    rest = path[len(b"/relay/") + len(kind.name) :]
    return 200 if _is_probe(request.method, rest) else _judge_call(request, rest, kind)


def _judge_call(request: Request, rest: bytes, kind: Kind) -> int:
    if b"websocket" in request.items(b"upgrade"):
        return 426
    if not _is_admitted(request):
        return 401
    if not any((rest + b"/").startswith(prefix + b"/") for prefix in kind.allow):
        return 403
    size = len(request.body) if request.length is None else request.length
    return 413 if kind.max_body is not None and size > kind.max_body else 0


def _judge_target(request: Request, path: bytes) -> int:
    if request.method.upper() in _TUNNELS:
        return 405
    clean = request.target.startswith(b"/") and b"#" not in request.target and b"\\" not in path
    return 0 if clean and not _has_bad_escapes(path) and not _has_dots(path) else 400


def _has_bad_escapes(path: bytes) -> bool:
    for escape in path.split(b"%")[1:]:
        digits = escape[:2]
        if len(digits) < 2 or not only(digits, string.hexdigits.encode()):
            return True
        if int(digits, 16) < 0x20 or int(digits, 16) == 0x7F:
            return True
    return False


def _has_dots(path: bytes) -> bool:
    segments = unquote_to_bytes(path).replace(b"\\", b"/").split(b"/")
    return any(segment.split(b";")[0] in (b".", b"..") for segment in segments)


def _judge_place(request: Request) -> int:
    hosts = request.values(b"host")
    if len(hosts) != 1 or not _is_host(hosts[0]):
        return 400
    return 403 if request.values(b"origin") else 0


def _is_host(value: bytes) -> bool:
    if value.startswith(b"["):
        name, bracket, port = value[1:].partition(b"]")
        if not bracket or not only(name, string.hexdigits.encode() + b":."):
            return False
    else:
        name, colon, digits = value.partition(b":")
        port = colon + digits
        if not only(name, _NAME_BYTES):
            return False
    digits = port[1:]
    return not port or (port[:1] == b":" and (not digits or (digits.isdigit() and len(digits) < 6)))


def _is_probe(method: bytes, rest: bytes) -> bool:
    if rest in (b"", b"/"):
        return method == b"HEAD"
    return rest == b"/api/hello" and method in (b"HEAD", b"GET")


def _is_admitted(request: Request) -> bool:
    owners = {_TOKENS.get(value) for value in request.values(b"x-api-key")}
    for value in request.values(b"authorization"):
        scheme, _, token = value.partition(b" ")
        owners.add(_TOKENS.get(token.lstrip(b" ")) if scheme.lower() == b"bearer" else None)
    return len(owners) == 1 and None not in owners


def crossing(request: Request) -> Fields:
    """Return the fields of the agent's that cross to the upstream."""
    named = set(request.items(b"connection"))
    return [
        (name, value)
        for name, value in request.fields
        for key in [name.lower()]
        if key not in _DROPPED and key not in named and b"_" not in key
        if not key.startswith(_DROPPED_PREFIXES)
    ]


def crossing_back(fields: Fields, named: list[bytes]) -> Fields:
    """Return the fields of an upstream's answer that cross to the agent."""
    return [
        (name, value)
        for name, value in fields
        for key in [name.lower()]
        if key not in _DROPPED_FROM_ANSWERS and key not in named
        if not key.startswith((b"proxy-", b"access-control-"))
    ]
