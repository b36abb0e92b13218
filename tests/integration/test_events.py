"""``/events``: what the page is told, how often, how many may read, and when it ends."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from relay.admin import events
from relay.admin.overview import Overview
from relay.app import ADMIN_CONNECTIONS
from tests.harness import FUSE_SECONDS
from tests.harness.event_stream import open_stream
from tests.harness.expectations import eventually
from tests.harness.messages import EVENTS, OK, chunk, request
from tests.harness.model_answers import MESSAGE_STREAM, MESSAGE_TOKENS, MODEL
from tests.harness.relay import LocalRelay, events_of
from tests.harness.secrets import KEY
from tests.harness.upstream import Upstream


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have events come one upon the other."""
    monkeypatch.setattr(events, "EVENT_SECONDS", 0.01)
    monkeypatch.setattr("relay.admin.overview._MOMENT_SECONDS", 0)


async def test_it_is_an_event_stream(relay: LocalRelay) -> None:
    """That no cache keeps."""
    reader = await open_stream(relay)
    assert reader.answer.values("content-type") == [b"text/event-stream"]
    assert reader.answer.values("cache-control") == [b"no-store"]
    told = await reader.event()
    assert (told["in_flight"], told["ended"], told["wrong"]) == ([], [], [])
    assert told["use"]["spans"][0]["total"]["calls"] == 0


