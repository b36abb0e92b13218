"""What becomes of a call whose hop is down, answers by itself, goes past the relay or breaks."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from pathlib import Path

import pytest

from relay.upstream import dial
from tests.harness.chain import HOP, Chain, running_chain
from tests.harness.configuration import Config
from tests.harness.expectations import check_error
from tests.harness.messages import EVENTS, OK, chunk, request
from tests.harness.model_answers import MESSAGE_JSON
from tests.harness.peer import Caller
from tests.harness.secrets import KEY

SKIP: Config = {"if_down": "skip"}
Outcomes = dict[tuple[str, ...], float]


def own_answer(status: int, *lines: str, body: bytes = MESSAGE_JSON.body) -> bytes:
    """Return an answer that a hop makes by itself."""
    head = [f"HTTP/1.1 {status} X", "content-type: application/json", *lines]
    head.append(f"content-length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


async def hop_outcomes(chain: Chain, calls: int = 1) -> Outcomes:
    """Return what became of the calls at each hop, once so many are over."""
    await chain.relay.log.calls(calls)
    return await chain.relay.samples("relay_hop_calls_total", "hop", "outcome")


# A hop that is down


async def test_a_hop_that_is_down_fails_the_call(chain: Chain) -> None:
    """By default: nothing goes past a hop that may be a guard."""
    await chain.hops[0].stop_listening()
    check_error(await chain.relay.ask(request()), 502, "connect_error", "api_error")
    assert await chain.relay.outcomes() == {("connect_error", "none"): 1}
    assert await hop_outcomes(chain) == {(HOP, "unreachable"): 1}
    assert chain.api.callers == []


async def test_a_hop_that_is_down_is_skipped_where_that_is_allowed(tmp_path: Path) -> None:
    """The call goes on to the API, and says so; the second one does not try any more."""
    async with running_chain(tmp_path, **SKIP) as chain:
        await chain.hops[0].stop_listening()
        chain.api.answer_with(OK)
        for count in (1, 2):
            answer = await chain.relay.ask(request())
            assert answer.status == 200
            assert await hop_outcomes(chain, count) == {(HOP, "skipped"): count}
        assert chain.api.credentials() == [KEY.encode()] * 2
        first, second = await chain.relay.log.calls(2)
        assert [hop["outcome"] for hop in first["hops"]] == ["skipped"]
        assert second["duration"] < 0.1  # a refused connect is tried twice, 0.2 s apart
        up = await chain.relay.samples("relay_hop_up", "hop")
        assert up == {}


async def test_only_the_hop_that_is_down_is_skipped(tmp_path: Path) -> None:
    """The one behind it gets the call."""
    async with running_chain(tmp_path, "first", "second", **SKIP) as chain:
        await chain.hops[0].stop_listening()
        agent = await chain.relay.agent()
        await agent.send(request())
        second, sent = await chain.called(1)
        chain.api.answer_with(OK)
        back = await chain.come_back(sent, hop="second")
        assert (await back.answer()).status == 200
        await second.send(OK)
        assert (await agent.answer()).status == 200
        assert await hop_outcomes(chain) == {("first", "skipped"): 1, ("second", "passed"): 1}


async def test_a_hop_that_went_down_on_the_way_is_skipped(tmp_path: Path) -> None:
    """Also from one hop to the next."""
    async with running_chain(tmp_path, "first", "second", **SKIP) as chain:
        agent, first, sent = await chain.begin()
        await chain.hops[1].stop_listening()
        chain.api.answer_with(OK)
        back = await chain.come_back(sent, hop="first")
        assert (await back.answer()).status == 200
        await first.send(OK)
        assert (await agent.answer()).status == 200
        assert await hop_outcomes(chain) == {("first", "passed"): 1, ("second", "skipped"): 1}


async def test_skipping_a_hop_takes_no_leg_away_that_is_there(tmp_path: Path) -> None:
    """A hop before it asks twice; only the second time there is no connection to it."""
    async with running_chain(tmp_path, "first", "second", **SKIP) as chain:
        _, _, sent = await chain.begin()
        await chain.come_back(sent, hop="first")
        _, on = await chain.called(1)
        await chain.hops[1].stop_listening()
        chain.api.answer_with(OK)
        again = await chain.come_back(sent, hop="first")
        assert (await again.answer()).status == 200
        back = await chain.come_back(on, hop="second")
        assert (await back.answer()).status == 200


async def test_no_hop_is_skipped_because_the_relay_has_no_descriptor_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an agent that opens connections enough could get past a hop."""
    make = dial._make
    async with running_chain(tmp_path, **SKIP) as chain:
        port = chain.hops[0].port

        def make_none(row: dial.AddressInfo) -> socket.socket:
            if row[4][1] == port:
                raise OSError(errno.EMFILE, "Too many open files")
            return make(row)

        monkeypatch.setattr(dial, "_make", make_none)
        for _ in range(2):
            answer = await chain.relay.ask(request())
            check_error(answer, 502, "connect_error", "api_error")
        assert await hop_outcomes(chain, 2) == {(HOP, "unreachable"): 2}
        assert chain.api.callers == []


