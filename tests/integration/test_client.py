"""The client of doctor, top and init, against servers that are not as they should be."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.commands import CommandError
from relay.commands.client import ANSWER_SECONDS, Answer, BlockingClient, Client, NoAnswer
from relay.http.grammar import LINE_LIMIT
from tests.harness.secrets import TOKEN
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio_loop

FUSE_SECONDS = 30.0
SHORT_SECONDS = 0.2


def answer(body: bytes = b"well", *lines: str, status: int = 200) -> bytes:
    """Return an answer's bytes."""
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


def url(upstream: Upstream, path: str = "/page") -> str:
    """Return the address of a page of the upstream's."""
    return f"http://127.0.0.1:{upstream.port}{path}"


async def failure(address: str, seconds: float = FUSE_SECONDS) -> NoAnswer:
    """Return why there is no answer."""
    async with Client() as client:
        with pytest.raises(NoAnswer) as caught:
            await client.ask("GET", address, seconds=seconds, token=TOKEN.encode())
    return caught.value


async def test_an_answer_is_its_status_the_relays_word_and_its_body(upstream: Upstream) -> None:
    """Whatever the status."""
    upstream.answer_with(answer(b"no", "X-Relay-Error: rejected", status=401))
    async with Client() as client:
        assert await client.ask("GET", url(upstream)) == Answer(401, "rejected", b"no")


async def test_a_call_says_what_it_must_and_no_more(upstream: Upstream) -> None:
    """No library's name, and no coding that nobody would undo; the token where there is one."""
    upstream.answer_with(answer(b""))
    host = (b"Host", f"127.0.0.1:{upstream.port}".encode())
    async with Client() as client:
        await client.ask("HEAD", url(upstream))
        await client.ask("GET", url(upstream), token=TOKEN.encode())
    first, second = upstream.requests
    assert first.start == b"HEAD /page HTTP/1.1"
    assert first.fields == [host, (b"Accept-Encoding", b"identity")]
    assert second.start == b"GET /page HTTP/1.1"
    assert second.values("authorization") == [f"Bearer {TOKEN}".encode()]


async def test_a_path_is_sent_as_it_stands(upstream: Upstream) -> None:
    """Neither decoded nor resolved."""
    upstream.answer_with(answer())
    async with Client() as client:
        await client.ask("GET", url(upstream, "/a%2Fb/%41/../c"))
    assert upstream.requests[0].target == b"/a%2Fb/%41/../c"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(upstream: Upstream, status: int) -> None:
    """The token would go where it says."""
    upstream.answer_with(answer(b"", f"Location: {url(upstream, '/else')}", status=status))
    async with Client() as client:
        assert (await client.ask("GET", url(upstream), token=b"t")).status == status
    assert [each.target for each in upstream.requests] == [b"/page"]


async def test_no_cookie_is_kept(upstream: Upstream) -> None:
    """Calls know nothing of each other; by name, for of an address nobody would keep one."""
    upstream.answer_with(answer(b"", "Set-Cookie: a=b; Path=/"))
    async with Client() as client:
        for _ in range(2):
            await client.ask("GET", f"http://localhost:{upstream.port}/page")
    assert [each.values("cookie") for each in upstream.requests] == [[], []]


