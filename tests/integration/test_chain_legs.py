"""What a leg may do, and that it lives and dies with its call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.harness import FUSE_SECONDS
from tests.harness.chain import HOP, Chain, chain_configuration, returned, running_chain
from tests.harness.configuration import Config, configuration
from tests.harness.expectations import check_error, check_gone, eventually
from tests.harness.messages import CHUNKED, OK, PIECE, chunk, chunked_request, request
from tests.harness.peer import Agent
from tests.harness.relay import running_relay, update_configuration
from tests.harness.secrets import CUSTOM_KEY, KEY
from tests.harness.upstream import Upstream, running_upstream

LIMIT = 0.3
SIPS_LIMIT = 1.0
COUNT = "/v1/messages/count_tokens"
QUICK: Config = {"timeouts": {"headers": LIMIT, "idle": LIMIT}}


async def test_a_call_may_have_legs_that_cost_nothing(chain: Chain) -> None:
    """Hops count tokens and look models up; each leg is counted by its operation."""
    chain.api.answer_with(OK)
    agent, hop, sent = await chain.begin()
    for target, method in ((COUNT, "POST"), ("/v1/models", "GET"), ("/v1/messages", "POST")):
        back = await chain.come_back(sent, target, method=method)
        assert (await back.answer()).status == 200
    await hop.send(OK)
    assert (await agent.answer()).status == 200
    await chain.relay.log.calls()
    assert await chain.relay.samples("relay_hop_legs_total", "operation") == {
        ("messages",): 1,
        ("count_tokens",): 1,
        ("models",): 1,
    }
    assert await chain.relay.outcomes() == {("ok", "200"): 1}


@pytest.mark.parametrize(
    ("call", "target"),
    [
        ("/v1/messages", "/v1/messages/batches"),
        ("/v1/messages", "/v1/files"),
        ("/v1/messages/count_tokens", "/v1/messages"),
        ("/v1/messages/count_tokens", "/v1/messages/batches"),
        ("/v1/models", "/v1/messages"),
        ("/v1/messages/batches", "/v1/messages"),
        ("/v1/files", "/v1/complete"),
    ],
)
async def test_a_leg_may_do_no_more_than_its_call(chain: Chain, call: str, target: str) -> None:
    """403, without a retry; one warning a hop; and it has not come back by that."""
    agent = await chain.relay.agent()
    await agent.send(request(f"/relay/anthropic{call}"))
    _, sent = await chain.called()
    for _ in range(2):
        back = await chain.come_back(sent, target)
        answer = await back.answer()
        check_error(answer, 403, "rejected", "permission_error")
        assert answer.values("x-should-retry") == [b"false"]
    assert chain.api.callers == []
    assert await chain.relay.samples("relay_rejections_total", "reason") == {("leg",): 2}
    assert await chain.relay.samples("relay_hop_legs_total", "operation") == {}
    said = [line for line in chain.relay.log.lines if "within a call of" in line.get("message", "")]
    assert len(said) == 1


@pytest.mark.parametrize(
    ("method", "target"),
    [("DELETE", "/v1/models/x"), ("GET", "/v1/messages"), ("DELETE", "/v1/messages/x")],
)
async def test_a_leg_does_not_do_something_else_by_its_method(
    chain: Chain, method: str, target: str
) -> None:
    """A hop that is asked for a message neither lists nor deletes."""
    _, _, sent = await chain.begin()
    back = await chain.come_back(sent, target, method=method)
    check_error(await back.answer(), 403, "rejected", "permission_error")
    assert chain.api.callers == []


async def test_hops_may_translate_between_apis(tmp_path: Path) -> None:
    """A call of one answering operation may become one of another."""
    allow = ["/v1/messages", "/v1/chat/completions", "/v1/responses"]
    changes = {"relays": {"anthropic": {"allow": allow}}}
    async with running_chain(tmp_path, changes=changes) as chain:
        chain.api.answer_with(OK)
        _, _, sent = await chain.begin()
        for target in allow:
            back = await chain.come_back(sent, target)
            assert (await back.answer()).status == 200


@pytest.mark.parametrize("target", ["/stats", "/v1/retrieve", "/v1/messagesx", "", "/"])
async def test_a_leg_stays_within_the_relays_paths(chain: Chain, target: str) -> None:
    """The same as for agents."""
    _, _, sent = await chain.begin()
    back = await chain.come_back(sent, target)
    check_error(await back.answer(), 403, "rejected", "permission_error")
    assert chain.api.callers == []


async def test_legs_are_limited_at_once(chain: Chain) -> None:
    """16 of a call's; a further one may come when one is over."""
    _, _, sent = await chain.begin()
    backs = [await chain.come_back(sent) for _ in range(16)]
    callers = [(await chain.api.called())[0] for _ in backs]
    over = await chain.come_back(sent)
    check_error(await over.answer(), 403, "rejected", "permission_error")
    await callers[0].send(OK)
    waiting = [asyncio.create_task(back.some()) for back in backs]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
    await chain.come_back(sent)
    further = await callers[0].request()  # on the connection that is free again
    assert further.values("x-api-key") == [KEY.encode()]