async def test_nothing_is_skipped_once_it_was_sent_a_byte(tmp_path: Path) -> None:
    """Whatever the hop did with it, it may have been done already."""
    async with running_chain(tmp_path, **SKIP) as chain:
        agent, hop, _ = await chain.begin()
        hop.reset()
        check_error(await agent.answer(), 502, "upstream_error", "api_error")
        assert await hop_outcomes(chain) == {(HOP, "broken"): 1}
        assert chain.api.callers == []


async def test_a_hop_that_is_there_again_gets_its_calls_again(tmp_path: Path) -> None:
    """Tried every few seconds; nothing has to be restarted."""
    async with running_chain(tmp_path, **SKIP) as chain:
        port = chain.hops[0].port
        await chain.hops[0].stop_listening()
        chain.api.answer_with(OK)
        await chain.relay.ask(request())
        await chain.relay.log.says("calls go on without it")
        await chain.hops[0].start(port=port)
        await chain.relay.log.says(f"http://127.0.0.1:{port} answers now")
        agent, hop, sent = await chain.begin()
        back = await chain.come_back(sent)
        assert (await back.answer()).status == 200
        await hop.send(OK)
        assert (await agent.answer()).status == 200


# A hop that does not come back


async def test_an_answer_of_the_hops_own_costs_nothing(chain: Chain) -> None:
    """A cache: what it says it used was used by another call."""
    agent, hop, _ = await chain.begin()
    await hop.send(own_answer(200))
    answer = await agent.answer()
    assert (answer.status, answer.body) == (200, MESSAGE_JSON.body)
    assert await chain.relay.outcomes() == {("ok", "200"): 1}
    assert await hop_outcomes(chain) == {(HOP, "answered"): 1}
    assert await chain.relay.samples("relay_tokens_total", "type") == {}
    assert await chain.relay.samples("relay_usage_missing_total", "reason") == {}


@pytest.mark.parametrize("status", [403, 400, 429, 500, 529])
async def test_a_refusal_of_the_hops_own_is_passed_on(chain: Chain, status: int) -> None:
    """A guard's refusal is for the agent to read."""
    body = json.dumps({"detail": "not today"}).encode()
    agent, hop, _ = await chain.begin()
    await hop.send(own_answer(status, body=body))
    answer = await agent.answer()
    assert (answer.status, answer.body, answer.outcome) == (status, body, "")
    assert await chain.relay.outcomes() == {("upstream_error", str(status)): 1}
    assert await hop_outcomes(chain) == {(HOP, "refused"): 1}


async def test_401_without_coming_back_is_a_bypass(chain: Chain) -> None:
    """A pass is worth nothing at the API: the log says what to set, the agent is not to retry."""
    agent, hop, _ = await chain.begin()
    await hop.send(own_answer(401, body=b'{"error":"unauthorized"}'))
    answer = await agent.answer()
    check_error(answer, 502, "hop_bypass", "api_error")
    assert answer.values("x-should-retry") == [b"false"]
    assert await chain.relay.outcomes() == {("hop_bypass", "401"): 1}
    assert await hop_outcomes(chain) == {(HOP, "refused"): 1}
    await chain.relay.log.says(
        f"answers 401 without coming back: .* http://127.0.0.1:[0-9]+/anthropic/{HOP}; or it wants"
    )


@pytest.mark.parametrize("status", [502, 504])
async def test_a_hop_that_reaches_nothing_is_told_where_to_send_on(
    chain: Chain, status: int
) -> None:
    """Its upstream is wrong, or the return address cannot be reached from there."""
    for _ in range(2):
        agent, hop, _ = await chain.begin()
        await hop.send(own_answer(status))
        assert (await agent.answer()).status == status
        hop.leave()
    await chain.relay.log.says(
        f"answers {status} without coming back: .* http://127.0.0.1:[0-9]+/anthropic/{HOP}$"
    )
    said = [line for line in chain.relay.log.lines if "without coming back" in str(line)]
    assert len(said) == 1


