"""The LLM proxies between a relay and its API, and one call's dealings with them.

    agent ──token──► relay ──pass──► hop ──pass──► relay ──credential──► API
                      │ leg 0                       │ last leg

The relay calls the first hop, which sends on to the relay's return address; from there the call
goes to the next hop, or to the API, where alone the credential goes in. What comes back from hop k
goes to hop k + 1 and nowhere else. Legs are their call's: they may do no more than it, and end
with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from relay.config import GrantSettings, RelaySettings, Timeouts
from relay.credentials.credential import Credential
from relay.errors import LegRefused, RelayError
from relay.http.grammar import Field
from relay.http.headers import field as header_field
from relay.proxy.hop import Hop, Memory, ReturnsTo
from relay.proxy.passes import new_id
from relay.proxy.routing import Target
from relay.telemetry.call import CallRecord
from relay.telemetry.hops import ChainRecord, HopRecord
from relay.upstream.interface import Patience

if TYPE_CHECKING:
    from relay.proxy.returns import ReturnedLeg
    from relay.proxy.runtime import Route, Runtime

# Headroom asks three times for a retrieval and four for a memory, each tried three times: 24.
LEGS_AT_ONCE: Final = 16
LEGS_IN_ALL: Final = 32
_ANSWERING: Final = frozenset({"messages", "chat_completions", "responses"})
"""Operations of which hops make one of the others: they translate between APIs."""
_HARMLESS: Final = frozenset({"count_tokens", "models"})
_METHODS: Final = {"count_tokens": ("POST",), "models": ("GET", "HEAD")}
"""By which methods those are."""


class Chain:
    """The hops of one relay, in order."""

    def __init__(
        self, relay: RelaySettings, timeouts: Timeouts, memory: Memory, returns_to: ReturnsTo
    ) -> None:
        self.hops: Sequence[Hop] = [
            Hop(relay, each, timeouts, memory, returns_to) for each in relay.hops
        ]
        self.memory = memory

    async def settle(self) -> None:
        """Wait for what the hops are sent; raise CredentialMissing where there is no value."""
        for hop in self.hops:
            await hop.settle()

    @property
    def credentials(self) -> Iterator[Credential]:
        """The sources of all hops."""
        for hop in self.hops:
            yield from hop.credentials

    def close(self) -> None:
        """Close the kept connections; those in use close with their call."""
        for hop in self.hops:
            hop.sender.close()


class HopCall:
    """One call's dealings with one hop: what it is known by there, and what came of it."""

    def __init__(self, call: ChainedCall, index: int) -> None:
        self.call = call
        self.index = index
        self.hop = call.chain.hops[index]
        self.place = self.hop.place
        self.id = new_id()
        self.pass_ = self.hop.pass_for(call.record.client)
        self.patience = Patience()
        self.record = HopRecord(self.hop.settings.name)
        self.leg_record = call.record
        """Of the last leg that was sent to it."""
        self._first_return: CallRecord | None = None
        """Of the first leg of the call's operation that came back from that."""
        self.in_all = 0
        """How many legs came back from it, refused ones not counted."""

    def __repr__(self) -> str:
        return f"<HopCall {self.place}>"

    @property
    def grant(self) -> GrantSettings:
        """In which header its pass stands."""
        return self.call.route.settings.grant

    @property
    def is_known_by_pass(self) -> bool:
        """Whether the pass alone says which call this is."""
        return self.hop.settings.pass_ == "call"

    @property
    def came_back(self) -> bool:
        """Whether a return was accepted."""
        return self.in_all > 0

    @property
    def bytes_passed_on(self) -> int:
        """How much of its answer has been passed on, to the agent or the hop before."""
        return self.leg_record.response_bytes

    def expected_pass(self) -> bytes:
        """Return what the hop must show when it comes back."""
        if self.hop.source is None:
            return self.pass_
        return self.hop.source.value() or b""

    def check(self, target: Target, record: CallRecord) -> None:
        """Raise LegRefused where the call may not ask for what comes back from the hop."""
        if not may_ask(self.call.record.operation, target.operation):
            raise LegRefused
        if not may_use(self.call.record, record):
            raise LegRefused

    def is_first(self, target: Target) -> bool:
        """Whether this is the call itself that comes back, for the first time."""
        is_calls = target.operation == self.call.record.operation
        return is_calls and not self.record.legs[target.operation]

    def begin_attempt(self) -> None:
        """Forget what an earlier leg to it was like."""
        self.record.begin_attempt()
        self._first_return = None

    def admit(self, leg: ReturnedLeg, target: Target, record: CallRecord) -> None:
        """Take a leg that came back from the hop.

        Raises:
            LegRefused: The call may not ask for that, or not for so much.
        """
        self.check(target, record)
        of_call = self.call.record.operation
        if self.patience.beyond >= LEGS_AT_ONCE or self.in_all >= LEGS_IN_ALL:
            raise LegRefused
        self.in_all += 1
        self.record.legs[target.operation] += 1
        self.hop.note_return()
        if target.operation == of_call and self._first_return is None:
            self._first_return = record
            self.record.returned_at = record.started
        self.patience.enter()
        self.call.legs.add(leg)

    def leg_over(self, leg: ReturnedLeg, record: CallRecord) -> None:
        """Let go of a leg that came back from the hop, and is over."""
        self.patience.leave()
        self.call.legs.discard(leg)
        if record is self._first_return:
            self.note_bytes_out()

    def note_bytes_out(self) -> None:
        """Note how much of the request has come back from it."""
        if self._first_return is not None:
            self.record.bytes_out = self._first_return.request_bytes