async def test_an_event_comes_once_a_second(relay: LocalRelay) -> None:
    """And no more often, whatever happens meanwhile."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    reader = await open_stream(relay)
    await reader.event()
    await relay.ask(request(token=KEY))
    await reader.event()
    assert loop.time() - begun > 0.9


async def test_relays_are_told_with_their_chain(
    relay: LocalRelay, upstream: Upstream, quick: None
) -> None:
    """Whether the end is up, what it takes, and how long each leg took."""
    upstream.answer_with(OK)
    reader = await open_stream(relay)
    await relay.ask(request())
    await relay.log.calls()
    while not (told := await reader.event())["ended"]:
        pass
    (shown,) = told["relays"]
    assert shown["name"] == "anthropic"
    assert shown["upstream"] == f"http://127.0.0.1:{upstream.port}"
    assert (shown["state"], shown["ready"], shown["refused"]) == ("up", True, False)
    assert shown["hops"] == []
    assert set(shown["legs"]) == {"agent", "API"}
    assert 0 < shown["legs"]["API"]["p50"] <= shown["legs"]["agent"]["p50"]


async def test_a_call_is_told_from_its_beginning_to_its_end(
    relay: LocalRelay, upstream: Upstream, quick: None
) -> None:
    """In flight with tokens as they come, then once among those that ended, with its timeline."""
    reader = await open_stream(relay)
    agent = await relay.agent()
    await agent.send(request(MESSAGE_PATH, "X-Claude-Code-Session-Id: 1c-2"))
    caller, _ = await upstream.called()
    start, *rest = MESSAGE_STREAM.pieces
    await caller.send(EVENTS + chunk(start))
    answer = await agent.head()
    await agent.piece(answer)
    while not (running := (await reader.event())["in_flight"]) or "model" not in running[0]:
        pass
    (shown,) = running
    assert (shown["client"], shown["session_id"], shown["model"]) == ("agent", "1c-2", MODEL)
    prompt = sum(count for kind, count in MESSAGE_TOKENS.items() if kind != "output")
    assert shown["input"] == prompt
    assert shown["silence"] <= shown["age"]
    await caller.send(b"".join(map(chunk, rest)) + chunk(b""))
    await agent.finish(answer)
    while not (told := await reader.event())["ended"]:
        pass
    (ended,) = told["ended"]
    assert (ended["key"], ended["outcome"], ended["said"]) == (shown["key"], "ok", "answered")
    assert (ended["input"], ended["output"]) == (prompt, MESSAGE_TOKENS["output"])
    whats = [what for what, _ in ended["timeline"]]
    assert whats == ["admitted", "sent to the API", "first byte", "first token", "end"]
    times = [at for _, at in ended["timeline"]]
    assert times == sorted(times)
    assert told["use"]["spans"][0]["models"][0]["name"] == MODEL
    assert told["use"]["spans"][0]["sessions"][0]["name"] == "1c-2"
    told = await reader.event()
    assert (told["in_flight"], told["ended"], "use" in told) == ([], [], False)


async def test_who_comes_later_is_told_the_last_hundred(relay: LocalRelay, quick: None) -> None:
    """And no more, in the order of their end."""
    agent = await relay.agent()
    for number in range(110):
        await agent.ask(request(f"/relay/unknown/{number}"))
    told = await (await open_stream(relay)).event()
    assert [call["path"] for call in told["ended"]] == [
        f"/relay/unknown/{n}" for n in range(10, 110)
    ]
    assert told["ended"][0]["said"] == "no relay of that name"
    assert told["ended"][0]["help"].endswith("/troubleshooting.md#no-relay-of-that-name")


async def test_what_is_wrong_is_told_in_words(
    relay: LocalRelay, upstream: Upstream, quick: None
) -> None:
    """The words of /readyz, with the place in the docs that says more."""
    (relay.folder / "key").unlink()
    await upstream.stop_listening()
    told = await (await open_stream(relay)).event()
    _, report = await relay.readiness()
    assert [f"{each['what']}: {each['text']}" for each in told["wrong"]] == report["problems"]
    assert told["wrong"][0]["what"] == "credential anthropic"
    assert told["wrong"][0]["help"].endswith("#no-credential-yet")


async def test_names_that_others_chose_are_told_as_they_are(
    relay: LocalRelay, upstream: Upstream, quick: None
) -> None:
    """As far as they fit: what is done with markup is the page's business."""
    markup = "<img src=x onerror=alert(1)>"
    body = json.dumps({"model": markup, "usage": {"output_tokens": 7}, "type": "message"}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    upstream.answer_with(head % len(body) + body)
    await relay.ask(request())
    await relay.ask(request(f"/relay/unknown/{'x' * 10_000}"))
    told = await (await open_stream(relay)).event()
    assert told["ended"][0]["model"] == markup
    assert told["ended"][1]["path"] == f"/relay/unknown/{'x' * 10_000}"[:256] + "…"


async def test_a_ninth_reader_is_turned_away(relay: LocalRelay) -> None:
    """Until one of the eight has gone; HEAD takes no place."""
    readers = [await open_stream(relay) for _ in range(events.MOST_READERS)]
    for reader in readers:
        await reader.event()
    refused = await open_stream(relay)
    assert (refused.answer.status, refused.answer.values("retry-after")) == (503, [b"5"])
    await refused.agent.finish(refused.answer)
    assert b"Eight pages" in refused.answer.body
    assert (await relay.page("/events", method="HEAD")).status == 503
    readers[0].agent.leave()
    async with asyncio.timeout(FUSE_SECONDS):
        while (again := await open_stream(relay)).answer.status == 503:
            again.agent.leave()
    await again.event()


async def test_readers_leave_room_for_others(relay: LocalRelay) -> None:
    """Idle connections make room; those of readers are not idle."""
    reader = await open_stream(relay)
    await reader.event()
    for _ in range(ADMIN_CONNECTIONS + 1):
        await relay.agent(port=relay.admin_port)
    assert (await relay.page("/healthz")).status == 200
    await reader.event()


async def test_who_takes_nothing_is_told_nothing_and_cut_off(
    relay: LocalRelay, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """What waits for it is never more than one event."""
    monkeypatch.setattr(events, "UNTAKEN_SECONDS", 0.2)
    monkeypatch.setattr("relay.admin.application._WRITE_SECONDS", 0.2)
    agent = await relay.agent()
    for number in range(100):
        await agent.ask(request(f"/relay/unknown/{number}/{'x' * 300}"))
    stuck = await open_stream(relay, receive_buffer=2048)
    stuck.agent.hold()
    (connection,) = [each for each in relay.app._pages.connections._open if each.busy]
    while connection in relay.app._pages.connections._open:
        assert connection.transport.unsent < 200_000
        await asyncio.sleep(0)
    stuck.agent.read_on()
    await stuck.agent.gone()
    assert events_of(relay)._readers == set()


async def test_streams_end_when_draining_begins(
    relay: LocalRelay, upstream: Upstream, quick: None
) -> None:
    """While calls go on; and none begins any more."""
    agent = await relay.agent()
    await agent.send(request())
    caller, _ = await upstream.called()
    reader = await open_stream(relay)
    await reader.event()
    relay.app.stop()
    await reader.agent.finish(reader.answer)
    assert reader.answer.complete
    refused = await open_stream(relay)
    assert refused.answer.status == 503
    await refused.agent.finish(refused.answer)
    assert refused.answer.body == b"The relay is stopping.\n"
    assert (await relay.page("/healthz")).status == 200
    await caller.send(OK)
    assert (await agent.answer()).status == 200


MESSAGE_PATH = "/relay/anthropic/v1/messages"


async def test_who_takes_nothing_does_not_hold_up_the_end(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """An event that is half written is given up as draining begins, while calls go on."""
    agent = await relay.agent()
    for number in range(100):
        ids = (f"X-Claude-Code-{name}-Id: {'x' * 128}" for name in ("Session", "Agent"))
        await agent.ask(request(f"/relay/anthropic/{number}/{'x' * 300}", *ids))
    await agent.send(request())
    caller, _ = await upstream.called()
    stuck = await relay.agent(port=relay.admin_port, receive_buffer=2048)
    await stuck.ask(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    (connection,) = relay.app._pages.connections._open
    assert connection.transport._transport is not None
    handle = connection.transport._transport.get_extra_info("socket")
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    stuck.hold()
    stuck.transport.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while connection.transport.writable:
        await relay.page("/healthz")
    relay.app.stop()
    await relay.log.says("^stopping")
    async with asyncio.timeout(events.UNTAKEN_SECONDS / 2):
        while connection in relay.app._pages.connections._open:
            relay.app._pages.connections._changed.clear()
            await relay.app._pages.connections._changed.wait()
    await caller.send(OK)
    assert (await agent.answer()).status == 200
    assert events_of(relay)._readers == set()


async def test_who_leaves_as_it_is_written_to_is_let_go(
    relay: LocalRelay, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """Between the end of its connection and word of it, an event may be due: no fault of ours."""
    reader = await open_stream(relay)
    await reader.event()
    (bridge,) = (each._bridge for each in events_of(relay)._readers)
    tell = Overview.event

    def leave_and_tell(
        overview: Overview, seen: int, use_seen: tuple[int, int] | None
    ) -> tuple[bytes, int, tuple[int, int]]:
        bridge.close()
        return tell(overview, seen, use_seen)

    monkeypatch.setattr(Overview, "event", leave_and_tell)
    await eventually(lambda: not events_of(relay)._readers)