async def test_what_the_api_repeats_of_pass_and_id_is_in_no_log(tmp_path: Path) -> None:
    """A hop can put them into the prompt, and what gateways say of it is quoted."""
    grant: Config = {
        "name": "gateway",
        "source": {"file": "custom_key"},
        "header": "X-Gateway-Key",
    }
    changes: Config = {"grants": [grant], "relays": {"anthropic": {"grant": "gateway"}}}
    async with running_chain(tmp_path, changes=changes) as chain:
        agent, hop, sent = await chain.begin()
        shown = [*sent.values("x-gateway-key"), *sent.values("x-relay-call")]
        message = "no way for " + b" or ".join(shown).decode()
        error = {"type": "error", "error": {"type": "api_error", "message": message}}
        chain.api.answer_with(own_answer(502, body=json.dumps(error).encode()))
        back = await chain.come_back(sent)
        assert (await back.answer()).status == 502
        await hop.send(own_answer(502))
        await agent.answer()
        await chain.relay.log.says("its upstream answers 502: 'no way for ")
        assert len(shown) == 2
        assert not any(each.decode() in line for each in shown for line in chain.relay.log.text)


async def test_401_of_a_hop_that_came_back_is_passed_on(chain: Chain) -> None:
    """Then it is the API's, or the hop's own business."""
    chain.api.answer_with(own_answer(401))
    agent, hop, sent = await chain.begin()
    back = await chain.come_back(sent)
    assert (await back.answer()).status == 401
    await hop.send(own_answer(401))
    answer = await agent.answer()
    assert (answer.status, answer.outcome) == (401, "")
    assert await hop_outcomes(chain) == {(HOP, "passed"): 1}
    refused = await chain.relay.samples("relay_credential_refused", "relay")
    assert refused == {("anthropic",): 1}


async def test_after_a_401_at_the_return_address_the_log_names_that(chain: Chain) -> None:
    """The hop came back, and what it showed was wrong: nobody looks for a key of its own."""
    agent, hop, sent = await chain.begin()
    back = await chain.come_back(sent, without=["x-api-key"])
    check_error(await back.answer(), 401, "rejected", "authentication_error")
    await hop.send(own_answer(401))
    check_error(await agent.answer(), 502, "hop_bypass", "api_error")
    await chain.relay.log.says("came back and got 401: it shows no pass")
    await chain.relay.log.says("what it sent on was refused at the return address")


async def test_an_unknown_answer_id_shows_a_hop_with_a_key_of_its_own(chain: Chain) -> None:
    """Said until it comes back: such calls are under no limit."""
    agent, hop, _ = await chain.begin()
    await hop.send(own_answer(200, "request-id: req_elsewhere"))
    assert (await agent.answer()).status == 200
    assert await hop_outcomes(chain) == {(HOP, "bypass"): 1}
    await chain.relay.log.says("has a key of its own and went past the relay")
    _, report = await chain.relay.readiness()
    assert "bypass" in report["relays"]["anthropic"]["hops"][0]
    hop.leave()
    chain.api.answer_with(own_answer(200, "request-id: req_here"))
    agent, hop, sent = await chain.begin()
    back = await chain.come_back(sent)
    await back.answer()
    await hop.send(own_answer(200, "request-id: req_here"))
    await agent.answer()
    _, report = await chain.relay.readiness()
    assert "bypass" not in report["relays"]["anthropic"]["hops"][0]
    hop.leave()
    agent, hop, _ = await chain.begin()
    await hop.send(own_answer(200, "request-id: req_here"))
    await agent.answer()
    assert (await hop_outcomes(chain, 3))[HOP, "answered"] == 1  # its cache


# Errors beyond the first hop


async def test_a_finding_beyond_the_hop_reaches_the_agent(chain: Chain) -> None:
    """Whatever the hop makes of the relay's answer to it."""
    await chain.api.stop_listening()
    agent, hop, sent = await chain.begin()
    back = await chain.come_back(sent)
    check_error(await back.answer(), 502, "connect_error", "api_error")
    await hop.send(own_answer(500, "x-relay-error: made-up", "x-should-retry: true"))
    answer = await agent.answer()
    assert (answer.status, answer.values("x-relay-error")) == (500, [b"connect_error"])
    assert answer.values("x-should-retry") == [b"true"]
    assert await chain.relay.outcomes() == {("connect_error", "500"): 1}