async def test_legs_are_limited_in_all(chain: Chain) -> None:
    """32 of a call's, and then no more, ever; refused ones are not among them."""
    chain.api.answer_with(OK)
    _, _, sent = await chain.begin()
    back = await chain.come_back(sent, "/v1/messages/batches")
    assert (await back.answer()).status == 403
    for _ in range(32):
        back = await chain.come_back(sent)
        assert (await back.answer()).status == 200
    back = await chain.come_back(sent)
    check_error(await back.answer(), 403, "rejected", "permission_error")
    assert len(chain.api.requests) == 32


# Living and dying


async def test_when_the_agent_leaves_its_legs_are_cut(chain: Chain) -> None:
    """At once, also where the hop goes on reading."""
    agent, hop, sent = await chain.begin()
    back = await chain.come_back(sent)
    api, _ = await chain.api.called()
    await api.send(CHUNKED + chunk(b"one"))
    await hop.send(CHUNKED + chunk(b"one"))
    await agent.some()
    agent.reset()
    for peer in (api, hop, back):
        await check_gone(peer)


async def test_when_the_call_is_over_its_legs_are_cut(chain: Chain) -> None:
    """A hop that has answered asks nothing more in its call's name."""
    agent, hop, sent = await chain.begin()
    back = await chain.come_back(sent)
    api, _ = await chain.api.called()
    await hop.send(OK)
    assert (await agent.answer()).status == 200
    for peer in (api, back):
        await check_gone(peer)


async def test_legs_are_cut_before_an_agent_has_taken_what_there_is(tmp_path: Path) -> None:
    """By HTTP/1.0 it is told that an answer broke off once it has taken the rest, or never."""
    async with running_chain(tmp_path) as chain:
        agent = await chain.relay.agent(receive_buffer=16_384)
        agent.hold()
        await agent.send(request(version="1.0"))
        hop, sent = await chain.called()
        back = await chain.come_back(sent)
        api, _ = await chain.api.called()
        await hop.send(CHUNKED + chunk(PIECE * 2048))
        (connection,) = (each for each in chain.relay.app._agents.connections._open if each.busy)
        while not connection.transport.untaken > 16_384:
            await hop.send(chunk(PIECE * 2048))
            await asyncio.sleep(0)
        hop.leave()
        for peer in (api, back):
            await check_gone(peer)


async def test_a_pass_is_worth_nothing_once_the_call_is_over(chain: Chain) -> None:
    """Replayed after the end, and after the agent has left."""
    agent, hop, sent = await chain.begin()
    await hop.send(OK)
    await agent.answer()
    back = await chain.come_back(sent)
    check_error(await back.answer(), 401, "rejected", "authentication_error")
    assert chain.api.callers == []


async def test_no_credential_is_written_after_the_call(tmp_path: Path) -> None:
    """A leg that still sends its body, or waits for a connection, ends with the call."""
    async with running_chain(tmp_path) as chain:
        agent, hop, sent = await chain.begin()
        back = await chain.relay.agent(port=chain.relay.return_port)
        lines = [
            f"{name.decode()}: {value.decode()}"
            for name, value in sent.fields
            if name.lower() in (b"x-api-key", b"x-relay-call")
        ]
        head = chunked_request(*lines, target=f"/anthropic/{HOP}/v1/messages")
        await back.send(head.replace(b"x-api-key: relay-", b"x-unused: relay-"))
        api = await chain.api.accepted()
        await api.head()
        await hop.send(OK)
        assert (await agent.answer()).status == 200
        await check_gone(api)
        await check_gone(back)


