"""One LLM proxy at work: where it is, what it is sent, and what is known of its ways.

It never gets a credential: a pass goes in its place, in the same header (``passes``), and what
the hop wants for itself beside it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.config import HopSettings, RelaySettings, Timeouts
from relay.credentials.credential import Credential
from relay.errors import CredentialMissing
from relay.http.grammar import Field
from relay.http.headers import field as header_field
from relay.http.message import RequestHead
from relay.proxy.answer_ids import AnswerIds
from relay.proxy.credential_injection import Injection
from relay.proxy.extra_headers import ExtraHeaders
from relay.proxy.forward import Sender
from relay.proxy.hop_words import (
    CAME_NOT_BACK,
    DEAD_END,
    QUIET_SECONDS,
    RETURN_REFUSED,
    WENT_PAST_OR_WANTS_KEY,
)
from relay.proxy.passes import CALL_ID, HopPlace, Passes, is_strong, new_pass
from relay.upstream.dial import NO_DESCRIPTOR
from relay.upstream.health import TLS_FAILED, UpstreamState

if TYPE_CHECKING:
    from relay.proxy.chain import HopCall

_NO_SILENCE: Final = (TLS_FAILED, NO_DESCRIPTOR)

log = logging.getLogger("relay")


class RefusedReturn(NamedTuple):
    """That a return was refused: when, on ``time.perf_counter``'s clock, and why."""

    at: float
    cause: str


@dataclass(slots=True)
class Memory:
    """What is known of hops and outlives a configuration: see ``passes`` and ``answer_ids``."""

    passes: Passes = field(default_factory=Passes)
    answers: AnswerIds = field(default_factory=AnswerIds)
    bypassing: set[HopPlace] = field(default_factory=set)
    """Hops that went past the relay with a call, and have not come back with one since."""
    astray: dict[HopPlace, str] = field(default_factory=dict)
    """What was wrong with the last call of each that did not come back, until one does."""
    refusals: dict[HopPlace, RefusedReturn] = field(default_factory=dict)
    """The last refusal of a return of each."""


ReturnsTo = Callable[[HopSettings], str]
"""What tells the address that a hop must send on to."""


class Hop:
    """One LLM proxy at work."""

    def __init__(
        self,
        relay: RelaySettings,
        settings: HopSettings,
        timeouts: Timeouts,
        memory: Memory,
        returns_to: ReturnsTo,
    ) -> None:
        self.settings = settings
        self.place = HopPlace(relay.name, settings.name)
        self.state = UpstreamState(settings, timeouts.connect)
        self.sender = Sender(settings, timeouts)
        self.headers = ExtraHeaders(settings.headers)
        self._memory = memory
        self._returns_to = returns_to
        self._quiet_until = -1.0
        self._grant = relay.grant
        kind = settings.pass_
        self.source = None if isinstance(kind, str) else Credential("pass", kind)
        """Of a pass that the hop sends of itself; it gets none from the relay."""
        self._injection = Injection(
            relay.grant,
            anthropic=relay.api == "anthropic",
            extra={*self.headers.names, CALL_ID},
        )

    @property
    def returns_to(self) -> str:
        """The address that it must send on to."""
        return self._returns_to(self.settings)

    @property
    def can_be_skipped(self) -> bool:
        """Whether a call goes on without it where there is no connection to it."""
        return self.settings.if_down == "skip"

    @property
    def is_known_down(self) -> bool:
        """Whether nothing answered there when last tried.

        TLS that fails is no silence, and a relay that cannot try knows nothing.
        """
        return self.state.up is False and not self.state.reason.startswith(_NO_SILENCE)

    @property
    def credentials(self) -> Iterator[Credential]:
        """The sources of what it is sent, and of the pass that it sends."""
        yield from self.headers.credentials
        if self.source is not None:
            yield self.source

    async def settle(self) -> None:
        """Wait for the first readings of all sources; raise CredentialMissing without one."""
        await self.headers.settle()
        if self.source is not None and self.source.value() is None:
            await self.source.settle()
        if not self.pass_is_strong:
            raise CredentialMissing

    @property
    def pass_is_strong(self) -> bool:
        """Whether a pass that the hop sends of itself is there, and can't be guessed."""
        return self.source is None or is_strong(self.source.value() or b"")

    @property
    def ready(self) -> bool:
        """Whether there is everything that it is sent, and sends."""
        return self.pass_is_strong and all(each.ready for each in self.credentials)

    def pass_for(self, client: str) -> bytes:
        """Return what a new call of a client's gets in the credential's place, or nothing."""
        if self.settings.pass_ == "client":
            return self._memory.passes.of_client(client, self.place, self._grant.name)
        return new_pass(self._grant.name) if self.source is None else b""

    def fields(self, head: RequestHead, call: HopCall) -> list[Field]:
        """Return the fields that go to the hop: a pass, never a credential, and the call's id."""
        key = self._grant.header.lower()
        secret = self.headers.value(key) or call.pass_
        extra = [*self.headers.fields(without=key), header_field(CALL_ID, call.id)]
        return self._injection.apply(head, (secret,) if secret else (), extra)

    def own_fields_off(self, head: RequestHead) -> RequestHead:
        """Return a return's head without what the hop is sent for itself."""
        names = self.headers.names
        if not names:
            return head
        return replace(head, fields=tuple(f for f in head.fields if f.key not in names))

    def note_bypass(self) -> None:
        """Note that an answer of the API's came from it by a way that is not the relay's."""
        self._memory.bypassing.add(self.place)

    @property
    def bypassed(self) -> bool:
        """Whether it went past the relay with a call, and has not come back with one since."""
        return self.place in self._memory.bypassing

    def note_return(self) -> None:
        """Note that it came back with a call."""
        self._memory.bypassing.discard(self.place)
        self._memory.astray.pop(self.place, None)

    def explain_astray(self) -> str:
        """Return why calls failed that did not come back from it, and the remedy; or nothing."""
        return self._memory.astray.get(self.place, "")

    def explain_bypass(self) -> str:
        """Return what is wrong where it went past the relay, and the remedy; or nothing."""
        if not self.bypassed:
            return ""
        return (
            "it has a key of its own and went past the relay: such calls are under no limit and "
            f"are not counted; take its key away, and have it send on to {self.returns_to}"
        )

    def note_refusal(self, since: float) -> None:
        """Note why it answered 401 to a call that began then."""
        refusal = self._memory.refusals.get(self.place)
        if refusal is not None and refusal.at >= since:
            line = f"{RETURN_REFUSED}, as said above"
            self._note_astray(f"{RETURN_REFUSED}: {refusal.cause}", line)
            return
        problem = f"{CAME_NOT_BACK}: {WENT_PAST_OR_WANTS_KEY % self.returns_to}"
        self._note_astray(problem, problem)

    def note_dead_end(self, status: int) -> None:
        """Note that it answered so because it reaches nothing."""
        problem = f"answers {status} without coming back: {DEAD_END % self.returns_to}"
        self._note_astray(problem, problem)

    def _note_astray(self, problem: str, line: str) -> None:
        """Keep what is wrong, and log it where that was not said lately."""
        self._memory.astray[self.place] = problem
        if not self._is_quiet():
            log.warning("%s %s", self.place, line)

    def _is_quiet(self) -> bool:
        """Whether the log spoke of its ways lately; else it does now."""
        now = time.monotonic()
        if now < self._quiet_until:
            return True
        self._quiet_until = now + QUIET_SECONDS
        return False
