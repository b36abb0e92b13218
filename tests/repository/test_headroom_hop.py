"""The stand-in for Headroom as a hop: what it sends on, what it passes on, how it misbehaves."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.harness import FUSE_SECONDS
from tests.harness.hop import AIMLESS, aimed_hop, credential_seen, running_api, running_hop
from tests.harness.raw_client import ask, connected, event_names
from tests.headroom import Headroom, Settings, running_headroom
from tests.repository.hop_calls import CALL, MESSAGE, PASS, STREAM, send

pytestmark = pytest.mark.asyncio_loop


async def test_call_goes_on_with_its_path_headers_and_body() -> None:
    """Below the upstream's path, with credential and unknown headers, asking for three codings."""
    async with running_api() as api, aimed_hop(api) as hop:
        await ask(hop, "/v1/messages?beta=true", CALL | {"cookie": "a=b", "te": "x"}, MESSAGE)
        [got] = api.record.exchanges
        assert (got.method, got.target, got.body.text) == (
            *("POST", "/v1/messages?beta=true"),
            MESSAGE.decode(),
        )
        assert {name: got.header(name) for name in (*CALL, "cookie", "te", "host")} == {
            **CALL,
            "cookie": "a=b",
            "te": "x",
            "host": f"127.0.0.1:{api.port}",
        }
        assert got.header("accept-encoding") == "gzip, deflate, zstd"
        assert credential_seen(api) == [PASS]


async def test_path_of_the_upstream_comes_first(api: Headroom) -> None:
    """The address may have a path, as a relay's return address has."""
    async with aimed_hop(api, "/anthropic/headroom") as hop:
        await send(hop)
    assert [each.target for each in api.record.exchanges] == [
        "/anthropic/headroom/v1/messages?beta=true"
    ]
    [leg] = hop.record.exchanges[0].legs
    assert (leg.status, leg.state) == (404, "done")


async def test_stream_is_passed_on_event_by_event(api: Headroom, hop: Headroom) -> None:
    """Each event is passed on when it comes, in a chunk, with the headers of both."""
    api.play_next("stall", after=4)
    async with connected(hop) as client:
        await client.request("/v1/messages", CALL, STREAM)
        async with asyncio.timeout(FUSE_SECONDS):
            head = await client.response_head()
            chunks = [await client.reader.readuntil(b"\n\n\r\n") for _ in range(4)]
    assert head.values("content-type") == ["text/event-stream; charset=utf-8"]
    assert len(head.values("date")) == 2
    for name in ("request-id", "x-headroom-tokens-saved", "vary", "anthropic-organization-id"):
        assert len(head.values(name)) == 1
    assert [chunk.count(b"event: ") for chunk in chunks] == [1, 1, 1, 1]


async def test_events_that_come_together_are_passed_on_apart(api: Headroom, hop: Headroom) -> None:
    """One chunk for each, however they were cut."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 20\r\n\r\n"
    answer = head + b"data: 1\n\ndata: 2\n\nno"
    api.play_next("raw", bytes=answer.decode())
    response = await send(hop, STREAM)
    assert response.pieces == [b"data: 1\n\n", b"data: 2\n\n", b"no"]


async def test_whole_stream_is_what_the_api_sent(api: Headroom, hop: Headroom) -> None:
    """The body is the API's, byte for byte, and ends as a body should."""
    direct = await ask(api, "/v1/messages", CALL, STREAM)
    through = await ask(hop, "/v1/messages", CALL, STREAM)
    assert through.complete
    assert event_names(through) == event_names(direct)
    assert len(through.pieces) == len(direct.pieces)


@pytest.mark.parametrize("body", [STREAM, MESSAGE])
async def test_coded_answer_is_passed_on_without_its_coding(
    api: Headroom, hop: Headroom, body: bytes
) -> None:
    """The upstream may compress; the client gets plain text."""
    api.play_next("gzip")
    response = await ask(hop, "/v1/messages", CALL, body)
    assert response.values("content-encoding") == []
    assert b"message" in response.body
    assert api.record.exchanges[-1].mode == "gzip"