async def test_a_leg_that_waits_for_a_connection_ends_with_the_call(chain: Chain) -> None:
    """The API never hears of it."""
    agent, hop, sent = await chain.begin()
    await chain.api.stop_listening()  # a refused connect is tried again 0.2 s later
    back = await chain.come_back(sent)
    await eventually(lambda: bool(chain.relay.app._returns.connections.busy))
    agent.reset()
    await check_gone(back)
    await check_gone(hop)
    assert chain.api.callers == []


async def test_a_running_stop_lets_legs_through(chain: Chain) -> None:
    """Draining refuses new calls; those in flight come back as before."""
    agent, hop, sent = await chain.begin()
    chain.relay.app.stop()
    await chain.relay.log.says("stopping: 1 calls in flight")
    back = await chain.come_back(sent)
    api, _ = await chain.api.called()
    await api.send(OK)
    assert (await back.answer()).status == 200
    await hop.send(OK)
    assert (await agent.answer()).status == 200


# Time


async def test_time_runs_on_the_innermost_leg(tmp_path: Path) -> None:
    """The API is silent: its leg ends, and only then does the hop's time begin."""
    async with running_chain(tmp_path, changes=QUICK) as chain:
        began = time.perf_counter()
        agent, _, sent = await chain.begin()
        back = await chain.come_back(sent)
        await chain.api.called()
        check_error(await back.answer(), 504, "timeout", "timeout_error")
        assert time.perf_counter() - began >= LIMIT
        check_error(await agent.answer(), 504, "timeout", "timeout_error")
        assert time.perf_counter() - began >= 2 * LIMIT
        hops = await chain.relay.samples("relay_hop_calls_total", "outcome")
        assert hops == {("broken",): 1}


async def test_silence_within_an_answer_is_the_innermost_legs(tmp_path: Path) -> None:
    """A hop that has begun to answer is not cut while the API still writes to it."""
    async with running_chain(tmp_path, changes=QUICK) as chain:
        agent, hop, sent = await chain.begin()
        back = await chain.come_back(sent)
        api, _ = await chain.api.called()
        await hop.send(CHUNKED + chunk(b"one"))
        answer = await agent.head()
        assert await agent.piece(answer) == b"one"
        began = time.perf_counter()
        await api.send(CHUNKED)
        through = await back.head()
        await back.finish(through)  # the API falls silent, and its leg is cut
        assert not through.complete
        assert time.perf_counter() - began >= LIMIT * 0.9
        await hop.send(chunk(b"two") + chunk(b""))
        await agent.finish(answer)
        assert answer.complete
        assert answer.body == b"onetwo"


async def test_a_silent_hop_that_came_back_is_cut(tmp_path: Path) -> None:
    """Its leg is over, and it says nothing."""
    async with running_chain(tmp_path, changes=QUICK) as chain:
        chain.api.answer_with(OK)
        agent, hop, sent = await chain.begin()
        back = await chain.come_back(sent)
        assert (await back.answer()).status == 200
        check_error(await agent.answer(), 504, "timeout", "timeout_error")
        await check_gone(hop)


@pytest.mark.parametrize("lines", [(), ("Connection: close",)], ids=["kept", "closing"])
async def test_a_hop_that_is_not_read_may_leave_the_end_of_an_answer(
    tmp_path: Path, lines: tuple[str, ...]
) -> None:
    """An agent that takes little at a time holds the hop up: its leg is not cut by `write`."""
    # Ten sips long: the agent itself must keep within it, on a machine that is busy too.
    async with running_chain(tmp_path, changes={"timeouts": {"write": SIPS_LIMIT}}) as chain:
        agent = await chain.relay.agent(receive_buffer=16_384)
        agent.hold()
        await agent.send(request())
        hop, sent = await chain.called()
        await hop.send(CHUNKED)
        async with sipping(agent):
            await hop.push(chunk(PIECE * 8192), 1 << 30)  # until nobody takes more
            # From here on it never runs dry, however long all this takes.
            pouring = asyncio.create_task(hop.push(chunk(PIECE * 8192), 1 << 40, FUSE_SECONDS))
            back = await chain.relay.agent(port=chain.relay.return_port, receive_buffer=16_384)
            back.hold()
            await back.send(returned(sent, "/v1/messages", *lines))
            api, _ = await chain.api.called()
            await api.send(CHUNKED)
            open_connections = chain.relay.app._returns.connections._open
            (connection,) = (each for each in open_connections if each.busy)
            total = 6400
            while not connection.transport.unsent:
                await api.send(chunk(PIECE * 2048))
                total += 2048
                await asyncio.sleep(0)
            await api.send(chunk(PIECE * 6400) + chunk(b""))
            (over,) = chain.relay.app.lifecycle.memory.passes._by_id.values()
            await eventually(lambda: not over.patience.beyond)
            await asyncio.sleep(2.5 * SIPS_LIMIT)  # time itself is what the limit is about
            back.read_on()
            answer = await back.answer()
            pouring.cancel()
        assert (answer.complete, len(answer.body)) == (True, total * len(PIECE))


