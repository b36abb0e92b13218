"""The relay's answer to a challenge, by which a client knows it from other programs."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest

from tests.harness.configuration import configuration
from tests.harness.messages import request
from tests.harness.peer import Answer
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import OTHER_TOKEN, TOKEN

NONCE = "Aa0_-" * 5
CLIENTS = [
    {"name": "agent", "token": {"file": "token"}},
    {"name": "other", "token": {"file": "other_token"}},
    {"name": "late", "token": {"file": "nothing"}},
]


async def challenge(relay: LocalRelay, *texts: str, path: str = "/relay/anthropic") -> Answer:
    """Return what is answered to a challenge by someone without a token."""
    lines = [f"x-relay-challenge: {text}" for text in texts]
    return await relay.ask(request(path, *lines, method="HEAD", body=None, token=None))


def proof(token: str, port: int) -> list[bytes]:
    """Return the header's only right value."""
    text = f"{NONCE} {port}".encode()
    return [hmac.new(token.encode(), text, hashlib.sha256).hexdigest().encode()]


@pytest.mark.parametrize(("name", "token"), [("agent", TOKEN), ("other", OTHER_TOKEN)])
async def test_a_challenge_is_answered_under_the_clients_token(
    tmp_path: Path, name: str, token: str
) -> None:
    """With the port that was called; the token itself is in neither."""
    async with running_relay(tmp_path, configuration(1, clients=CLIENTS)) as relay:
        answer = await challenge(relay, f"{name} {NONCE}")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.values("x-relay-proof") == proof(token, relay.port)


async def test_an_unknown_client_is_answered_as_well(tmp_path: Path) -> None:
    """Each differently, and always the same: nobody learns which names there are."""
    async with running_relay(tmp_path, configuration(1, clients=CLIENTS)) as relay:
        names = ("nobody", "late", "none")
        first = [
            (await challenge(relay, f"{name} {NONCE}")).values("x-relay-proof") for name in names
        ]
        assert len({values[0] for values in first}) == len(names)
        assert all(len(values[0]) == 64 for values in first)
        relay.app.reload()
        again = (await challenge(relay, f"nobody {NONCE}")).values("x-relay-proof")
        assert again == first[0]


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [NONCE],
        [f"agent {NONCE[:21]}"],
        [f"agent {'a' * 65}"],
        [f"agent {NONCE}="],
        [f"agent {NONCE} 1"],
        [f"agent {NONCE}", f"agent {NONCE}"],
    ],
)
async def test_what_is_no_challenge_has_no_proof(tmp_path: Path, texts: list[str]) -> None:
    """It is a question whether somebody is there, as ever."""
    async with running_relay(tmp_path, configuration(1, clients=CLIENTS)) as relay:
        answer = await challenge(relay, *texts)
        assert (answer.status, answer.values("x-relay-proof")) == (200, [])
