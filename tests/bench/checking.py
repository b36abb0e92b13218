"""Whether a peer does the work at all: a glance before anything is measured."""

from __future__ import annotations

import contextlib
from http.client import HTTPConnection
from typing import Final

from tests.bench import calling
from tests.bench.field import Way
from tests.bench.peers import CALLS, DIRECT
from tests.bench.rounds import Misbehaved

_FUSE_SECONDS: Final = 10.0
_WRONG: Final = "relay-w8Rz3Kc6Tn1Xq5Vb9Ym2Hd7Js4Lf0Gp"


def check_calls(way: Way) -> None:
    """See that the token is asked for, and that the upstream gets the key and not the token."""
    status, body = _ask(way, way.key)
    if (status, body) != (200, calling.answer_body().encode()):
        raise Misbehaved(f"{way.name} answers {status}, {body!r}")
    refused, _ = _ask(way, _WRONG)
    if refused != (403 if way.name == DIRECT else 401):
        raise Misbehaved(f"{way.name} answers {refused} to a wrong token")


def _ask(way: Way, key: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", way.ports[CALLS], timeout=_FUSE_SECONDS)
    with contextlib.closing(connection):
        headers = calling.HEADERS | {"x-api-key": key}
        target = way.path(CALLS, calling.PATH)
        connection.request("POST", target, calling.request_body(), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
