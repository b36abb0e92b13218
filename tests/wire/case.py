"""One row of the specification: what is sent, what comes back, what the upstream saw.

A row is played whole, and again one byte at a time; where the connection closes, also with a
good request pipelined behind it, which nobody may answer or see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pytest

from tests.harness.secrets import TOKEN
from tests.wire.upstream import KEEP_OK, Script

_BYTEWISE_LIMIT: Final = 700
CLOSING: Final = frozenset({400, 405, 408, 413, 414, 431, 505})
REASONS: Final = {
    401: "token",
    404: "relay",
    405: "target",
    413: "too_large",
    421: "host",
    426: "target",
}
"""``reason`` of the rejection by status; ``framing`` where nothing stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One answer: the upstream's where ``outcome`` is empty."""

    status: int
    outcome: str = ""
    reason: str | None = None
    body: bytes | None = None
    logged: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One whole request upstream: exactly these fields, in any order, and this body."""

    method: bytes = b"POST"
    target: bytes = b"/v1/messages"
    fields: tuple[bytes, ...] = ()
    """The agent's own that cross, in their spelling."""
    body: bytes = b"{}"
    chunked: bool = False
    relay: bytes = b"anthropic"
    own: tuple[bytes, ...] | None = None
    """What the relay adds beside Host, credential and framing."""
    sized: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row."""

    name: str
    sent: tuple[bytes, ...]
    answers: tuple[Expected, ...]
    seen: tuple[Seen, ...] = ()
    may_cut: bool = False
    """Whether the upstream may have seen the beginning of a request."""
    closes: bool = False
    script: Script = KEEP_OK
    alone: bool = False
    """Whether a request behind it would be a part of it."""

    @property
    def whole(self) -> bytes:
        """All that is sent."""
        return b"".join(self.sent)


def request(
    lines: bytes = b"Content-Length: 2",
    body: bytes = b"{}",
    *,
    start: bytes = b"POST /relay/anthropic/v1/messages HTTP/1.1",
    host: bytes = b"Host: relay.test\r\n",
    token: bytes = b"x-api-key: %b\r\n" % TOKEN.encode(),
) -> bytes:
    """Return a request's bytes; ``lines`` stand last in its head, as they are."""
    return start + b"\r\n" + host + token + lines + (b"\r\n\r\n" if lines else b"\r\n") + body


def get(
    target: bytes, lines: bytes = b"", *, method: bytes = b"GET", version: bytes = b"1.1"
) -> bytes:
    """Return a request without a body."""
    return request(lines, b"", start=b"%b %b HTTP/%b" % (method, target, version))


def chunked(body: bytes, lines: bytes = b"Transfer-Encoding: chunked") -> bytes:
    """Return a request whose body is what stands here, chunk framing and all."""
    return request(lines, body)


def refused(
    name: str,
    sent: bytes | Sequence[bytes],
    status: int = 400,
    *,
    reason: str | None = None,
    closes: bool | None = None,
    may_cut: bool = False,
) -> Case:
    """Return the case of a request that the relay refuses."""
    return Case(
        name=name,
        sent=(sent,) if isinstance(sent, bytes) else tuple(sent),
        answers=(rejection(status, reason),),
        closes=status in CLOSING if closes is None else closes,
        may_cut=may_cut,
    )


def rejection(status: int, reason: str | None = None) -> Expected:
    """Return what a refusal looks like."""
    reason = reason or REASONS.get(status, "framing")
    return Expected(status=status, outcome="rejected", reason=reason)


def relayed(
    name: str, sent: bytes | Sequence[bytes], *seen: Seen, closes: bool = False, status: int = 200
) -> Case:
    """Return the case of requests that reach the upstream, and are answered by it."""
    return Case(
        name=name,
        sent=(sent,) if isinstance(sent, bytes) else tuple(sent),
        answers=tuple(Expected(status=status, body=b"ok") for _ in seen),
        seen=seen,
        closes=closes,
    )


def all_refused(
    cases: Mapping[str, bytes],
    status: int = 400,
    *,
    reason: str | None = None,
    may_cut: bool = False,
    closes: bool | None = None,
) -> list[Case]:
    """Return the cases of a table whose rows are all refused alike."""
    return [
        refused(name, sent, status, reason=reason, may_cut=may_cut, closes=closes)
        for name, sent in cases.items()
    ]


def byte_by_byte(case: Case) -> Case:
    """Return the same case, sent one byte at a time."""
    whole = case.whole
    sent = tuple(whole[i : i + 1] for i in range(len(whole)))
    return replace(case, name=f"{case.name}, byte by byte", sent=sent)


def specified(*tables: Iterable[Case], bytewise: bool = True) -> pytest.MarkDecorator:
    """Return the parameters of a test: each case whole, and byte by byte where it is short."""
    cases = [case for table in tables for case in table]
    if bytewise:
        short = [
            case for case in cases if len(case.sent) == 1 and len(case.whole) < _BYTEWISE_LIMIT
        ]
        cases += [byte_by_byte(case) for case in short if not case.script.pieces[1:]]
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases])
