"""What is not well with a configuration in force, and its remedy, in words.

One list for whoever asks: the log says what is new in it, ``/readyz`` and the page show it. Of
secrets it says only where they should be.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from relay.credentials.credential import Credential
from relay.credentials.ends import said
from relay.credentials.reading import lasting
from relay.credentials.shape import Remark, how_to_renew, remarks
from relay.proxy.hop import Hop
from relay.proxy.hop_words import GO_ON, STRONGER, WEAK_PASS
from relay.proxy.runtime import Runtime
from relay.telemetry.ledger import Ledger
from relay.upstream.egress import Egress

_ASTRAY: Final = "a-hop-does-not-come-back"

_ENDING: Final = "a-credential-that-ends"

log = logging.getLogger("relay")


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that can be missing or down."""

    name: str
    problem: str
    """What is wrong with it, what follows, and the remedy; empty while it is well."""
    recovery: str
    """What to say once it is well again."""
    entry: str = "lines-of-the-log"
    """The heading in ``docs/troubleshooting.md`` that says more."""
    is_told: bool = False
    """Whether whoever found it has put it into the log."""


def subjects_of(runtime: Runtime) -> Iterator[Subject]:
    """Yield everything that calls depend on, well or not."""
    for grant in runtime.grants.values():
        problem = _missing(grant, "calls get 503 until it is there")
        recovery = f"there now, from {grant.origin()}"
        yield Subject(f"credential {grant.name}", problem, recovery, _entry(grant))
        yield value_of_grant(grant)
        yield _renewal_of_grant(grant)
    for client in runtime.clients:
        problem = _missing(client, "its calls get 401 until it is there")
        recovery = f"there now, from {client.origin()}"
        yield Subject(f"token of client {client.name}", problem, recovery, "no-credential-yet")
        yield value_of_token(client)
    for folder in runtime.folders:
        yield Subject(f"clients of folder {folder.name}", folder.problem, "all is well with it now")
    for egress in runtime.egresses.values():
        yield from _subjects_of_egress(egress)
    for name, route in runtime.routes.items():
        recovery = f"{route.settings.upstream} answers now"
        down = route.upstream.problem
        yield Subject(f"upstream of relay {name}", down, recovery, "upstream-not-reached")
        refused, recovery = route.standing.explain(), route.standing.recovery
        yield Subject(f"relay {name}", refused, recovery, "the-credential-is-refused")
        words, entry = route.words.problem, "headroom-cannot-reach-the-api"
        yield Subject(f"way of relay {name}", words, "", entry, is_told=True)
        for header in route.forwarder.headers.credentials:
            yield _value_of_header(f"header {header.name} of relay {name}", header)
        for hop in route.hops:
            yield from _subjects_of_hop(hop)


def _renewal_of_grant(grant: Credential) -> Subject:
    end = grant.reading.expires_at
    until = "on" if end is None else f"until {said(end)}"
    problem = f"{grant.renewal}; its last value serves {until}" if grant.renewal else ""
    recovery = f"it is renewed{lasting(grant.reading)}"
    return Subject(f"renewal of credential {grant.name}", problem, recovery, _ENDING)


def _entry(credential: Credential) -> str:
    return _ENDING if credential.reading.has_ended else "no-credential-yet"


def _value_of_header(name: str, header: Credential) -> Subject:
    problem = _missing(header, "calls get 503 until it is there")
    return Subject(name, problem, f"there now, from {header.origin()}", "no-credential-yet")


def _subjects_of_egress(egress: Egress) -> Iterator[Subject]:
    credential = egress.credential
    if credential is not None:
        problem = _missing(credential, "calls through it get 503 until it is there")
        recovery = f"there now, from {credential.origin()}"
        name = f"credential for the proxy {egress.address}"
        yield Subject(name, problem, recovery, "no-credential-yet")
        yield _value(f"value of {name}", egress.remarks)


def _subjects_of_hop(hop: Hop) -> Iterator[Subject]:
    for header in hop.headers.credentials:
        yield _value_of_header(f"header {header.name} of {hop.place}", header)
    if hop.source is not None:
        name = f"pass of {hop.place}"
        problem = _missing(hop.source, "calls get 503 until it is there")
        if not problem and not hop.pass_is_strong:
            problem = f"{WEAK_PASS}; {STRONGER}"
        recovery = f"there now, from {hop.source.origin()}"
        yield Subject(name, problem, recovery, "no-credential-yet")
    recovery = f"{hop.settings.upstream} answers now"
    yield Subject(str(hop.place), _down(hop), recovery, "upstream-not-reached")
    bypass, recovery = hop.explain_bypass(), "it comes back to the relay now"
    yield Subject(f"way of {hop.place}", bypass, recovery, _ASTRAY)
    yield Subject(f"calls by way of {hop.place}", hop.explain_astray(), "", _ASTRAY, is_told=True)


def _down(hop: Hop) -> str:
    """Return what is wrong while a hop is down, and what that does to calls."""
    problem = hop.state.problem
    if problem and hop.can_be_skipped:
        return f"{hop.state.fault}; {GO_ON}"
    return problem


def problems_of(runtime: Runtime, ledger: Ledger) -> list[Subject]:
    """Return what is not well; the ledger logs its own."""
    found = [subject for subject in subjects_of(runtime) if subject.problem]
    if ledger.problem:
        found.append(Subject(f"ledger {ledger.path}", f"it {ledger.problem}", ""))
    return found


def value_of_grant(credential: Credential) -> Subject:
    """Return what is wrong with the looks of a credential's value."""
    name = f"value of credential {credential.name}"
    return _value(name, remarks(credential.reading, credential.name) if credential.ready else ())


def value_of_token(client: Credential) -> Subject:
    """Return what is wrong with the looks of a token's value."""
    found = remarks(client.reading, None) if client.ready else ()
    return _value(f"value of client {client.name}'s token", found)


def _value(name: str, found: Iterable[Remark]) -> Subject:
    recovery = "nothing is wrong with it any more"
    return Subject(name, "; ".join(map(str, found)), recovery, "a-value-that-cannot-be-right")


def _missing(credential: Credential, consequence: str) -> str:
    if credential.ready:
        return ""
    if credential.reading.has_ended:
        until = consequence.replace("until it is there", "until it is renewed")
        return f"{credential.explain()}; {until}: {how_to_renew(credential.name)}"
    return f"no value yet: {credential.explain()}; {consequence}. To give it, {credential.remedy()}"


class ProblemLog:
    """Logs what has gone wrong, and what has come right, since it was last asked to."""

    def __init__(self) -> None:
        self._reported: dict[str, str] = {}

    def report(self, subjects: Iterable[Subject]) -> None:
        """Log the news among these."""
        for subject in subjects:
            if subject.is_told:
                continue
            before = self._reported.get(subject.name, "")
            self._reported[subject.name] = subject.problem
            if subject.problem and subject.problem != before:
                log.warning("%s: %s", subject.name, subject.problem)
            elif before and not subject.problem:
                log.info("%s: %s", subject.name, subject.recovery)
