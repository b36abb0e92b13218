"""A call's way through LLM proxies and back, leg by leg."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.harness.chain import HOP, Chain, running_chain
from tests.harness.configuration import Config
from tests.harness.expectations import check_error
from tests.harness.messages import (
    CHUNKED,
    OK,
    OK_BODY,
    chunk,
    request,
)
from tests.harness.model_answers import MESSAGE_JSON, MESSAGE_TOKENS
from tests.harness.peer import Agent, Answer, Request
from tests.harness.secrets import CUSTOM_KEY, KEY, OAUTH, OPENAI_KEY, OTHER_TOKEN, TOKEN

MESSAGES = "/relay/anthropic/v1/messages"
CLIENTS = [
    {"name": "agent", "token": {"file": "token"}},
    {"name": "other", "token": {"file": "other_token"}},
]
HOP_KEY = "sk-virtual-5Yw8Kd2Rt9Lm4Xc7Vb1Nq6"
OF_CALL: Config = {"pass": "call"}
HAS_PASS: Config = {"pass": {"file": "hop_pass"}}
HOP_PASS = "sk-pass-8Hn3Xk6Wq1Vt5Zb9Lc2Rm7Jd4Fp0Gy"


def shown(sent: Request) -> tuple[bytes, bytes]:
    """Return the pass and the id that a hop got."""
    ((given,), (call,)) = sent.values("x-api-key"), sent.values("x-relay-call")
    return given, call


async def finish(
    chain: Chain,
    agent: Agent,
    sent: Request,
    *lines: str,
    answer: bytes = OK,
    without: Sequence[str] = (),
) -> Answer:
    """Have a hop send on what it got, the API answer, and the hop pass that on."""
    chain.api.answer_with(answer)
    back = await chain.come_back(sent, "/v1/messages", *lines, without=without)
    assert (await back.answer()).status == 200
    hop = chain.hops[0].callers[-1]
    await hop.send(answer)
    hop.leave()  # so that the next call comes on a connection that is played anew
    return await agent.answer()


# The pass and the credential


async def test_the_credential_goes_in_on_the_last_leg_alone(chain: Chain) -> None:
    """The hop gets a pass in the credential's shape and an id; the API gets the credential."""
    agent, hop, sent = await chain.begin("anthropic-beta: x-1", "x-unheard-of: yes")
    assert sent.target == b"/v1/messages"
    given, call = shown(sent)
    assert given.startswith(b"sk-ant-api03-")
    assert len(call) == 32
    assert not any(secret in repr(sent) for secret in (KEY, TOKEN))
    back = await chain.come_back(sent)
    api, asked = await chain.api.called()
    assert asked.values("x-api-key") == [KEY.encode()]
    assert asked.values("x-relay-call") == []
    assert asked.values("x-unheard-of") == [b"yes"]
    assert (asked.target, asked.body) == (b"/v1/messages", b"{}")
    await api.send(OK)
    answer = await back.answer()
    assert (answer.status, answer.body) == (200, OK_BODY)
    await hop.send(OK)
    answer = await agent.answer()
    assert (answer.status, answer.body) == (200, OK_BODY)
    assert answer.values("x-relay-error") == []
    assert await chain.relay.outcomes() == {("ok", "200"): 1}


async def test_a_stream_comes_through_piece_by_piece(chain: Chain) -> None:
    """Every piece crosses each leg as it is sent."""
    agent, hop, sent = await chain.begin()
    back = await chain.come_back(sent)
    api, _ = await chain.api.called()
    await api.send(CHUNKED)
    through = await back.head()
    await hop.send(CHUNKED)
    answer = await agent.head()
    for piece in (b"one", b"two", b"three"):
        await api.send(chunk(piece))
        assert await back.piece(through) == piece
        await hop.send(chunk(piece))
        assert await agent.piece(answer) == piece
    for peer in (api, hop):
        await peer.send(b"0\r\n\r\n")
    await agent.finish(answer)
    assert answer.complete


GRANTS: list[tuple[dict[str, Any], str, str, str, str]] = [
    ({"name": "anthropic", "source": {"file": "key"}}, "x-api-key", "", "sk-ant-api03-", KEY),
    (
        {"name": "claude", "source": {"file": "oauth"}},
        "authorization",
        "Bearer ",
        "sk-ant-oat01-",
        OAUTH,
    ),
    (
        {
            "name": "gateway",
            "source": {"file": "custom_key"},
            "header": "X-Gateway-Key",
            "format": "Key {}",
        },
        "x-gateway-key",
        "Key ",
        "",
        CUSTOM_KEY,
    ),
]


