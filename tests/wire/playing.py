"""Plays a row of the specification, and sees that everything is as the row says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from tests.wire.agent import RawAgent
from tests.wire.case import Case, Expected, Seen
from tests.wire.ends import CREDENTIAL_LINES, Ends, check_answer, count_credentials
from tests.wire.strict import Request, Response, Wrong, read_requests
from tests.wire.upstream import KEEP_OK

TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    500: "api_error",
    502: "api_error",
    503: "api_error",
    504: "timeout_error",
}
"""``error.type`` by status; ``invalid_request_error`` where nothing stands."""


async def check(ends: Ends, case: Case) -> None:
    """Play a case, and see that everything is as the row says."""
    bytewise = len(case.sent) > 99
    if not (case.closes and not case.alone and bytewise):
        await _play(ends, case)
    if case.closes and not case.alone:
        behind = ends.good.replace(b"/v1/messages", b"/v1/messages/behind")
        await _play(ends, replace(case, sent=(*case.sent[:-1], case.sent[-1] + behind)))


async def _play(ends: Ends, case: Case) -> None:
    ends.begin()
    ends.upstream.script = case.script
    agent = await ends.agent()
    answers = await _converse(agent, case)
    ends.upstream.script = KEEP_OK
    _check_answers(case, answers)
    if not case.closes:
        await ends.call_well(agent)
    agent.transport.close()
    await ends.quiet()
    await ends.call_well()
    _check_upstream(ends, case, good_calls=1 if case.closes else 2)
    await _check_log(ends, case)


async def _converse(agent: RawAgent, case: Case) -> list[Response]:
    """Send what the case sends, and return what came back by the time that all of it should."""
    methods = _methods(case.whole)
    await agent.send_apart(*case.sent)
    count = len(case.answers)
    await agent.until(lambda: _finished(agent.answers(methods), count))
    if case.closes:
        await agent.gone()
        assert agent.ending == "end"
    answers = agent.answers(methods)
    assert answers
    assert answers[-1].end == len(agent.received)
    return answers


def _methods(sent: bytes) -> list[bytes]:
    requests, end = read_requests(sent)
    methods = [request.method for request in requests]
    return [*methods, b"HEAD"] if isinstance(end, Wrong) and sent.startswith(b"HEAD") else methods


def _finished(answers: list[Response], count: int) -> bool:
    return len(answers) >= count and answers[-1].complete


def _check_answers(case: Case, answers: list[Response]) -> None:
    summary = [(answer.status, answer.outcome) for answer in answers]
    assert summary == [(each.status, each.outcome) for each in case.answers]
    for answer, expected in zip(answers, case.answers, strict=True):
        check_answer(answer)
        assert answer.complete
        if expected.body is not None:
            assert answer.body == expected.body
        if expected.outcome:
            check_own(answer, expected)
    closing = answers[-1].items(b"connection")
    assert (b"close" in closing) is case.closes


def check_own(answer: Response, expected: Expected) -> None:
    """See that an answer of the relay's own is as the design's table says."""
    error: dict[str, Any] = json.loads(answer.body)["error"] if answer.body else {}
    kind = "overloaded_error" if expected.reason == "draining" else None
    assert error.get("type", "") in ("", kind or TYPES.get(answer.status, "invalid_request_error"))
    retriable = answer.status in (408, 502, 504) or expected.reason == "draining"
    assert answer.values(b"x-should-retry") == ([] if retriable else [b"false"])
    assert answer.values(b"content-type") == [b"application/json"]


def _check_upstream(ends: Ends, case: Case, *, good_calls: int) -> None:
    upstream = ends.upstream
    assert not upstream.refused
    requests = upstream.requests[: len(upstream.requests) - good_calls]
    assert len(requests) == len(case.seen), [(each.method, each.target) for each in requests]
    for request, seen in zip(requests, case.seen, strict=True):
        check_seen(request, seen, ends.upstream.port)
    assert case.may_cut or not upstream.cut, upstream.cut


def check_seen(request: Request, seen: Seen, port: int) -> None:
    """See that a request upstream is the one that was meant, and holds one credential."""
    assert (request.method, request.target) == (seen.method, seen.target)
    assert request.body == seen.body
    assert request.chunked is seen.chunked
    framing = _framing(seen)
    own = seen.own
    if own is None:
        is_openai = seen.relay == b"openai"
        own = () if is_openai else (b"anthropic-version: 2023-06-01",)
    pairs = [_pair(line) for line in (*seen.fields, *own, *framing)]
    pairs += [(b"host", b"127.0.0.1:%d" % port), CREDENTIAL_LINES[seen.relay]]
    assert sorted((n.lower(), v) for n, v in request.fields) == sorted(
        (name.lower(), value) for name, value in pairs
    )
    assert {_pair(line) for line in seen.fields} <= set(request.fields)
    assert count_credentials(request.fields) == 1


def _framing(seen: Seen) -> tuple[bytes, ...]:
    if seen.chunked:
        return (b"Transfer-Encoding: chunked",)
    return (b"Content-Length: %d" % len(seen.body),) if seen.sized else ()


def _pair(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b": ")
    return name, value


async def _check_log(ends: Ends, case: Case) -> None:
    expected = [each for each in case.answers if each.logged]
    good = 1 if case.closes else 2
    lines = (await ends.logged(len(expected) + good))[: len(expected)]
    for line, each in zip(lines, expected, strict=True):
        assert line["status"] == each.status
        assert line.get("reason") == each.reason
        if each.outcome:
            assert line["outcome"] == each.outcome
        if each.reason:
            ends.rejections[each.reason] += 1
