"""examples/chain: Claude Code by way of Headroom and LiteLLM, all three as they come."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Final

import pytest

from tests.acceptance.api import Api, says
from tests.acceptance.claude import Claude
from tests.acceptance.sessions import LINES, worked
from tests.e2e.memory import in_memory
from tests.e2e.stack import PROJECT, Stack, eventually, resting_stack
from tests.harness.secrets import KEY, TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")

FILES: Final = ["compose.yaml", "examples/chain/compose.yaml"]
AGENT_YAML: Final = (PROJECT / "examples/chain/agent.yaml").read_text()
HOPS: Final = ("headroom", "litellm")


@pytest.fixture(scope="module")
def stack(shared_api: Api) -> Iterator[Stack]:
    """The example's stack, with the imitation of the API at its end."""
    config = AGENT_YAML.replace("claude:\n", f"claude:\n  base_url: {shared_api.url}\n")
    with resting_stack("relay-two-hops", config=config, profiles=("headroom",)) as stack:
        stack.variables["LITELLM_ADDRESS"] = stack.hop_address.removesuffix(".2") + ".3"
        stack._env_file()
        stack.write_secret("anthropic_api_key", KEY)
        stack.write_secret("relay_token", TOKEN)
        stack.compose.compose_file_name = FILES
        stack.compose.services = ["relay", *HOPS]
        stack.compose.start()
        stack.wait_for_line("relay", f"relays on {stack.gateway}")
        for hop in HOPS:
            eventually(lambda: "(healthy)" in stack.docker("ps", hop) or None, hop)  # noqa: B023  # called here
        yield stack


async def test_a_session_with_tools_goes_by_way_of_both(
    stack: Stack, api: Api, claude: Claude
) -> None:
    """In order, each as the configuration says; what Headroom saves is saved at the end too."""
    url = f"http://127.0.0.1:{stack.relay_port}/relay/anthropic"
    session = await worked(claude, api, url)
    assert session.retries == []
    assert LINES[7] not in api.messages[-1].prompt
    assert {"litellm/1.108.0"} == {each for call in api.calls for each in call.values("user-agent")}
    for hop in HOPS:
        assert stack.metric("relay_hop_calls_total", hop=hop, outcome="passed") == 4
    assert stack.metric("relay_hop_calls_total") == 8
    assert stack.metric("relay_tokens_total") == 536


async def test_neither_key_nor_token_is_in_their_memory(stack: Stack, api: Api) -> None:
    """LiteLLM's own key and its pass are, and in nobody else's."""
    api.plan(says("Hello."))
    assert await asyncio.to_thread(ask, stack, "/v1/messages") == 200
    paths = ("/run/litellm/key", "/run/litellm/pass")
    own = [stack.docker("exec", "-T", "litellm", "cat", path).strip() for path in paths]
    for hop, expected in (("headroom", set()), ("litellm", set(own))):
        assert in_memory(stack.container_id(hop), KEY, TOKEN, *own) == expected
        shown = stack.docker("logs", hop) + stack.docker("config", hop)
        assert not any(secret in shown for secret in (KEY, TOKEN, *own))


async def test_what_litellm_asks_without_the_calls_id_is_refused(stack: Stack, api: Api) -> None:
    """Its count of tokens carries no header on: the log says what is missing."""
    before = stack.metric("relay_hop_calls_total", hop="litellm", outcome="refused")
    assert await asyncio.to_thread(ask, stack, "/v1/messages/count_tokens") >= 400
    assert api.calls == []
    assert stack.metric("relay_hop_calls_total", hop="litellm", outcome="refused") == before + 1
    stack.wait_for_line("relay", "hop litellm of relay anthropic came back and got 401")


def ask(stack: Stack, path: str) -> int:
    """Return the status of a call's answer."""
    call = urllib.request.Request(
        f"http://127.0.0.1:{stack.relay_port}/relay/anthropic{path}",
        data=json.dumps(
            {
                "model": "claude-sonnet-4-5",
                "max_tokens": 9,
                "messages": [{"role": "user", "content": "Hello?"}],
            }
        ).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(call, timeout=60) as answer:  # noqa: S310  # as above
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
