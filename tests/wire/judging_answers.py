"""Whether answers came out of the relay as they went in, became a 502, or visibly broke off."""

from __future__ import annotations

from typing import Final

from tests.wire.agent import RawAgent
from tests.wire.judging import Outcome
from tests.wire.reference import crossing_back
from tests.wire.strict import Partial, Response, Wrong, read_response
from tests.wire.upstream import RawUpstream, Script, Then

_OWN_TO_AGENT: Final = (b"content-length", b"transfer-encoding", b"connection")


def plan_answer(pieces: tuple[bytes, ...], then: Then, sent: bytes) -> Script:
    """Return a script that leaves the relay no reason to wait: what is not whole ends."""
    try:
        answer = read_response(b"".join(pieces), method=_method(sent))
        waits = not answer.complete and not answer.broken
    except Partial:
        waits = True
    except Wrong:
        waits = False
    return Script(pieces, "end" if waits and then == "keep" else then)


def leaves_surplus(script: Script, sent: bytes) -> bool:
    """Whether there is more in the answer than itself: its connection must not be kept."""
    meant = _meant(script, sent)
    size = sum(map(len, script.pieces))
    return meant is not None and meant.complete and not meant.broken and meant.end < size


def _method(sent: bytes) -> bytes:
    return sent.split(b" ")[0]


def judge_answer(script: Script, sent: bytes, agent: RawAgent, upstream: RawUpstream) -> Outcome:
    """Compare what the agent got with what the upstream answered."""
    answers = agent.answers([_method(sent)])
    if len(answers) != 1 or answers[0].end != len(agent.received):
        return Outcome("answer", f"not one answer: {bytes(agent.received)!r}")
    if len(upstream.requests) != 1:
        return Outcome("answer", f"{len(upstream.requests)} requests upstream")
    answer = answers[0]
    meant = _meant(script, sent)
    if meant is None:
        good = answer.status == 502 and answer.outcome == "upstream_error" and answer.complete
        return Outcome("answer 502", "" if good else f"passed on: {bytes(agent.received)!r}")
    if wrong := _compare_answers(meant, answer, agent, script):
        return Outcome("answer", f"{wrong}: {bytes(agent.received)!r}")
    return Outcome("answer whole" if meant.complete else "answer torso")


def _meant(script: Script, sent: bytes) -> Response | None:
    """Return the answer as a strict client reads it, or None where it must not be passed on."""
    data = b"".join(script.pieces)
    try:
        answer = read_response(data, method=_method(sent), closed=script.then == "end")
    except (Partial, Wrong):
        return None
    redirected = 300 <= answer.status < 400 and answer.status != 304
    return None if redirected or answer.status == 101 else answer


def _compare_answers(meant: Response, got: Response, agent: RawAgent, script: Script) -> str:
    if got.outcome or (got.status, got.reason) != (meant.status, meant.reason):
        return "another status"
    fields = [(n, v) for n, v in got.fields if n.lower() not in _OWN_TO_AGENT]
    if fields != crossing_back(meant.fields, meant.items(b"connection")):
        return "other fields"
    if got.broken or got.interim:
        return "not well-formed"
    if not meant.body.startswith(got.body):
        return "another body"
    clean = got.complete and agent.ending != "reset"
    if meant.complete:
        return "" if clean and got.body == meant.body else "a whole answer broke off"
    return "a torso ended cleanly" if clean else ""
