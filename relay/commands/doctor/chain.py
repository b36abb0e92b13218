"""Tests by a probe that calls come back from each hop of a running relay, and stream.

Where they do not, the last hop that the probe reached is at fault: those before it have sent on,
those behind it were not reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from relay.commands.client import NoAnswer
from relay.commands.doctor.findings import Finding, Findings, fail, note, ok, quote, warn
from relay.commands.doctor.hops import CHECK, way_back
from relay.commands.doctor.probe import PROBE_SECONDS, Outcome, Running, probed_path
from relay.config import HopSettings, RelaySettings, Settings
from relay.proxy.hop_words import CAME_NOT_BACK, DEAD_END, GO_ON, WENT_PAST_OR_WANTS_KEY

RELOAD: Final = "reload it: docker compose kill -s HUP relay, or kill -HUP"
_UNREACHED: Final = "the relay that runs cannot reach %s"
_LOG: Final = "look at its log"


async def examine(
    relay: RelaySettings, settings: Settings, running: Running, model: str | None
) -> Findings:
    """Try the chain of a relay, where it has one, through the relay that runs."""
    if not relay.hops:
        return
    path = probed_path(relay)
    if path is None:
        yield note(CHECK, f"{relay.name}: not tried: no path for messages is in its allow")
        return
    try:
        known = await running.hops(relay.name)
        # A running relay without these hops would send the probe to the API, as a paid call.
        if list(known) != [hop.name for hop in relay.hops]:
            text = f"{relay.name}: the relay that runs has other hops"
            yield fail(CHECK, text, f"it runs with another configuration; {RELOAD}")
            return
        outcome = await running.probe(relay, path, model)
    except NoAnswer as error:
        yield _unanswered(relay, settings, error)
        return
    for name, said in known.items():
        if said and name not in (outcome.bypasses or {}):
            yield _bypass(relay, name, said)
    ways = {hop.name: way_back(settings, relay, hop) for hop in relay.hops}
    for finding in judge(relay, outcome, ways):
        yield finding


def _unanswered(relay: RelaySettings, settings: Settings, error: NoAnswer) -> Finding:
    """Return a finding: the probe got no complete answer, and the relay named no hop."""
    names = ", ".join(hop.name for hop in relay.hops)
    fate = "breaks off its answer to a call"
    if error.why == "silent":
        fate = f"does not answer a call within {PROBE_SECONDS:g} s"
    text = f"{relay.name}: {names}: {fate}"
    ways = "; ".join(way_back(settings, relay, hop) for hop in relay.hops)
    return fail(CHECK, text, f"{_LOG}, and have it send on to {ways}")


def _bypass(relay: RelaySettings, name: str, said: str) -> Finding:
    """Return a finding about a hop that sent calls past the relay."""
    problem, _, remedy = said.partition("; ")
    problem = problem.removeprefix(f"hop {name} of relay {relay.name} ")
    return fail(CHECK, f"{relay.name}/{name}: {quote(problem)}", remedy)


def judge(relay: RelaySettings, outcome: Outcome, ways: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for each hop; ``ways`` are the addresses that they are to send on to."""
    states = outcome.states
    if states is None:
        said = f"{outcome.status}{f', {quote(outcome.error)}' if outcome.error else ''}"
        text = f"{relay.name}: the relay that runs refuses to try its hops: {said}"
        remedy = "relay health --ready says what it lacks"
        yield fail(CHECK, text, remedy if outcome.status == 503 else f"{RELOAD}; see its log")
        return
    for index, hop in enumerate(relay.hops):
        beyond = any(each.name in states for each in relay.hops[index + 1 :])
        name = f"{relay.name}/{hop.name}"
        if hop.name not in states:
            yield note(CHECK, f"{name}: not tried: the call did not get there")
        elif states[hop.name] == "skipped":
            text = f"{name}: {_UNREACHED % hop.upstream}; {GO_ON}"
            yield warn(CHECK, text, "start it: calls go through it again then")
        elif beyond or states[hop.name] == "passed":
            yield _came_back(name, hop, outcome)
        else:
            yield _stuck(relay, hop, outcome, ways[hop.name])


def _came_back(name: str, hop: HopSettings, outcome: Outcome) -> Finding:
    if outcome.status != 200:
        return ok(CHECK, f"{name}: calls come back from it")
    streams = None if outcome.streams is None else outcome.streams.get(hop.name)
    if streams is None:
        text = f"{name}: calls come back from it; whether answers stream does not show: what came "
        return warn(CHECK, f"{text}is not what the relay wrote", f"{_LOG}: it changes answers")
    if streams:
        return ok(CHECK, f"{name}: calls come back from it, and answers stream")
    text = f"{name}: calls come back from it, and it HOLDS answers BACK: what it is given it does "
    return fail(
        CHECK, f"{text}not pass on at once", "have it stream: it waits for the whole answer"
    )


def _stuck(relay: RelaySettings, hop: HopSettings, outcome: Outcome, way: str) -> Finding:
    """Return a finding: a call reached the hop and did not come back."""
    name = f"{relay.name}/{hop.name}"
    if said := (outcome.bypasses or {}).get(hop.name):
        return _bypass(relay, hop.name, said)
    state = (outcome.states or {})[hop.name]
    if state == "unreachable":
        text = f"{name}: {_UNREACHED % hop.upstream}"
        return fail(CHECK, text, "start it, or correct its url; the relay's log says why")
    if refused := outcome.refused:
        return _refused(relay, name, refused, way)
    if state == "broken":
        text = f"{name}: breaks off, or gives no valid answer"
        return fail(CHECK, text, f"{_LOG}; correct its url, where that is another service's")
    if outcome.error == "hop_bypass":
        return fail(CHECK, f"{name}: {CAME_NOT_BACK}", WENT_PAST_OR_WANTS_KEY % way)
    return _own_answer(name, outcome.status, way)


def _refused(relay: RelaySettings, name: str, reasons: frozenset[str], way: str) -> Finding:
    """Return a finding: what the hop sent on was refused."""
    text = f"{name}: comes back, and is refused at the return address"
    if "pass" in reasons:
        remedy = f"the relay's log says why; where it does not, have it send on to {way}"
        return fail(CHECK, text, remedy)
    if "path" in reasons:
        remedy = (
            f"it asks for a path that is not in relays.{relay.name}.allow: have it use this API"
        )
        return fail(CHECK, text, remedy)
    if reasons & {"token", "relay"}:
        text = f"{name}: comes back to the address of agents, and is refused there"
    else:
        text += f" ({', '.join(sorted(reasons))})"
    return fail(CHECK, text, f"have it send on to {way}")


def _own_answer(name: str, status: int, way: str) -> Finding:
    text = f"{name}: answers {status} by itself, without coming back"
    if status < 300:
        remedy = f"it is no proxy, or answers from a cache, or is to send on to {way}"
    elif status in (502, 504):
        remedy = DEAD_END % way
    elif status == 429:
        return warn(CHECK, text, "wait, and ask again")
    elif status in (400, 404, 422):
        remedy = f"have it send on to {way}; where it does not know the model, name one by --model"
    else:
        remedy = f"{_LOG}; have it send on to {way}"
    return fail(CHECK, text, remedy)