def may_ask(operation: str, further: str) -> bool:
    """Whether a call of one operation may have a leg of another."""
    if further == operation or further in _HARMLESS:
        return True
    return operation in _ANSWERING and further in _ANSWERING


def may_use(call: CallRecord, leg: CallRecord) -> bool:
    """Whether a leg's method is its call's, or the one that asks for what else it may ask.

    Else a hop could list or delete, by a call that asks a model, what the API has stored.
    """
    if (leg.operation, leg.method) == (call.operation, call.method):
        return True
    if leg.operation in _METHODS:
        return leg.method in _METHODS[leg.operation]
    return leg.method == call.method == "POST"


class ChainedCall:
    """One call on its way through the hops: its legs, and what was found out on them."""

    def __init__(
        self, chain: Chain, route: Route, runtime: Runtime, record: CallRecord, *, probe: bool
    ) -> None:
        self.chain = chain
        self.route = route
        self.runtime = runtime
        self.record = record
        self.probe = probe
        """Whether it ends at the relay itself, in place of the API."""
        self.summary = record.chain = ChainRecord()
        self.finding: RelayError | None = None
        """What failed, by the relay's own finding, beyond the first hop."""
        self.legs: set[ReturnedLeg] = set()
        self.over = False
        """Whether nothing may come back with it any more."""
        self._hop_calls: dict[int, HopCall] = {}

    @property
    def hop_calls(self) -> Sequence[HopCall]:
        """The call's dealings with the hops that it was sent to, in order."""
        return [self._hop_calls[index] for index in sorted(self._hop_calls)]

    @property
    def secrets(self) -> Sequence[bytes]:
        """What hops know it by: they can put that where the API repeats it."""
        return [each for call in self.hop_calls for each in (call.id, call.pass_) if each]

    def begin_at(self, index: int) -> HopCall:
        """Return the call's dealings with a hop that it is sent to, and may come back from."""
        found = self._hop_calls.get(index)
        if found is None:
            found = self._hop_calls[index] = HopCall(self, index)
            self.summary.hops = [each.record for each in self.hop_calls]
        self.chain.memory.passes.expect(found)
        found.begin_attempt()
        return found

    def skip(self, index: int) -> None:
        """Note that a hop is left out.

        It knows no id to come back with, or has another leg of the call: then it may.
        """
        self.begin_at(index).record.outcome = "skipped"

    def found_beyond(self, status: int | None) -> RelayError | None:
        """Return what failed beyond the first hop, where the agent is answered by an error."""
        return None if status is None or status < 400 else self.finding

    def error_fields(self, status: int | None) -> Sequence[Field]:
        """Return what an answer with this status says of what failed beyond the first hop."""
        finding = self.found_beyond(status)
        if finding is None:
            return ()
        named = [(b"x-relay-error", finding.name.encode()), *finding.headers]
        return [
            header_field(name, value)
            for name, value in named
            if name in (b"x-relay-error", b"x-should-retry")
        ]

    def close(self) -> None:
        """End the call: no hop may come back with it, and its legs are cut at once."""
        self.over = True
        for call in self._hop_calls.values():
            self.chain.memory.passes.forget(call)
            call.note_bytes_out()  # legs that are cut may end after the call was observed
        for leg in list(self.legs):
            leg.cut()
