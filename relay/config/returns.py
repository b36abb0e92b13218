"""Where a hop is to send on to: its return address, and the variables that are set to it.

The one place that knows, for whoever says it: ``relay check``, ``relay init``, ``relay doctor``,
the log and the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from relay.config.addresses import ListenAddress
from relay.config.settings import HopSettings, RelaySettings, Settings
from relay.errors import Api

_LITELLM: Final = "LiteLLM, or as api_base in its model_list"

AddressesOf = Callable[[str], Sequence[str]]
"""What tells the addresses that a network interface has now."""


class ReturnAddress(NamedTuple):
    """Where a hop comes back, and whether that can only be reached from this host."""

    url: str
    loopback: bool


class ReturnVariable(NamedTuple):
    """What an LLM proxy takes its upstream's address by, as its environment has it."""

    proxy: str
    assignment: str


def return_addresses(
    settings: Settings, relay: RelaySettings, hop: HopSettings, addresses_of: AddressesOf
) -> list[ReturnAddress]:
    """Return where a hop can send on to, what it most likely reaches first.

    A hop on loopback is on this host; another one need not be. None is returned only where
    ``returns`` names nothing but interfaces that have no address yet.
    """
    found = [each for address in settings.returns for each in _reached(address, addresses_of)]
    found.sort(key=lambda address: address.is_loopback != hop.upstream.is_loopback)
    return [
        ReturnAddress(f"http://{address}/{relay.name}/{hop.name}", address.is_loopback)
        for address in found
    ]


def _reached(address: ListenAddress, addresses_of: AddressesOf) -> Iterator[ListenAddress]:
    """Yield where a listening address is called: who listens everywhere, on loopback for one."""
    if address.ip is None:
        yield from (ListenAddress(host, address.port) for host in addresses_of(address.host))
    elif address.ip.is_unspecified:
        yield ListenAddress("127.0.0.1" if address.ip.version == 4 else "::1", address.port)
        yield ListenAddress("<this host>", address.port)
    else:
        yield address


def return_variables(api: Api, url: str) -> tuple[ReturnVariable, ...]:
    """Return what the known LLM proxies are to have in their environment.

    Source: headroom-ai 0.42 ``providers/registry.py``, litellm 1.108 ``main.py``. Both append
    ``/v1/messages`` to Anthropic's address. Of OpenAI's, LiteLLM's ends with ``/v1``; Headroom
    takes a ``/v1`` off and appends it itself. No list of Headroom's must name the address:
    ``HEADROOM_ALLOWED_BASE_URLS`` is for what callers ask for by a header.
    """
    if api == "openai":
        return (
            ReturnVariable("Headroom", f"OPENAI_TARGET_API_URL={url}"),
            ReturnVariable(_LITELLM, f"OPENAI_BASE_URL={url}/v1"),
        )
    return (
        ReturnVariable("Headroom", f"ANTHROPIC_TARGET_API_URL={url}"),
        ReturnVariable(_LITELLM, f"ANTHROPIC_API_BASE={url}"),
    )
