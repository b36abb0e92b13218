"""What a relay's parts come to together: where its credential, and its calls, would go astray.

Each way from the relay through its hops to the API is looked at once it is settled, and then
all of them beside one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from relay.config.addresses import ListenAddress
from relay.config.built_in_grants import GRANT_API
from relay.config.problems import Path as FieldPath
from relay.config.settings import DEFAULT_END, HopSettings, RelaySettings
from relay.config.validation import Checker

_API_HOSTS: Final = frozenset(urlsplit(url).hostname for url in DEFAULT_END.values())


@dataclass(frozen=True, slots=True)
class PlacedRelay:
    """A relay with the places of its parts in agent.yaml."""

    relay: RelaySettings
    path: FieldPath
    url_path: FieldPath | None
    """Where the end is named; None where it is the default."""
    hop_paths: tuple[FieldPath, ...]

    @property
    def end_path(self) -> FieldPath:
        """The place that the end is from."""
        return self.url_path or self.path

    @property
    def hops(self) -> list[tuple[FieldPath, HopSettings]]:
        """The hops, each with its place."""
        return list(zip(self.hop_paths, self.relay.hops, strict=True))


def check_chains(
    checker: Checker, chains: Sequence[PlacedRelay], own: Sequence[ListenAddress]
) -> None:
    """Complain of what cannot be right; ``own`` is where the relay itself listens."""
    for chain in chains:
        _check_end(checker, chain, own)
        _check_headers(checker, chain)
        for index, (path, hop) in enumerate(chain.hops):
            _check_hop_url(checker, (*path, "url"), hop, chain.relay, chain.relay.hops[:index], own)
            _check_pass(checker, (*path, "headers"), hop, chain.relay)
    _remark_on_sharing(checker, chains)
    _remark_on_ends(checker, chains)


def _check_end(checker: Checker, chain: PlacedRelay, own: Sequence[ListenAddress]) -> None:
    relay = chain.relay
    if any(address.is_reached_at(relay.upstream) for address in own):
        message = "is the relay's own address; name what it should forward to"
        checker.complain(chain.end_path, message)
    if not relay.upstream.tls and relay.upstream.host in _API_HOSTS:
        checker.remark(
            chain.end_path,
            "is plain http, which shows the credential to whoever is on the way; write https://",
        )
    _remark_on_prefix(checker, chain.end_path, relay.upstream.prefix, relay)
    for path, hop in chain.hops:
        if relay.upstream.overlaps(hop.upstream):
            _complain_of_end(checker, chain, path, hop)


def _complain_of_end(
    checker: Checker, chain: PlacedRelay, path: FieldPath, hop: HopSettings
) -> None:
    if chain.url_path is None:
        message = "is the API that the chain ends at by itself; leave this hop out"
        checker.complain((*path, "url"), message)
        return
    checker.complain(
        chain.url_path,
        f'is the address of hop "{hop.name}", which would get the credential; '
        + _what_ends_it(chain.relay),
    )


def _what_ends_it(relay: RelaySettings) -> str:
    if relay.grant.name in GRANT_API:
        return f"leave it out: the chain ends at {DEFAULT_END[relay.api]} then"
    return "name the API behind the hops"


def _check_headers(checker: Checker, chain: PlacedRelay) -> None:
    for header in chain.relay.headers:
        if header.name.lower() in chain.relay.grant.header_names:
            place = (*chain.path, "headers", header.name.decode())
            checker.complain(place, "is where the credential goes; leave it out")


def _check_hop_url(
    checker: Checker,
    path: FieldPath,
    hop: HopSettings,
    relay: RelaySettings,
    before: Sequence[HopSettings],
    own: Sequence[ListenAddress],
) -> None:
    if any(address.is_reached_at(hop.upstream) for address in own):
        checker.complain(
            path,
            "is the relay's own address; name where the LLM proxy listens: where it sends on "
            "to is a setting of its own",
        )
    _remark_on_prefix(checker, path, hop.upstream.prefix, relay)
    for other in before:
        same_path = hop.upstream.prefix == other.upstream.prefix
        if same_path and hop.upstream.is_server_of(other.upstream):
            checker.complain(
                path,
                f'is the address of hop "{other.name}" too, and an LLM proxy sends on to '
                "one place alone; keep one of them",
            )


def _check_pass(checker: Checker, path: FieldPath, hop: HopSettings, relay: RelaySettings) -> None:
    for header in hop.headers:
        if header.name.lower() == relay.grant.header.lower() and isinstance(hop.pass_, str):
            checker.complain(
                (*path, header.name.decode()),
                "takes the place of this hop's pass; say what it sends on instead, "
                "for example pass: {env: NAME}",
            )


def _remark_on_prefix(
    checker: Checker, path: FieldPath, prefix: bytes, relay: RelaySettings
) -> None:
    doubled = next((each for each in relay.allow if _ends_with_a_part(prefix, each)), None)
    if doubled is not None:
        called = (prefix + doubled).decode()
        checker.remark(
            path, f"ends with what agents send too: calls would go to {called}; leave it out"
        )


def _ends_with_a_part(prefix: bytes, allowed: bytes) -> bool:
    """Whether a URL's path ends with an allowed path, or with the first segment of one."""
    first = b"/" + allowed.split(b"/")[1]
    return prefix.endswith((first, allowed.rstrip(b"/") or first))


def _remark_on_sharing(checker: Checker, chains: Sequence[PlacedRelay]) -> None:
    """Remark on a hop of two relays, which tells them apart by their APIs alone."""
    hops = [(chain.relay, *each) for chain in chains for each in chain.hops]
    for index, (relay, path, hop) in enumerate(hops):
        for other, _, others_hop in hops[:index]:
            alike = other is not relay and other.api == relay.api
            if alike and hop.upstream.overlaps(others_hop.upstream):
                checker.remark(
                    (*path, "url"),
                    f"is a hop of relays.{other.name} too, with the same API: where it sends on "
                    "to one address, calls of one of the two do not come back",
                )


def _remark_on_ends(checker: Checker, chains: Sequence[PlacedRelay]) -> None:
    """Remark on an end that is another relay's hop, which is one so that it gets no credential."""
    hops = [(chain.relay, hop) for chain in chains for hop in chain.relay.hops]
    for chain in chains:
        for relay, hop in hops:
            if chain.relay.upstream.overlaps(hop.upstream):
                checker.remark(
                    chain.end_path,
                    f'is hop "{hop.name}" of relays.{relay.name}, and gets the credential here; '
                    "declare it in this relay's hops",
                )