@pytest.mark.parametrize(("grant", "header", "form", "shape", "key"), GRANTS)
async def test_a_pass_has_the_shape_of_the_credential(
    tmp_path: Path, grant: dict[str, Any], header: str, form: str, shape: str, key: str
) -> None:
    """It stands in the grant's header with what the grant adds: hops decide by it."""
    changes = {"grants": [grant]}
    if grant["name"] == "gateway":
        changes["relays"] = {"anthropic": {"grant": "gateway"}}  # type: ignore[assignment]  # as agent.yaml has it
    async with running_chain(tmp_path, changes=changes) as chain:
        agent, hop, sent = await chain.begin("anthropic-beta: x-1")
        (given,) = sent.values(header)
        assert given.startswith((form + shape).encode())
        assert key not in repr(sent)
        if not shape:
            assert len(given.removeprefix(form.encode())) == 43
        betas = b"x-1, oauth-2025-04-20" if grant["name"] == "claude" else b"x-1"
        assert sent.values("anthropic-beta") == [betas]
        await chain.come_back(sent)
        api, asked = await chain.api.called()
        assert asked.values(header) == [(form + key).encode()]
        assert asked.values("anthropic-beta") == [betas]
        await api.send(OK)
        await hop.send(OK)
        assert (await agent.answer()).status == 200


async def test_an_openai_relay_has_hops_as_well(tmp_path: Path) -> None:
    """Codex and OpenAI's SDKs go the same way."""
    async with running_chain(tmp_path) as outer:
        hop, api = outer.hops[0], outer.api
        changes = {
            "grants": [{"name": "openai", "source": {"file": "openai_key"}}],
            "claude": None,
            "relays": {
                "openai": {
                    "url": f"http://127.0.0.1:{api.port}",
                    "hops": [{"name": "headroom", "url": f"http://127.0.0.1:{hop.port}"}],
                }
            },
        }
        (tmp_path / "openai").mkdir()
        async with running_chain(tmp_path / "openai", changes=changes) as chain:
            agent = await chain.relay.agent()
            await agent.send(request("/relay/openai/v1/responses"))
            caller, sent = await hop.called()
            (given,) = sent.values("authorization")
            assert given.startswith(b"Bearer sk-")
            await chain.come_back(sent, "/v1/responses", relay="openai")
            end, asked = await api.called()
            assert asked.values("authorization") == [f"Bearer {OPENAI_KEY}".encode()]
            await end.send(OK)
            await caller.send(OK)
            assert (await agent.answer()).status == 200


async def test_a_client_has_one_pass_and_each_call_an_id(tmp_path: Path) -> None:
    """Hops key caches and limits by the credential; the id says which call it is."""
    async with running_chain(tmp_path, changes={"clients": CLIENTS}) as chain:
        seen = []
        for token in (TOKEN, TOKEN, OTHER_TOKEN):
            agent = await chain.relay.agent()
            await agent.send(request(MESSAGES, token=token))
            _, sent = await chain.called()
            seen.append(shown(sent))
            await finish(chain, agent, sent)
        passes, calls = zip(*seen, strict=True)
        assert passes[0] == passes[1] != passes[2]
        assert len(set(calls)) == 3


async def test_a_pass_of_each_call_is_enough_by_itself(tmp_path: Path) -> None:
    """For hops that drop headers they do not know."""
    async with running_chain(tmp_path, **OF_CALL) as chain:
        passes = set()
        for without in ([], ["x-relay-call"]):
            agent, _, sent = await chain.begin()
            passes.add(shown(sent)[0])
            answer = await finish(chain, agent, sent, without=without)
            assert answer.status == 200
        assert len(passes) == 2
        assert chain.api.credentials() == [KEY.encode()] * 2


async def test_an_id_that_is_carried_on_must_be_right(tmp_path: Path) -> None:
    """Also where the pass would be enough."""
    async with running_chain(tmp_path, **OF_CALL) as chain:
        _, _, sent = await chain.begin()
        back = await chain.come_back(
            sent, "/v1/messages", f"x-relay-call: {'0' * 32}", without=["x-relay-call"]
        )
        check_error(await back.answer(), 401, "rejected", "authentication_error")
        assert chain.api.callers == []


