"""Headroom itself between the relay and the API: what an agent gets of it, and what it does not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.acceptance.api import Api, says
from tests.acceptance.claude import MODEL, Claude
from tests.acceptance.container import ContainedRelay
from tests.acceptance.headroom.service import Headroom
from tests.acceptance.sessions import LINES, WORKED, worked
from tests.harness.messages import request
from tests.harness.secrets import KEY, TOKEN
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

VERSION = "anthropic-version: 2023-06-01"
GOOGLE_KEY = "x-goog-api-key: AIzaSyD4mVw8Qk2Lx7Rt5Yc1Zp9Hs3Nf6Bj0GgE"
GATEWAY_KEY = "authorization: Bearer gw_live_9fK2mV7xQ4tB8nR1cZ6yH3wL5dJ0pS"
HELLO = json.dumps(
    {"max_tokens": 64, "model": MODEL, "messages": [{"role": "user", "content": "Hello?"}]}
)


async def test_a_session_of_several_turns_with_tools(
    relay: ContainedRelay, api: Api, claude: Claude
) -> None:
    """Claude Code does its work, every token is counted once, and Headroom had its hand in it."""
    session = await worked(claude, api, relay.url())
    assert await relay.outcomes(4) == {("ok", "200"): 4}
    assert await relay.samples("relay_tokens_total", "model", "type") == WORKED
    assert LINES[7] in str(session.of("UserMessage")), "the agent has it whole"
    assert LINES[7] not in api.messages[-1].prompt
    assert re.search(r"lines compressed .* hash=[0-9a-f]+", api.messages[-1].prompt)


async def test_none_of_its_own_pages_is_the_agents(
    relay: ContainedRelay, api: Api, headroom: Headroom
) -> None:
    """Each that it lists itself, in every spelling: the relay answers, Headroom is not asked."""
    assert (await headroom.ask("/stats")).status == 200, "they are there for who is on its host"
    served = await headroom.routes()
    assert len(served) > 100
    pages = [page for page in served if not is_the_apis(page)]
    assert {"/stats", "/settings", "/debug/memory", "/v1/retrieve", "/cache/clear"} <= set(pages)
    before = await headroom.paths_asked()
    agent = await relay.agent()
    for page in pages:
        filled = re.sub(r"\{.*?\}", "x", page)
        for path in spellings(filled):
            for method in ("GET", "POST"):
                answer = await agent.ask(request(f"/relay/anthropic{path}", method=method))
                assert answer.status in (400, 403, 404), (method, path)
                assert answer.outcome == "rejected", (method, path)
                if answer.status == 400:
                    agent = await relay.agent()
    assert await headroom.paths_asked() == before
    assert api.calls == []


def is_the_apis(page: str) -> bool:
    """Tell whether a path is one of those of the API that the relay forwards, or is its own."""
    prefixes = ("/v1/messages", "/v1/models", "/v1/files", "/v1/complete", "/api/hello")
    return any(f"{page}/".startswith(f"{prefix}/") for prefix in prefixes)


def spellings(page: str) -> Iterator[str]:
    """Yield ways to write a path that one server might read as another one."""
    yield page
    yield f"/{page}"
    for up in ("../..", "%2e%2e/%2e%2e", "..%2f..", "..%5c..", "..;/.."):
        yield f"/v1/messages/{up}{page}"


async def test_its_callers_cannot_send_it_elsewhere(
    relay: ContainedRelay, api: Api, headroom: Headroom, caught: Upstream
) -> None:
    """The header that names another place: dropped by the relay, refused for all others."""
    lines = (f"x-headroom-base-url: http://127.0.0.1:{caught.port}", VERSION)
    for where in (f"127.0.0.1:{caught.port}", "192.88.99.1"):
        elsewhere = (f"x-headroom-base-url: http://{where}", VERSION)
        direct = await headroom.ask("/v1/messages", *elsewhere, method="POST", body=HELLO)
        assert direct.status == 400, direct.body
        assert b"base url" in direct.body.lower()

    api.plan(says("Here."))
    answer = await relay.ask(request("/relay/anthropic/v1/messages", *lines, body=HELLO.encode()))
    assert answer.status == 200
    assert len(api.messages) == 1
    assert caught.requests == []


async def test_a_key_of_googles_does_not_send_the_credential_there(
    relay: ContainedRelay, api: Api, headroom: Headroom, caught: Upstream
) -> None:
    """Headroom takes the call for Google's; behind the relay it never sees that key."""
    assert (await headroom.ask("/v1/files", GOOGLE_KEY, VERSION)).status == 418
    assert caught.requests[0].values("x-api-key") == [KEY.encode()], "this is how it is led"

    lines = (GOOGLE_KEY, VERSION)
    answer = await relay.ask(request("/relay/anthropic/v1/files", *lines, method="GET", body=None))
    assert answer.status == 404, "the imitation of the API has no files"
    assert [(call.path, call.values("x-goog-api-key")) for call in api.calls] == [("/v1/files", [])]
    assert len(caught.requests) == 1


async def test_a_call_without_a_version_is_not_taken_for_openais(
    relay: ContainedRelay, api: Api, headroom: Headroom, caught: Upstream
) -> None:
    """By the version that the relay says; a credential of a gateway's tells Headroom nothing."""
    assert (await headroom.ask("/v1/models", GATEWAY_KEY)).status == 418
    assert len(caught.requests) == 1, "this is how it is led"

    for name in ("anthropic", "subscription"):
        api.begin_again()
        api.by_oauth = name == "subscription"
        target = f"/relay/{name}/v1/models"
        answer = await relay.ask(request(target, method="GET", body=None))
        assert answer.status == 200
        assert [call.values("anthropic-version") for call in api.calls] == [["2023-06-01"]]
    assert len(caught.requests) == 1


async def test_several_lines_of_betas_all_arrive(
    relay: ContainedRelay, api: Api, headroom: Headroom
) -> None:
    """Headroom keeps but the last line; the relay makes one of them."""
    betas = ("context-1m-2025-08-07", "interleaved-thinking-2025-05-14", "files-api-2025-04-14")
    lines = [f"anthropic-beta: {beta}" for beta in betas]
    api.plan(says("One."), says("Two."))
    direct = await headroom.ask("/v1/messages", *lines, VERSION, method="POST", body=HELLO)
    assert direct.status == 200
    assert betas[0] not in ",".join(api.messages[0].values("anthropic-beta"))

    await relay.ask(request("/relay/anthropic/v1/messages", *lines, body=HELLO.encode()))
    (arrived,) = api.messages[1].values("anthropic-beta")
    assert set(betas) <= {each.strip() for each in arrived.split(",")}


async def test_the_agents_token_is_not_even_headrooms(
    relay: ContainedRelay, api: Api, headroom: Headroom
) -> None:
    """It ends at the relay: Headroom's log, which shows headers, has neither token nor key."""
    api.plan(says("Yes."))
    answer = await relay.ask(request("/relay/anthropic/v1/messages", body=HELLO.encode()))
    assert answer.status == 200
    assert TOKEN not in await headroom.log()
