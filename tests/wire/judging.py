"""Whether requests came out of the relay as they went in, or were cleanly refused.

What has to come of an agent's bytes is planned from a strict reading of them; then both ends
are compared with the plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.harness.secrets import CREDENTIALS, SECRETS
from tests.wire.agent import RawAgent
from tests.wire.reference import Kind, crossing, expected_status
from tests.wire.strict import (
    Fields,
    Partial,
    Request,
    Response,
    Wrong,
    read_request,
    read_requests,
)
from tests.wire.upstream import RawUpstream

MALFORMED: Final = frozenset({400, 414, 431, 505})
_REFUSALS: Final = frozenset({400, 401, 403, 404, 405, 413, 414, 421, 426, 431, 505})
_CLOSING: Final = frozenset({400, 405, 413, 414, 431, 505})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case, and what was wrong with it, if anything."""

    name: str
    wrong: str = ""


@dataclass(slots=True)
class Plan:
    """What the relay has to do with an agent's bytes."""

    requests: list[Request]
    """Those that have to be answered, in order."""
    statuses: list[int]
    """What with; 0 where the upstream's answer is passed on."""
    last: frozenset[int] = frozenset()
    """The refusals of which one follows, if any has to."""
    unfinished: Request | None = None
    """A request whose body is not there, or is broken: it may have begun upstream."""
    early: int = 0
    """What it is answered without its body; 0 where the upstream would answer."""
    closes: bool = False

    @property
    def methods(self) -> list[bytes]:
        """The methods of the requests, for whoever reads the answers."""
        rest = [self.unfinished.method] if self.unfinished is not None else []
        return [request.method for request in self.requests] + rest

    def is_over(self, agent: RawAgent, *, answered: bool) -> bool:
        """Whether all that has to come has come; a case of answers waits for one, or the end."""
        answers = agent.answers(self.methods)
        count = len(self.statuses) + bool(self.last)
        whole = [each for each in answers if each.complete]
        return len(whole) >= count and not self.closes and (not answered or bool(whole))


def plan_requests(data: bytes, kind: Kind) -> Plan:
    """Read an agent's bytes strictly, and say what has to come of them."""
    requests, end = read_requests(data)
    plan = Plan([], [])
    for request in requests:
        status = expected_status(request, kind)
        if not request.complete:
            plan.unfinished, plan.early = request, status
            plan.last = frozenset({400, status or 400}) if request.broken else frozenset()
            plan.closes = request.broken
            return plan
        plan.requests.append(request)
        plan.statuses.append(status)
        if status in _CLOSING or request.minor == 0 or b"close" in request.items(b"connection"):
            plan.closes = True
            return plan
    if isinstance(end, Wrong):
        plan.last = MALFORMED
        plan.closes = True
    return plan


def judge_requests(plan: Plan, agent: RawAgent, upstream: RawUpstream, kind: Kind) -> Outcome:
    """Compare what came out at both ends with the plan."""
    answers = agent.answers(plan.methods)
    plan = _shortened(plan, answers)
    statuses = [answer.status for answer in answers]
    name = ",".join(sorted({str(each) for each in statuses})) or "none"
    wrong = (
        _judge_stream(plan, agent, answers)
        or _judge_statuses(plan, answers)
        or _judge_upstream(plan, upstream, kind)
        or _judge_bodies(plan, answers, upstream)
    )
    return Outcome(name, wrong and f"{wrong}; answers {bytes(agent.received)!r}")


def _shortened(plan: Plan, answers: list[Response]) -> Plan:
    """Return the plan up to a refusal that closes though it need not.

    Whether a body follows that was to wait for a 100 cannot be known (RFC 9110 §10.1.1).
    """
    refusals = zip(plan.requests, plan.statuses, answers, strict=False)
    for index, (request, status, answer) in enumerate(refusals):
        waits = b"100-continue" in request.items(b"expect")
        if status and waits and b"close" in answer.items(b"connection"):
            return Plan(plan.requests[: index + 1], plan.statuses[: index + 1], closes=True)
    return plan


def _judge_stream(plan: Plan, agent: RawAgent, answers: list[Response]) -> str:
    rest = bytes(agent.received[answers[-1].end if answers else 0 :])
    begun = plan.unfinished
    asked = begun is not None and b"100-continue" in begun.items(b"expect")
    if rest and not (asked and rest == b"HTTP/1.1 100 Continue\r\n\r\n"):
        return "something else than answers came"
    if any(not answer.complete or answer.broken for answer in answers):
        return "an answer is not whole"
    if any(secret.encode() in agent.received for secret in SECRETS):
        return "an answer holds a secret"
    return ""