async def test_no_proxy_of_the_environment_is_between(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a password of the user's for that host."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password word\n")
    monkeypatch.setenv("NETRC", str(netrc))
    upstream.answer_with(answer())
    async with Client() as client:
        assert (await client.ask("GET", url(upstream))).status == 200
    assert upstream.requests[0].values("authorization") == []


@pytest.mark.parametrize("coding", ["gzip", "br", "unheard-of"])
async def test_a_compressed_answer_is_left_alone(upstream: Upstream, coding: str) -> None:
    """Its size is what the limit limits."""
    body = gzip.compress(bytes(1000))
    upstream.answer_with(answer(body, f"Content-Encoding: {coding}"))
    async with Client() as client:
        assert (await client.ask("GET", url(upstream))).body == body


async def test_ipv6() -> None:
    """In brackets, as in any URL."""
    there = Upstream()
    await there.start(host="::1")
    there.answer_with(answer())
    try:
        async with Client() as client:
            assert (await client.ask("GET", f"http://[::1]:{there.port}/")).body == b"well"
    finally:
        await there.stop()


async def test_no_more_is_read_than_was_asked_for(upstream: Upstream) -> None:
    """The rest is not waited for: it may never come."""
    head = b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n"
    upstream.answer_with(head + b"a" * 200_000)
    async with Client() as client:
        assert (await client.ask("GET", url(upstream))).body == b"a" * 64 * 1024
        assert (await client.ask("GET", url(upstream), limit=5)).body == b"aaaaa"
        assert (await client.ask("GET", url(upstream), limit=150_000)).body == b"a" * 150_000
    assert len(upstream.callers) == 3, "what is behind is nobody's answer"


async def test_long_lines_are_read(upstream: Upstream) -> None:
    """As long as those that the relay passes on."""
    line = "X-Policy: "
    upstream.answer_with(answer(b"well", line + "a" * (LINE_LIMIT - len(line))))
    async with Client() as client:
        assert (await client.ask("GET", url(upstream))).body == b"well"


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 X\r\n", answer()[:-1]])
async def test_silence_has_a_limit(upstream: Upstream, said: bytes) -> None:
    """Before the answer, and in the middle of it."""
    upstream.answer_with(said)
    begun = time.monotonic()
    assert (await failure(url(upstream), SHORT_SECONDS)).why == "silent"
    assert time.monotonic() - begun < ANSWER_SECONDS, "by the limit that was given"


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n",
        b"HTTP/1.1 ok\r\n\r\n",
        b"HTTP/1.1 200 X\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: some\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        answer(b"", "X-Long: " + "a" * 2 * LINE_LIMIT),
    ],
)
async def test_what_is_no_http(upstream: Upstream, said: bytes) -> None:
    """Told from silence; and neither what was said nor the token is in what is told."""
    upstream.answer_with(said)
    error = await failure(url(upstream))
    assert error.why == "not HTTP"
    assert isinstance(error, CommandError)
    assert str(error) == f"no answer from {url(upstream)}: not HTTP"
    assert TOKEN not in repr(error)


@pytest.mark.parametrize(
    ("said", "times"), [(b"", 2), (b"HTTP/1.1 200 X\r\n", 2), (answer()[:-1], 1)]
)
async def test_an_answer_that_breaks_off(upstream: Upstream, said: bytes, times: int) -> None:
    """Half of one is none; where not even its head came, it is asked for once more."""
    asked = asyncio.create_task(failure(url(upstream)))
    for _ in range(times):
        caller, _ = await upstream.called()
        caller.transport.write(said)
        caller.transport.close()
    assert (await asked).why == "not HTTP"


async def test_nobody_listens() -> None:
    """By one address or by two."""
    with socket.socket() as handle:
        handle.bind(("127.0.0.1", 0))
        port = handle.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            assert (await failure(f"http://{host}:{port}/")).why == "refused"


@pytest.mark.parametrize("host", ["255.255.255.255", "a..b", f"{'a' * 64}.test"])
async def test_there_is_no_way(host: str) -> None:
    """No route, or a name that can be none."""
    assert (await failure(f"http://{host}:1/")).why == "unreachable"


def asked_twice(address: str, between: Callable[[], None]) -> list[bytes]:
    """Ask twice, where no loop runs."""
    with BlockingClient() as client:
        first = client.ask(address)
        between()
        return [first.body, client.ask(address).body]


@pytest.mark.parametrize(("closed", "connections"), [(False, 1), (True, 2)])
async def test_without_a_loop_a_connection_is_kept(
    upstream: Upstream, closed: bool, connections: int
) -> None:
    """From one call to the next; one that was closed meanwhile, though no loop saw it, is not."""
    loop = asyncio.get_running_loop()

    async def close() -> None:
        for caller in upstream.callers if closed else []:
            caller.transport.close()
            await caller.lost.wait()

    def between() -> None:
        asyncio.run_coroutine_threadsafe(close(), loop).result(FUSE_SECONDS)

    upstream.answer_with(answer())
    assert await asyncio.to_thread(asked_twice, url(upstream), between) == [b"well", b"well"]
    assert len(upstream.callers) == connections
