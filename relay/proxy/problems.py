"""What is not well with a configuration in force, and its remedy, in words.

One list for whoever asks: the log says what is new in it, ``/readyz`` shows it. Of secrets it
says only where they should be.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from relay.credentials.credential import Credential
from relay.proxy.runtime import Runtime

log = logging.getLogger("relay")


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that can be missing or down."""

    name: str
    problem: str
    """What is wrong with it, what follows, and the remedy; empty while it is well."""
    recovery: str
    """What to say once it is well again."""


def subjects_of(runtime: Runtime) -> Iterator[Subject]:
    """Yield everything that calls depend on, well or not."""
    for grant in runtime.grants.values():
        problem = _missing(grant, "calls get 503 until it is there")
        yield Subject(f"credential {grant.name}", problem, f"there now, from {grant.origin()}")
    for client in runtime.clients:
        problem = _missing(client, "its calls get 401 until it is there")
        yield Subject(
            f"token of client {client.name}", problem, f"there now, from {client.origin()}"
        )
    for name, route in runtime.routes.items():
        recovery = f"{route.settings.upstream} answers now"
        yield Subject(f"upstream of relay {name}", route.upstream.problem, recovery)


def _missing(credential: Credential, consequence: str) -> str:
    if credential.ready:
        return ""
    return f"no value yet: {credential.explain()}; {consequence}. To give it, {credential.remedy()}"


class ProblemLog:
    """Logs what has gone wrong, and what has come right, since it was last asked to."""

    def __init__(self) -> None:
        self._reported: dict[str, str] = {}

    def report(self, subjects: Iterable[Subject]) -> None:
        """Log the news among these."""
        for subject in subjects:
            before = self._reported.get(subject.name, "")
            self._reported[subject.name] = subject.problem
            if subject.problem and subject.problem != before:
                log.warning("%s: %s", subject.name, subject.problem)
            elif before and not subject.problem:
                log.info("%s: %s", subject.name, subject.recovery)


def readiness(runtime: Runtime) -> dict[str, object]:
    """Return each relay and client with its credential's state, as ``/readyz`` shows it."""
    return {
        "relays": {
            state.relay: {
                "credential": {"grant": state.grant, **_state(runtime.grants[state.grant])},
                "upstream": {"url": state.upstream, "state": state.upstream_state},
            }
            for state in runtime.states()
        },
        "clients": {client.name: {"token": _state(client)} for client in runtime.clients},
    }


def _state(credential: Credential) -> dict[str, object]:
    if credential.ready:
        return {"ready": True}
    return {"ready": False, "problem": credential.explain()}