@pytest.mark.parametrize(("coding", "code"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_coded_request_goes_on_without_its_coding(
    api: Headroom, hop: Headroom, coding: str, code: Callable[[bytes], bytes]
) -> None:
    """What goes on is plain, whatever came."""
    await ask(hop, "/v1/messages", CALL | {"content-encoding": coding}, code(MESSAGE))
    [got] = api.record.exchanges
    assert got.body.text == MESSAGE.decode()
    assert got.header("content-encoding") is None


async def test_own_and_repeated_headers_do_not_go_on(api: Headroom, hop: Headroom) -> None:
    """Nothing of x-headroom-*, and the last of several lines of one name."""
    async with connected(hop) as client:
        await client.send(
            b"POST /v1/messages HTTP/1.1\r\nhost: h\r\nx-headroom-mode: x\r\n"
            b"anthropic-beta: one\r\nanthropic-beta: two\r\ncontent-length: 2\r\n\r\n{}"
        )
        await client.response()
    [got] = api.record.exchanges
    assert not [name for name, _ in got.headers if name.startswith("x-headroom")]
    assert [value for name, value in got.headers if name == "anthropic-beta"] == ["two"]


@pytest.mark.parametrize(
    ("mode", "body", "attempts"),
    [
        *(("429", MESSAGE, 3), ("429", STREAM, 3), ("529", MESSAGE, 3), ("529", STREAM, 3)),
        *(("500", MESSAGE, 3), ("500", STREAM, 1), ("401", MESSAGE, 1)),
    ],
)
async def test_failed_call_is_tried_again_as_the_real_one_does(
    api: Headroom, hop: Headroom, mode: str, body: bytes, attempts: int
) -> None:
    """Three attempts or one; the last answer is passed on verbatim."""
    for _ in range(3):
        api.play_next(mode)
    response = await ask(hop, "/v1/messages", CALL, body)
    assert response.status_line.startswith(f"HTTP/1.1 {mode}")
    assert len(hop.record.exchanges[0].legs) == attempts
    assert response.values("request-id") == [
        hop.record.exchanges[0].legs[-1].answer_header("request-id")
    ]


async def test_overload_has_no_reason_phrase(api: Headroom, hop: Headroom) -> None:
    """As uvicorn, which knows no 529."""
    api.play_next("529")
    response = await send(hop, arguments="attempts=1")
    assert response.status_line == "HTTP/1.1 529 "


async def test_attempts_wait_for_what_the_upstream_asks(api: Headroom) -> None:
    """A retry-after is waited for."""
    settings = replace(AIMLESS, retry_scale=0.01)
    async with aimed_hop(api, settings=settings) as hop:
        api.play_next("429", retry_after=20)
        await send(hop)
        first, second = hop.record.legs
    assert first.ended is not None
    assert second.started - first.ended > 0.15


async def test_nobody_listens(hop: Headroom) -> None:
    """A 502 in the shape of what was asked for."""
    await hop.aim("http://127.0.0.1:1")
    whole = await ask(hop, "/v1/messages", CALL, MESSAGE)
    assert whole.status == 502
    assert json.loads(whole.body)["error"]["type"] == "api_error"
    stream = await ask(hop, "/v1/messages", CALL, STREAM)
    assert stream.status == 502
    assert event_names(stream) == ["error"]
    assert b"connection_error" in stream.body
    assert {leg.state for leg in hop.record.legs} == {"refused"}


async def test_cut_stream_ends_cleanly_with_an_error(api: Headroom, hop: Headroom) -> None:
    """What the upstream did not finish, the hop finishes."""
    api.play_next("truncated")
    response = await ask(hop, "/v1/messages", CALL, STREAM)
    assert response.complete
    assert event_names(response)[-1] == "error"
    assert hop.record.exchanges[0].legs[0].state == "cut"


@pytest.mark.parametrize("before", ["", "before=head"])
async def test_departed_client_cuts_the_upstream(api: Headroom, hop: Headroom, before: str) -> None:
    """At once, in mid-stream and before the head."""
    api.play_next("stall", **dict([before.split("=")] if before else []))
    async with connected(hop) as client:
        await client.request("/v1/messages", CALL, STREAM)
        async with asyncio.timeout(FUSE_SECONDS):
            await api.record.wait_for("answering")
            if not before:
                await client.reader.readuntil(b"\r\n\r\n")
        client.leave()
        async with asyncio.timeout(FUSE_SECONDS):
            await api.record.wait_for("aborted")
            [leg] = await hop.record.wait_for_legs("left")
    assert leg.ended is not None


@pytest.mark.parametrize("before", ["", "before=head"])
async def test_deaf_hop_reads_on(api: Headroom, hop: Headroom, before: str) -> None:
    """It goes on reading for nobody, until the other side has ended it."""
    api.play_next("stall", **dict([before.split("=")] if before else []))
    async with connected(hop) as client:
        await client.request("/v1/messages", CALL | {"x-standin-args": "deaf=1"}, STREAM)
        async with asyncio.timeout(FUSE_SECONDS):
            await api.record.wait_for("answering")
        client.leave()
        async with asyncio.timeout(FUSE_SECONDS):
            await hop.record.wait_for("aborted")
    assert api.record.in_state("aborted") == []
    assert hop.record.legs[-1].ended is None
    await api.stop()
    async with asyncio.timeout(FUSE_SECONDS):
        await hop.record.wait_for_legs("cut")


async def test_deaf_hop_passes_on_what_comes(api: Headroom, hop: Headroom) -> None:
    """To a client that stays it is as any other."""
    response = await ask(hop, "/v1/messages", CALL | {"x-standin-args": "deaf=1"}, STREAM)
    assert event_names(response)[-1] == "message_stop"


async def test_hop_asks_whether_its_upstream_is_there(api: Headroom) -> None:
    """With HEAD on its address, and nothing to say who asks."""
    async with running_hop(replace(AIMLESS, upstream=f"{api.url}/anthropic/headroom")) as hop:
        await hop.record.wait_for_legs("done")
        [check] = api.record.exchanges
    assert (check.method, check.target) == ("HEAD", "/anthropic/headroom")
    assert check.header("x-api-key") is check.header("authorization") is None


async def test_prompt_gets_shorter(api: Headroom) -> None:
    """Runs of whitespace in what is said, and nothing else, are dropped; the headers say so."""
    text = "a    b\\n\\n  c"
    body = f'{{"model": "m  m", "messages": [{{"role": "user", "content": "{text}"}}]}}'.encode()
    async with aimed_hop(api, settings=replace(AIMLESS, compresses=True)) as hop:
        response = await send(hop, body)
    sent = json.loads(api.record.exchanges[0].body.text or "")
    assert sent == {"model": "m  m", "messages": [{"role": "user", "content": "a b c"}]}
    assert api.record.exchanges[0].body.size < len(body)
    before, after, saved = (
        int(response.values(f"x-headroom-tokens-{name}")[0])
        for name in ("before", "after", "saved")
    )
    assert before - after == saved > 0


async def test_prompt_without_whitespace_is_left_alone(api: Headroom, hop: Headroom) -> None:
    """Byte for byte, also where it is no JSON."""
    for body in (b'{ "messages":  [] }', b"no  json", b"[1,  2]"):
        await send(hop, body)
    assert [each.body.text for each in api.record.exchanges] == [
        '{ "messages":  [] }',
        "no  json",
        "[1,  2]",
    ]


async def test_remembered_answer_makes_no_call(api: Headroom) -> None:
    """The same from the same credential once; not for another, nor for a stream."""
    async with aimed_hop(api, settings=replace(AIMLESS, caches=True)) as hop:
        first = await send(hop)
        again = await send(hop)
        assert again.values("request-id") == first.values("request-id")
        assert len(api.record.exchanges) == 1
        await ask(hop, "/v1/messages?beta=true", CALL | {"x-api-key": "another"}, MESSAGE)
        assert len(api.record.exchanges) == 2
        await send(hop, STREAM)
        await send(hop, STREAM)
        assert len(api.record.exchanges) == 4


async def test_token_is_asked_for_and_not_sent_on(api: Headroom) -> None:
    """Without it 401, but for two health pages; whoever shows it may call."""
    settings = replace(AIMLESS, proxy_token="its-own-token", trusts_loopback=False)
    async with aimed_hop(api, settings=settings) as hop:
        refused = await send(hop)
        assert refused.status_line == "HTTP/1.1 401 Unauthorized"
        assert json.loads(refused.body) == {"error": "unauthorized"}
        assert (await ask(hop, "/livez")).status == (await ask(hop, "/readyz")).status == 200
        assert (await ask(hop, "/health")).status == 401
        assert (await ask(hop, "/health", {"x-headroom-proxy-token": "other"})).status == 401
        token = {"x-headroom-proxy-token": "its-own-token"}
        assert (await ask(hop, "/v1/messages", CALL | token, MESSAGE)).status == 200
    [got] = api.record.exchanges
    assert got.header("x-headroom-proxy-token") is None
    assert "its-own-token" not in repr(settings)


async def test_loopback_needs_no_token(api: Headroom) -> None:
    """As with the real one."""
    async with aimed_hop(api, settings=replace(AIMLESS, proxy_token="its-own-token")) as hop:
        assert (await send(hop)).status == 200


async def test_no_listening_beyond_loopback_without_a_token() -> None:
    """A hop refuses to start; the API at the end may listen anywhere."""
    with pytest.raises(Exception, match="HEADROOM_PROXY_TOKEN"):
        async with running_headroom(AIMLESS, "0.0.0.0"):
            pass
    async with running_headroom(Settings(), "0.0.0.0"):
        pass


async def test_header_sends_a_call_elsewhere(api: Headroom) -> None:
    """The caller's own address is obeyed, where it is allowed; the internet there is not."""
    async with running_api() as elsewhere:
        allowed = f"http://127.0.0.1:{elsewhere.port}"
        settings = replace(AIMLESS, allowed_base_urls=allowed)
        async with aimed_hop(api, settings=settings) as hop:
            await ask(hop, "/v1/messages", CALL | {"x-headroom-base-url": allowed}, MESSAGE)
            assert credential_seen(elsewhere) == [PASS]
            assert credential_seen(api) == []
    async with aimed_hop(api) as hop:
        for wrong in ({"x-headroom-base-url": "http://8.8.8.8"}, {"x-goog-api-key": "k"}):
            assert (await ask(hop, "/v1/messages", CALL | wrong, MESSAGE)).status == 502
        assert (await ask(hop, "/v1/chat/completions", CALL, MESSAGE)).status == 502
        assert hop.record.legs == []
    assert credential_seen(api) == []


async def test_api_of_openai_has_an_upstream_of_its_own(api: Headroom) -> None:
    """What is OpenAI's goes there."""
    async with (
        running_api() as other,
        aimed_hop(api, settings=replace(AIMLESS, openai_upstream=other.url)) as hop,
    ):
        await ask(hop, "/v1/chat/completions", {"authorization": "Bearer p"}, MESSAGE)
        assert credential_seen(other)[-1] == "Bearer p"
    assert credential_seen(api) == []


async def test_headers_steer_the_stand_in_behind(api: Headroom, hop: Headroom) -> None:
    """Its own are not sent on, those of the next one are."""
    steering = {"x-standin-mode": "forward", "x-standin-next-mode": "429"}
    steering |= {"x-standin-args": "attempts=1", "x-standin-next-args": "retry_after=3"}
    response = await ask(hop, "/v1/messages", CALL | steering, MESSAGE)
    assert (response.status, response.values("retry-after")) == (429, ["3"])
    assert api.record.exchanges[0].header("x-standin-mode") == "429"


async def test_kept_connection_is_used_again_and_replaced_when_closed(api: Headroom) -> None:
    """As httpx keeps them; one that the other side has closed is no failure."""
    async with aimed_hop(api) as hop:
        await send(hop)
        await send(hop)
        assert len({each.connection for each in api.record.exchanges}) == 1
        api.play_next("truncated")
        await send(hop, STREAM)
        assert (await send(hop)).status == 200