async def test_a_hop_may_send_on_a_key_of_its_own(tmp_path: Path) -> None:
    """It is sent no pass, what it wants for itself in that place, and comes back with its own."""
    (tmp_path / "hop_key").write_text(HOP_KEY)
    (tmp_path / "hop_pass").write_text(HOP_PASS)
    hop: Config = {"pass": {"file": "hop_pass"}, "headers": {"X-Api-Key": {"file": "hop_key"}}}
    async with running_chain(tmp_path, **hop) as chain:
        agent, _, sent = await chain.begin()
        assert sent.values("x-api-key") == [HOP_KEY.encode()]
        assert HOP_PASS not in repr(sent)
        answer = await finish(chain, agent, sent, f"x-api-key: {HOP_PASS}", without=["x-api-key"])
        assert answer.status == 200
        assert chain.api.credentials() == [KEY.encode()]


async def test_a_hop_that_sends_its_own_pass_need_not_be_sent_anything(tmp_path: Path) -> None:
    """Without a header of its own in the credential's place there is none."""
    (tmp_path / "hop_pass").write_text(HOP_PASS)
    async with running_chain(tmp_path, **HAS_PASS) as chain:
        agent, _, sent = await chain.begin()
        assert sent.values("x-api-key") == sent.values("authorization") == []
        answer = await finish(chain, agent, sent, f"Authorization: Bearer {HOP_PASS}")
        assert answer.status == 200


async def test_what_a_hop_wants_for_itself_goes_no_further(tmp_path: Path) -> None:
    """Its headers are sent to it in place of the agent's, and taken off what it sends on."""
    (tmp_path / "hop_key").write_text(HOP_KEY)
    hop = {
        "headers": {"X-Headroom-Proxy-Token": {"file": "hop_key"}, "X-Team": {"file": "hop_key"}}
    }
    async with running_chain(tmp_path, **hop) as chain:
        agent, _, sent = await chain.begin("x-team: agents", "x-other: kept")
        assert sent.values("x-headroom-proxy-token") == [HOP_KEY.encode()]
        assert sent.values("x-team") == [HOP_KEY.encode()]
        assert (await finish(chain, agent, sent)).status == 200
        (asked,) = chain.api.requests
        assert asked.values("x-headroom-proxy-token") == asked.values("x-team") == []
        assert asked.values("x-other") == [b"kept"]


async def test_a_relays_own_headers_go_out_on_the_last_leg(tmp_path: Path) -> None:
    """With hops and without."""
    (tmp_path / "team").write_text("team-7")
    changes = {"relays": {"anthropic": {"headers": {"X-Team": {"file": "team"}}}}}
    async with running_chain(tmp_path, changes=changes) as chain:
        agent, _, sent = await chain.begin("x-team: mine")
        assert sent.values("x-team") == [b"mine"]
        assert (await finish(chain, agent, sent)).status == 200
        (asked,) = chain.api.requests
        assert asked.values("x-team") == [b"team-7"]


@pytest.mark.parametrize(
    ("hop", "text"),
    [
        ({"pass": {"file": "absent"}}, None),
        ({"pass": {"file": "short"}}, "sk-short-pass"),
        ({"pass": {"file": "short"}}, "0123456789abcdef0123456789abcde"),
        ({"headers": {"X-Token": {"file": "absent"}}}, None),
    ],
)
async def test_a_source_without_a_value_is_as_a_grant_without_one(
    tmp_path: Path, hop: dict[str, Any], text: str | None
) -> None:
    """503 before the first hop, which then hears nothing; so is a pass below 128 bits."""
    if text is not None:
        (tmp_path / "short").write_text(text)
    async with running_chain(tmp_path, **hop) as chain:
        answer = await chain.relay.ask(request(MESSAGES))
        check_error(answer, 503, "no_credential", "api_error")
        assert answer.values("x-should-retry") == [b"false"]
        status, _ = await chain.relay.readiness()
        assert status == 503
        assert chain.hops[0].callers == []


async def test_without_a_credential_no_hop_is_asked(tmp_path: Path) -> None:
    """What can be refused is refused before the first hop."""
    changes = {"grants": [{"name": "anthropic", "source": {"file": "absent"}}]}
    async with running_chain(tmp_path, changes=changes) as chain:
        answer = await chain.relay.ask(request(MESSAGES))
        check_error(answer, 503, "no_credential", "api_error")
        assert chain.hops[0].callers == []


