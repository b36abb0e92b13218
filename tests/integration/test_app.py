"""The relay's life: its start, its credentials and upstreams, and many agents."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from relay import app
from relay.admin.application import AdminListener
from relay.app import App
from relay.config import load
from relay.credentials import file as file_module
from relay.credentials import looks, sources
from relay.credentials.command_value import CommandValue
from relay.credentials.file import FileValue
from relay.downstream.connections import Connections
from relay.supervisor import Supervisor
from relay.telemetry.ledger import Ledger
from relay.upstream import health
from relay.upstream.dial import Dialer
from tests.harness import FUSE_SECONDS, ROOT
from tests.harness.configuration import both_relays, configuration, write_configuration
from tests.harness.messages import MESSAGES, OK, request
from tests.harness.peer import Agent
from tests.harness.processes import run_to_end
from tests.harness.relay import LocalRelay, relay_process, running_relay
from tests.harness.secrets import KEY, OAUTH, OTHER_TOKEN, TOKEN
from tests.harness.upstream import Upstream

NEW_KEY = OAUTH  # any other credential that must stay secret
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno"


# Credentials


async def test_a_changed_file_is_used_at_once(
    agent: Agent, relay: LocalRelay, upstream: Upstream
) -> None:
    """The next call carries the new value, replaced by rename or written in place."""
    upstream.answer_with(OK)
    await agent.ask(request())
    (relay.folder / "new").write_text(NEW_KEY)
    (relay.folder / "new").replace(relay.folder / "key")
    await agent.ask(request())
    (relay.folder / "key").write_text(f"  {KEY}\n\n")
    await agent.ask(request())
    sent = [got.values("x-api-key") for got in upstream.requests]
    assert sent == [[KEY.encode()], [NEW_KEY.encode()], [KEY.encode()]]


async def test_a_changed_token_is_used_at_once(
    agent: Agent, relay: LocalRelay, upstream: Upstream
) -> None:
    """The old token is worth nothing any more."""
    upstream.answer_with(OK)
    assert (await agent.ask(request())).status == 200
    (relay.folder / "token").write_text(OTHER_TOKEN)
    assert (await agent.ask(request())).status == 401
    assert (await agent.ask(request(token=OTHER_TOKEN))).status == 200


async def test_readiness_follows_the_credentials(upstream: Upstream, tmp_path: Path) -> None:
    """Not ready while one is missing, naming which; ready when it has come."""
    (tmp_path / "openai_key").write_text("")
    (tmp_path / "token").write_text("")
    config = configuration(upstream.port, **both_relays(upstream.port))
    async with running_relay(tmp_path, config) as relay:
        status, report = await relay.readiness()
        assert (status, report["status"]) == (503, "not ready")
        assert report["relays"]["anthropic"]["credential"]["ready"] is True
        assert report["relays"]["openai"]["credential"]["ready"] is False
        assert report["clients"]["agent"]["token"]["ready"] is False
        assert (await relay.page("/healthz")).status == 200
        ready = await relay.samples("relay_credential_ready", "relay", "grant")
        assert ready == {("anthropic", "anthropic"): 1}
        await relay.log.says("credential openai.* no value yet: .*openai_key is empty")
        await relay.log.says("token of client agent.* no value yet")
        (tmp_path / "openai_key").write_text("sk-proj-later")
        (tmp_path / "token").write_text(TOKEN)
        status, report = await relay.readiness()
        assert (status, report["status"]) == (200, "ready")
        ready = await relay.samples("relay_credential_ready", "relay")
        assert ready == {("anthropic",): 1, ("openai",): 1}
        await relay.log.says(r"^credential openai.* now\b")


def command_grant(folder: Path) -> dict[str, object]:
    """Return a grant whose command counts its runs and prints a value with their number."""
    script = folder / "credential.sh"
    runs = folder / "runs"
    count = f'wc -l < "{runs}" | tr -d " "'
    script.write_text(f'#!/bin/sh\necho run >> "{runs}"\necho "key-$({count})"\n')
    script.chmod(0o755)
    return {"name": "anthropic", "source": {"command": [str(script)], "ttl": 1000}}


async def test_a_refused_credential_is_read_again(upstream: Upstream, tmp_path: Path) -> None:
    """After a 401 a command runs again, once however many calls were refused."""
    config = configuration(upstream.port, grants=[command_grant(tmp_path)])
    async with running_relay(tmp_path, config) as relay:
        calls = []
        for _ in range(5):
            agent = await relay.agent()
            await agent.send(request())
            caller, got = await upstream.called()
            assert got.values("x-api-key") == [b"key-1"]
            calls.append((agent, caller))
        for agent, caller in calls:
            await caller.send(UNAUTHORIZED)
            assert (await agent.answer()).body == b"no"
        credential = relay.app.lifecycle.runtime.grants["anthropic"]
        (value,) = credential._values
        assert isinstance(value, CommandValue)
        assert value._run is not None
        await value._run
        agent, caller = calls[0]
        await agent.send(request())
        kept = [each for _, each in calls]
        async with asyncio.timeout(5):
            tasks = [asyncio.create_task(each.request()) for each in kept]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        assert done.pop().result().values("x-api-key") == [b"key-2"]
        assert (tmp_path / "runs").read_text().count("run") == 2


async def test_a_refused_credential_is_read_again_from_its_file(
    agent: Agent, relay: LocalRelay, upstream: Upstream
) -> None:
    """Even when the file looks as it did."""
    upstream.answer_with(lambda _: UNAUTHORIZED)
    file = relay.folder / "key"
    os.utime(file, (1, 1))
    assert (await agent.ask(request())).status == 401
    before = file.stat()
    with file.open("r+") as handle:
        handle.write(KEY[::-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (await agent.ask(request())).status == 401
    sent = [got.values("x-api-key") for got in upstream.requests]
    assert sent == [[KEY.encode()], [KEY[::-1].encode()]]


async def test_the_upstreams_401_keeps_its_text_to_itself(
    agent: Agent, upstream: Upstream, relay: LocalRelay
) -> None:
    """It passes as it is, counts as the upstream's error, and is no rejection."""
    upstream.answer_with(UNAUTHORIZED)
    answer = await agent.ask(request())
    assert (answer.status, answer.outcome) == (401, "")
    assert await relay.outcomes() == {("upstream_error", "401"): 1}
    assert await relay.samples("relay_rejections_total", "reason") == {}


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), PermissionError(errno.EACCES, "no")]
)
async def test_a_credential_out_of_reach_at_the_start_comes_by_itself(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """Its file is looked at again, though it never changes."""
    config = configuration(upstream.port)
    write_configuration(tmp_path, config)
    for name in ("key", "token"):
        os.utime(tmp_path / name, (1, 1))
    upstream.answer_with(OK)

    def refuse(_: str) -> NoReturn:
        raise error

    monkeypatch.setattr(sources, "_read_regular_file", refuse)
    async with running_relay(tmp_path, config) as relay:
        status, report = await relay.readiness()
        assert (status, report["status"]) == (503, "not ready")
        assert (await relay.ask(request())).status == 401
        monkeypatch.undo()
        assert (await relay.ask(request())).status == 200
        assert (await relay.readiness())[0] == 200


async def test_a_dead_mount_holds_up_no_call(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key and token keep their last values, and are followed once the mount answers again."""
    alive, hung = threading.Event(), threading.Event()
    look = FileValue._look_now

    def look_when_alive(value: FileValue) -> object:
        if not alive.is_set():
            hung.set()
        assert alive.wait(FUSE_SECONDS)
        return look(value)

    alive.set()
    monkeypatch.setattr(file_module, "may_hang", lambda _: True)
    monkeypatch.setattr(looks, "APART_SECONDS", 0.01)
    monkeypatch.setattr(FileValue, "_look_now", look_when_alive)
    upstream.answer_with(OK)
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        assert (await relay.ask(request())).status == 200
        alive.clear()
        (tmp_path / "key").write_text(OAUTH)
        while not hung.is_set():
            assert (await relay.ask(request())).status == 200
        for _ in range(20):
            assert (await relay.ask(request())).status == 200
            assert upstream.requests[-1].values("x-api-key") == [KEY.encode()]
        assert (await relay.readiness())[0] == 200
        alive.set()
        async with asyncio.timeout(FUSE_SECONDS):
            while upstream.requests[-1].values("x-api-key") != [OAUTH.encode()]:
                assert (await relay.ask(request())).status == 200


# Upstreams


async def test_a_silent_connect_says_whether_the_upstream_is_there(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without calls a bare connect tells, and not a byte is sent."""
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.05)
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        up: dict[tuple[str, ...], float] = {("anthropic",): 1}
        await seen(relay, up)
        _, report = await relay.readiness()
        assert report["relays"]["anthropic"]["upstream"]["state"] == "up"
        port = upstream.port
        await upstream.stop_listening()
        await seen(relay, {})
        status, report = await relay.readiness()
        assert report["relays"]["anthropic"]["upstream"]["state"] == "down"
        assert status == 200
        again = Upstream()
        await again.start(port=port)
        await seen(relay, up)
        assert upstream.callers == again.callers == []
        await again.stop()


async def test_a_silent_connect_says_nothing_of_tls(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upstream whose handshake failed stays down, though somebody listens there."""
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.05)
    url = f"https://127.0.0.1:{upstream.port}"
    config = configuration(upstream.port, claude={"base_url": url})
    async with running_relay(tmp_path, config) as relay:
        await seen(relay, {("anthropic",): 1})
        agent = await relay.agent()
        await agent.send(request())
        await (await upstream.accepted()).send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert (await agent.answer()).status == 502
        probes = len(upstream._connections) + 2
        tick = asyncio.Event()
        async with asyncio.timeout(5):
            while len(upstream._connections) < probes:
                asyncio.get_running_loop().call_later(0.02, tick.set)
                await tick.wait()
                tick.clear()
        assert await relay.samples("relay_upstream_up", "relay") == {}
        await relay.log.says("TLS failed: wrong version number; calls fail until that is mended")


async def test_a_connect_without_a_descriptor_says_nothing(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the relay has none left is no news of the upstream."""
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.01)
    tried = asyncio.Semaphore(0)

    async def refuse(_: Dialer) -> NoReturn:
        tried.release()
        raise OSError(errno.EMFILE, "Too many open files")

    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        await seen(relay, {("anthropic",): 1})
        monkeypatch.setattr(Dialer, "connect", refuse)
        for _ in range(3):
            await tried.acquire()
        assert await relay.samples("relay_upstream_up", "relay") == {("anthropic",): 1}


async def seen(relay: LocalRelay, wanted: Mapping[tuple[str, ...], float]) -> None:
    """Wait until relay_upstream_up is like this."""
    tick = asyncio.Event()
    async with asyncio.timeout(5):
        while await relay.samples("relay_upstream_up", "relay") != wanted:
            asyncio.get_running_loop().call_later(0.02, tick.set)
            await tick.wait()
            tick.clear()


async def test_a_call_says_whether_the_upstream_is_there(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """The last call's news is the newest."""
    upstream.answer_with(OK)
    assert (await relay.ask(request())).status == 200
    up = await relay.samples("relay_upstream_up", "relay", relay="anthropic")
    assert up == {("anthropic",): 1}
    await upstream.stop_listening()
    await upstream.callers[0].send(b"")
    upstream.callers[0].leave()
    assert (await relay.ask(request())).status == 502
    assert await relay.samples("relay_upstream_up", "relay", relay="anthropic") == {}


# Time


async def test_a_fault_does_not_end_what_is_done_from_time_to_time(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next tick comes all the same, and does its work."""
    monkeypatch.setattr(app, "TICK_SECONDS", 0.01)
    tended = asyncio.Event()
    failures = iter([ValueError("details of the fault"), RuntimeError("another")])
    original = Connections.tend

    def tend(connections: Connections, write_seconds: float) -> None:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        original(connections, write_seconds)
        tended.set()

    monkeypatch.setattr(Connections, "tend", tend)
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        async with asyncio.timeout(5):
            await tended.wait()
        faults = [line for line in relay.log.lines if line["message"] == "a fault of the relay"]
        assert len(faults) == 2
        assert "details of the fault" in str(faults[0])
        relay.log.text.clear()


# Many


async def test_half_a_request_does_not_slow_others(relay: LocalRelay, upstream: Upstream) -> None:
    """Agents that began and do not go on are left alone, and cost nobody anything."""
    for _ in range(200):
        agent = await relay.agent()
        await agent.send(f"POST {MESSAGES} HTTP/1.1\r\nHost".encode())
    upstream.answer_with(OK)
    async with asyncio.timeout(1):
        assert (await relay.ask(request())).status == 200


async def test_the_descriptor_limit_is_raised(upstream: Upstream, tmp_path: Path) -> None:
    """A process started with few descriptors takes all it may have."""
    limit = ("prlimit", "--nofile=64:512")
    config = configuration(upstream.port)
    async with relay_process(tmp_path, config, None, *limit) as process:
        soft, hard = resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE)
        assert (soft, hard) == (512, 512)
        agents = [await process.agent() for _ in range(150)]
        upstream.answer_with(OK)
        assert (await agents[-1].ask(request())).status == 200


# Start


async def test_a_taken_port_is_exit_status_1(
    relay: LocalRelay, upstream: Upstream, tmp_path: Path
) -> None:
    """A relay that cannot listen says so and ends."""
    folder = tmp_path / "second"
    folder.mkdir()
    config = configuration(upstream.port, listen=[f"127.0.0.1:{relay.port}"])
    path = write_configuration(folder, config)
    ended = await run_to_end(
        [sys.executable, "-m", "relay", "serve", "--config", str(path)], folder=ROOT
    )
    assert ended.status == 1
    assert "relay: cannot listen" in ended.err
    assert "Traceback" not in ended.err


async def test_calls_do_not_wait_for_the_admin_pages(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are served while what serves the pages is still being imported; the pages wait."""
    may_load = threading.Event()
    load_now = App._load_admin

    def load_late(app: App) -> AdminListener:
        assert may_load.wait(FUSE_SECONDS)
        return load_now(app)

    monkeypatch.setattr(App, "_load_admin", load_late)
    upstream.answer_with(OK)
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        page = await relay.agent(port=relay.admin_port)
        await page.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        hasty = await relay.agent(port=relay.admin_port)
        await hasty.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        hasty.leave()
        assert (await relay.ask(request())).status == 200
        may_load.set()
        assert (await page.answer()).status == 200
        assert (await relay.page("/readyz")).status == 200


async def test_the_admin_pages_come_once_they_can_be_imported(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that has no descriptor is tried again, and said once; calls go on meanwhile."""
    missing = "yarl.so: cannot open shared object file: Too many open files"
    failures = iter([OSError(errno.EMFILE, "Too many open files"), ImportError(missing)])
    load_now = App._load_admin

    def load_at_last(app: App) -> AdminListener:
        if failure := next(failures, None):
            raise failure
        return load_now(app)

    monkeypatch.setattr("relay.admin.handler.RETRY_SECONDS", 0)
    monkeypatch.setattr(App, "_load_admin", load_at_last)
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        assert (await relay.page("/readyz")).status == 200
        told = [line["message"] for line in relay.log.lines if line["level"] == "warning"]
        assert told == ["the admin pages are not there yet: Too many open files; trying again"]


async def test_all_is_loaded_once_the_pages_are(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done then, such as what the collector is to keep, is done for them as well."""
    order = []
    load_now = App._load_admin

    def load_and_say(app: App) -> AdminListener:
        order.append("pages")
        return load_now(app)

    monkeypatch.setattr(App, "_load_admin", load_and_say)
    running = App(load(write_configuration(tmp_path, configuration(upstream.port))))

    def go_on() -> None:
        order.append("all")
        running.stop()

    async with asyncio.timeout(FUSE_SECONDS):
        await running.run(go_on)
    assert order == ["pages", "all"]


async def test_a_reload_asked_for_during_the_start_comes_after_it(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while a ledger is read: what supervises the relay must not hear of readiness before."""
    running = App(load(write_configuration(tmp_path, configuration(upstream.port))))
    order = []

    async def read_slowly(_: Ledger) -> None:
        running.reload()
        for _turn in range(10):
            await asyncio.sleep(0)

    def say(_: Supervisor, what: str) -> None:
        order.append(what.partition("\n")[0])
        if order.count("READY=1") == 2:
            running.stop()

    monkeypatch.setattr(Ledger, "wait_until_read", read_slowly)
    monkeypatch.setattr(Supervisor, "_tell", say)
    async with asyncio.timeout(FUSE_SECONDS):
        await running.run()
    assert order == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


async def test_the_start_says_what_is_served(two_relays: LocalRelay, upstream: Upstream) -> None:
    """Each relay with the address it forwards to, and no value of a secret."""
    relay = two_relays
    await relay.log.says(f"^relay anthropic forwards to http://127.0.0.1:{upstream.port}$")
    await relay.log.says(f"^relay openai forwards to http://127.0.0.1:{upstream.port}$")


async def test_an_address_that_is_not_there_yet_is_served(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Docker's bridge may come later than the relay."""
    config = configuration(upstream.port, listen=["192.0.2.1:0", "127.0.0.1:0", "nosuch0:8484"])
    async with running_relay(tmp_path, config) as relay:
        await relay.log.says(r"^192\.0\.2\.1:0 does not exist on this host yet")
        await relay.log.says("^nosuch0 has no address yet")
        relay.port = int((await relay.log.says(r"^relays on 127\.0\.0\.1:(\d+)"))[1])
        upstream.answer_with(OK)
        assert (await relay.ask(request())).status == 200
