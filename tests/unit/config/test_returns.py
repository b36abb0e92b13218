"""Where a hop is to send on to, by what ``returns`` names and where the hop is."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from relay.config import Settings, load, return_addresses, return_variables
from relay.errors import Api

INTERFACES = {"docker0": ["172.17.0.1", "fd00::1"], "lo": ["127.0.0.1"]}


def addresses_of(name: str) -> Sequence[str]:
    """Return the addresses of an interface of a host that is made up."""
    return INTERFACES.get(name, [])


def settings_of(folder: Path, hop: str, returns: Sequence[str]) -> Settings:
    """Return the settings of a relay ``anthropic`` with a hop ``headroom``."""
    file = folder / "agent.yaml"
    file.write_text(
        f"grants: [anthropic]\nclaude: {{hops: [{{name: headroom, url: '{hop}'}}]}}\n"
        f"returns: {list(returns)}\n"
    )
    return load(file, {})


GATEWAY = "10.84.86.1:8485"


@pytest.mark.parametrize(
    ("hop", "returns", "expected"),
    [
        ("http://localhost:8787", ["127.0.0.1:8485"], ["127.0.0.1:8485"]),
        ("http://localhost:8787", [GATEWAY, "127.0.0.1:8485"], ["127.0.0.1:8485", GATEWAY]),
        ("http://127.0.0.2:8787", [GATEWAY, "[::1]:1"], ["[::1]:1", GATEWAY]),
        ("http://[::1]:8787", [GATEWAY, "lo:2"], ["127.0.0.1:2", GATEWAY]),
        ("http://localhost:8787", [GATEWAY], [GATEWAY]),
        ("http://10.84.86.2:8787", ["127.0.0.1:8485", GATEWAY], [GATEWAY, "127.0.0.1:8485"]),
        ("http://headroom:8787", ["127.0.0.1:8485", GATEWAY], [GATEWAY, "127.0.0.1:8485"]),
        ("http://headroom:8787", ["127.0.0.1:8485"], ["127.0.0.1:8485"]),
        ("http://headroom:8787", ["docker0:3"], ["172.17.0.1:3", "[fd00::1]:3"]),
        ("http://headroom:8787", ["later0:3", GATEWAY], [GATEWAY]),
        ("http://headroom:8787", ["later0:3"], []),
        ("http://localhost:8787", ["0.0.0.0:4"], ["127.0.0.1:4", "<this host>:4"]),
        ("http://headroom:8787", ["[::]:4"], ["<this host>:4", "[::1]:4"]),
    ],
)
def test_first_is_what_the_hop_most_likely_reaches(
    tmp_path: Path, hop: str, returns: list[str], expected: list[str]
) -> None:
    """Loopback for a hop on it, an address of the network for all others."""
    settings = settings_of(tmp_path, hop, returns)
    (relay,) = settings.relays
    found = return_addresses(settings, relay, relay.hops[0], addresses_of)
    assert [each.url for each in found] == [
        f"http://{address}/anthropic/headroom" for address in expected
    ]
    local = ("127.", "[::1]")
    assert [each.loopback for each in found] == [each.startswith(local) for each in expected]


@pytest.mark.parametrize(
    ("api", "expected"),
    [
        ("anthropic", ["ANTHROPIC_TARGET_API_URL=http://a/b/c", "ANTHROPIC_API_BASE=http://a/b/c"]),
        ("openai", ["OPENAI_TARGET_API_URL=http://a/b/c", "OPENAI_BASE_URL=http://a/b/c/v1"]),
    ],
)
def test_variables_are_those_of_the_api(api: Api, expected: list[str]) -> None:
    """With ``/v1`` where the LLM proxy does not add it."""
    assert [each.assignment for each in return_variables(api, "http://a/b/c")] == expected