# Several hops


async def test_the_log_says_by_which_way_calls_go(tmp_path: Path) -> None:
    """At the start, in order."""
    async with running_chain(tmp_path, "first", "second") as chain:
        await chain.relay.log.says(
            f"^relay anthropic forwards to http://127.0.0.1:{chain.api.port}, "
            "by way of first, second$"
        )


async def test_hops_are_passed_in_order(tmp_path: Path) -> None:
    """From one to the next, and from the last to the API, each with a pass and an id of its own."""
    async with running_chain(tmp_path, "first", "second") as chain:
        agent, first, sent = await chain.begin()
        back = await chain.come_back(sent, hop="first")
        second, on = await chain.called(1)
        assert set(shown(sent)).isdisjoint(shown(on))
        last = await chain.come_back(on, hop="second")
        api, asked = await chain.api.called()
        assert asked.values("x-api-key") == [KEY.encode()]
        await api.send(OK)
        assert (await last.answer()).status == 200
        await second.send(OK)
        assert (await back.answer()).status == 200
        await first.send(OK)
        assert (await agent.answer()).status == 200
        (line,) = await chain.relay.log.calls()
        assert [hop["name"] for hop in line["hops"]] == ["first", "second"]
        assert {hop["outcome"] for hop in line["hops"]} == {"passed"}
        assert line["legs"] == 1


async def test_a_hop_goes_neither_back_nor_to_itself(tmp_path: Path) -> None:
    """What the second hop was sent opens nothing at the first one's address."""
    async with running_chain(tmp_path, "first", "second") as chain:
        _, _, sent = await chain.begin()
        await chain.come_back(sent, hop="first")
        _, on = await chain.called(1)
        for asked, hop in ((on, "first"), (sent, "second")):
            back = await chain.come_back(asked, hop=hop)
            assert (await back.answer()).status == 401
        assert chain.api.callers == []


# What the API said is of the last leg


async def test_what_the_api_says_is_counted_once(chain: Chain) -> None:
    """Tokens and the rest come from the last leg; a hop's copy of them adds nothing."""
    agent, _, sent = await chain.begin()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {MESSAGE_JSON.content_type}\r\n"
    whole = MESSAGE_JSON.body
    answer = f"{head}request-id: req_1\r\ncontent-length: {len(whole)}\r\n\r\n".encode() + whole
    assert (await finish(chain, agent, sent, answer=answer)).status == 200
    (line,) = await chain.relay.log.calls()
    assert line["tokens"] == MESSAGE_TOKENS
    assert line["request_id"] == "req_1"
    counted = await chain.relay.samples("relay_tokens_total", "type")
    assert counted == {(kind,): count for kind, count in MESSAGE_TOKENS.items()}
    assert await chain.relay.samples("relay_hop_calls_total", "hop", "outcome") == {
        (HOP, "passed"): 1
    }
    assert await chain.relay.samples("relay_hop_legs_total", "hop", "operation") == {
        (HOP, "messages"): 1
    }
    assert await chain.relay.samples("relay_hop_request_bytes_total", "side") == {
        ("in",): 2,
        ("out",): 2,
    }
    assert await chain.relay.samples("relay_hop_overhead_seconds_count", "phase") == {
        ("request",): 1,
        ("response",): 1,
    }


async def test_a_hop_is_measured_by_its_first_return(chain: Chain) -> None:
    """Also where another of its legs is over before, and where the call's end cuts it."""
    agent, hop, sent = await chain.begin()
    await chain.come_back(sent, body=b"{}" * 10)
    await chain.api.called()
    second = await chain.come_back(sent, body=b"{}" * 20)
    api, _ = await chain.api.called()
    await api.send(OK)
    assert (await second.answer()).status == 200
    large = b"x" * 100_000  # what is that large is observed at once
    await hop.send(CHUNKED + chunk(large) + chunk(b""))
    assert (await agent.answer()).body == large
    (line,) = await chain.relay.log.calls()
    assert [each["bytes_out"] for each in line["hops"]] == [20]
    assert await chain.relay.samples("relay_hop_request_bytes_total", "side") == {
        ("in",): 2,
        ("out",): 20,
    }