@asynccontextmanager
async def sipping(agent: Agent) -> AsyncIterator[None]:
    """Have an agent take a little again and again, for the length of the context."""

    async def sip() -> None:
        while True:
            agent.read_on()
            await agent.some()
            agent.hold()
            await asyncio.sleep(0.1)

    task = asyncio.create_task(sip())
    try:
        yield
    finally:
        task.cancel()


# Reloads


async def lose_its_hops(chain: Chain) -> None:
    """Reload, with a configuration that has no hops, another end, and the grant `anthropic`."""
    update_configuration(chain.relay, configuration(1))
    chain.relay.app.reload()
    await chain.relay.log.says("^reloaded ")


async def test_a_leg_goes_by_the_configuration_its_call_began_with(tmp_path: Path) -> None:
    """Its API, and its hops, also where the new one has none of them."""
    async with running_chain(tmp_path) as chain:
        agent, hop, sent = await chain.begin()
        await lose_its_hops(chain)
        chain.api.answer_with(OK)
        back = await chain.come_back(sent)
        assert (await back.answer()).status == 200
        assert chain.api.credentials() == [KEY.encode()]
        await hop.send(OK)
        assert (await agent.answer()).status == 200


@pytest.mark.parametrize(
    ("kind", "without"), [("client", []), ("call", []), ("call", ["x-relay-call"])]
)
async def test_a_leg_shows_its_pass_where_its_calls_grant_has_it(
    tmp_path: Path, kind: str, without: list[str]
) -> None:
    """A reload that gives the relay another grant takes no header from calls in flight."""
    gateway = {
        "name": "gateway",
        "source": {"file": "custom_key"},
        "header": "X-Gateway-Key",
        "format": "Key {}",
    }
    changes: Config = {"grants": [gateway], "relays": {"anthropic": {"grant": "gateway"}}}
    async with running_chain(tmp_path, changes=changes, **{"pass": kind}) as chain:
        _, _, sent = await chain.begin()
        await lose_its_hops(chain)
        chain.api.answer_with(OK)
        back = await chain.come_back(sent, without=without)
        assert (await back.answer()).status == 200
        assert chain.api.requests[0].values("x-gateway-key") == [f"Key {CUSTOM_KEY}".encode()]


def without_hops(config: Config) -> Config:
    """Return a configuration whose relay goes straight to its API."""
    claude = {key: value for key, value in config["claude"].items() if key != "hops"}
    return config | {"claude": claude}


async def test_a_reload_that_brings_the_first_hop_opens_the_return_address(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Nothing has to be restarted."""
    async with running_upstream() as hop:
        config = chain_configuration(upstream, {HOP: hop})
        async with running_relay(tmp_path, without_hops(config)) as relay:
            update_configuration(relay, config)
            relay.app.reload()
            await relay.log.says("^reloaded ")
            await relay.find_return_port()
            chain = Chain(relay, [hop], upstream)
            upstream.answer_with(OK)
            agent, caller, sent = await chain.begin()
            back = await chain.come_back(sent)
            assert (await back.answer()).status == 200
            await caller.send(OK)
            assert (await agent.answer()).status == 200


async def test_a_reload_that_cannot_open_it_keeps_the_configuration(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Calls go on as before, and the log says which address is taken."""
    async with running_upstream() as taken, running_upstream() as hop:
        returns = ["127.0.0.1:0", f"127.0.0.1:{taken.port}"]
        config = chain_configuration(upstream, {HOP: hop}, changes={"returns": returns})
        async with running_relay(tmp_path, without_hops(config)) as relay:
            update_configuration(relay, config)
            relay.app.reload()
            await relay.log.says(
                f"not reloaded, .*: cannot listen on 127.0.0.1:{taken.port} for returns: .*RETURNS"
            )
            upstream.answer_with(OK)
            assert (await relay.ask(request())).status == 200
            reloads = await relay.samples("relay_config_reloads_total", "result")
            assert reloads == {("failure",): 1}