async def test_a_finding_that_no_retry_mends_says_so(tmp_path: Path) -> None:
    """The hop's own word on retries is replaced."""
    async with running_chain(tmp_path) as chain:
        agent, hop, sent = await chain.begin()
        (tmp_path / "key").unlink()
        back = await chain.come_back(sent)
        check_error(await back.answer(), 503, "no_credential", "api_error")
        await hop.send(own_answer(502, "x-should-retry: true"))
        answer = await agent.answer()
        assert answer.values("x-relay-error") == [b"no_credential"]
        assert answer.values("x-should-retry") == [b"false"]
        assert await chain.relay.outcomes() == {("no_credential", "502"): 1}


async def test_a_finding_is_said_where_the_hop_says_nothing(tmp_path: Path) -> None:
    """It hangs up on the agent's call because of it: what the agent is to know is the cause."""
    async with running_chain(tmp_path) as chain:
        agent, hop, sent = await chain.begin()
        (tmp_path / "key").unlink()
        back = await chain.come_back(sent)
        check_error(await back.answer(), 503, "no_credential", "api_error")
        hop.reset()
        answer = await agent.answer()
        check_error(answer, 502, "no_credential", "api_error")
        assert answer.values("x-should-retry") == [b"false"]
        assert await chain.relay.outcomes() == {("no_credential", "none"): 1}
        assert await hop_outcomes(chain) == {(HOP, "broken"): 1}


async def test_a_later_attempt_that_got_an_answer_clears_a_finding(chain: Chain) -> None:
    """What the hop answers then is its own."""
    chain.api.answer_with(OK)
    agent, hop, sent = await chain.begin()
    port = chain.api.port
    await chain.api.stop_listening()
    back = await chain.come_back(sent)
    assert (await back.answer()).status == 502
    await chain.api.start(port=port)
    back = await chain.come_back(sent)
    assert (await back.answer()).status == 200
    await hop.send(own_answer(500))
    answer = await agent.answer()
    assert (answer.status, answer.values("x-relay-error")) == (500, [])
    assert await chain.relay.outcomes() == {("upstream_error", "500"): 1}
    (line,) = await chain.relay.log.calls()
    assert line["legs"] == 2


async def test_x_relay_headers_of_hops_and_apis_are_dropped(chain: Chain) -> None:
    """They are the relay's alone, in every direction."""
    chain.api.answer_with(own_answer(200, "x-relay-error: api", "x-relay-call: api"))
    agent, hop, sent = await chain.begin("x-relay-call: agent", "x-relay-error: agent")
    assert len(sent.values("x-relay-call")) == 1
    assert sent.values("x-relay-error") == []
    back = await chain.come_back(sent)
    answer = await back.answer()
    assert [name for name in answer.names if name.startswith(b"x-relay-")] == []
    await hop.send(own_answer(200, "x-relay-error: hop", "x-relay-hops: hop"))
    answer = await agent.answer()
    assert [name for name in answer.names if name.startswith(b"x-relay-")] == []


# Answers that break off


@pytest.mark.parametrize("ending", ["reset", "leave"])
async def test_a_hop_that_breaks_off_breaks_off_for_the_agent(chain: Chain, ending: str) -> None:
    """No clean end; and what its leg asked of the API ends with the call."""
    agent, hop, sent = await chain.begin()
    await chain.come_back(sent)
    api, _ = await chain.api.called()
    await api.send(EVENTS + chunk(b": ping\n\n"))
    await hop.send(EVENTS + chunk(b": ping\n\n"))
    answer = await agent.head()
    assert await agent.piece(answer)
    getattr(hop, ending)()
    await agent.finish(answer)
    assert not answer.complete
    await gone_soon(api)
    assert await hop_outcomes(chain) == {(HOP, "broken"): 1}


async def test_an_api_that_breaks_off_breaks_off_for_the_hop(chain: Chain) -> None:
    """What the hop makes of it is for the agent: an error within the stream, say."""
    agent, hop, sent = await chain.begin()
    back = await chain.come_back(sent)
    api, _ = await chain.api.called()
    await api.send(EVENTS + chunk(b": ping\n\n"))
    await hop.send(EVENTS + chunk(b": ping\n\n"))
    api.leave()
    torso = await back.answer()
    assert not torso.complete
    error = b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"x"}}\n\n'
    await hop.send(chunk(error) + chunk(b""))
    answer = await agent.answer()
    assert answer.complete
    assert await chain.relay.outcomes() == {("stream_error", "200"): 1}
    assert await chain.relay.samples("relay_usage_missing_total", "reason") == {("truncated",): 1}


async def gone_soon(peer: Caller) -> None:
    """See that a connection ends within a second."""
    async with asyncio.timeout(1):
        await peer.gone()