def _judge_statuses(plan: Plan, answers: list[Response]) -> str:
    actual = [answer.status if answer.outcome else 0 for answer in answers]
    expected = [0 if status == 200 else status for status in plan.statuses]
    count = len(expected)
    last = [answer.status for answer in answers[count:]]
    if actual[:count] != expected:
        return f"expected {expected}, got {actual}"
    if plan.last and [status in plan.last for status in last] != [True]:
        return f"expected {expected} and one of {sorted(plan.last)}, got {actual} and {last}"
    if not plan.last and plan.closes and last:
        return f"{last} came behind the last request"
    if any(status not in _REFUSALS and status != plan.early for status in last):
        return f"{last} came for what was no request yet"
    expecting = [b"100-continue" in request.items(b"expect") for request in plan.requests]
    if any(a.interim and not e for a, e in zip(answers, expecting, strict=False)):
        return "an interim answer that nobody waited for"
    return ""


def _judge_upstream(plan: Plan, upstream: RawUpstream, kind: Kind) -> str:
    if upstream.refused:
        return (
            f"the upstream got what is no HTTP: {[bytes(c.received) for c in upstream.connections]}"
        )
    forwarded = _forwarded(plan)
    if len(upstream.requests) != len(forwarded):
        seen = [(each.method, each.target) for each in upstream.requests]
        return f"the upstream got {len(seen)} requests for {len(forwarded)}: {seen}"
    for request, got in zip(forwarded, upstream.requests, strict=True):
        if wrong := _compare(request, got, kind, upstream.port):
            return f"{wrong}: {got!r}"
    return _judge_cut(plan, upstream, kind)


def _forwarded(plan: Plan) -> list[Request]:
    pairs = zip(plan.requests, plan.statuses, strict=True)
    return [request for request, status in pairs if status == 0]


def _judge_cut(plan: Plan, upstream: RawUpstream, kind: Kind) -> str:
    """See that what was cut upstream is the request that the agent did not complete."""
    begun = plan.unfinished
    over = [each for each in plan.requests if each.chunked and kind.max_body is not None]
    if begun is None and over:
        begun = over[-1]
    for data in upstream.cut:
        if begun is None:
            return f"the upstream got the beginning of a request: {data!r}"
        try:
            seen = read_request(data, slack=4096)
        except Partial:
            return f"the upstream got half a head: {data!r}"
        if wrong := _compare(begun, seen, kind, upstream.port, whole=False):
            return f"{wrong}, cut: {seen!r}"
    return ""


def _compare(request: Request, seen: Request, kind: Kind, port: int, *, whole: bool = True) -> str:
    """Return what the upstream got otherwise than the agent sent it."""
    prefix = b"/relay/" + kind.name
    if (seen.method, seen.target) != (request.method, kind.prefix + request.target[len(prefix) :]):
        return "another method or target"
    if (seen.body != request.body) if whole else not request.body.startswith(seen.body):
        return "another body"
    if (seen.chunked, seen.length) != (request.chunked, request.length):
        return "another framing"
    if seen.values(b"host") != [b"127.0.0.1:%d" % port]:
        return "another Host"
    if sum(any(c.encode() in value for c in CREDENTIALS) for _, value in seen.fields) != 1:
        return "not one credential"
    return _compare_fields(crossing(request), seen, kind)


def _compare_fields(sent: Fields, seen: Request, kind: Kind) -> str:
    own = {b"host", b"content-length", b"transfer-encoding"}
    fields = [(name, value) for name, value in seen.fields if name.lower() not in own]
    lower = [(name.lower(), value) for name, value in fields]
    expected = [(name.lower(), value) for name, value in sent]
    if kind.version and not any(name == b"anthropic-version" for name, _ in expected):
        expected.append((b"anthropic-version", b"2023-06-01"))
    expected.append(kind.credential)
    if kind.version:
        expected, lower = _with_betas(expected, kind.betas), _with_betas(lower)
    spelled = {name for name, _ in fields} >= {n for n, _ in sent if n.lower() != b"anthropic-beta"}
    return "" if sorted(expected) == sorted(lower) and spelled else f"other fields than {expected}"


def _with_betas(fields: Fields, extra: tuple[bytes, ...] = ()) -> Fields:
    """Return the fields with all betas as one set: how they are joined is the relay's affair."""
    lines = [value for name, value in fields if name == b"anthropic-beta"]
    betas = {item.strip(b" \t") for line in lines for item in line.split(b",")} | set(extra)
    others = [field for field in fields if field[0] != b"anthropic-beta"]
    joined = b",".join(sorted(betas - {b""}))
    return [*others, (b"anthropic-beta", joined)] if joined else others


def _judge_bodies(plan: Plan, answers: list[Response], upstream: RawUpstream) -> str:
    """See that each answer is the one to its own request: they are numbered."""
    pairs = zip(answers, plan.requests, plan.statuses, strict=False)
    got = [a.body for a, request, status in pairs if status == 0 and request.method != b"HEAD"]
    numbers = [int(body) for body in got]
    return "" if numbers == sorted(set(numbers)) else f"answers out of order: {numbers}"
