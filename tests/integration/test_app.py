"""The relay's life: its start, new configurations and credentials, many agents, and its end."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from relay import app, reload
from relay.admin.application import AdminListener
from relay.app import App
from relay.config import load
from relay.credentials import file as file_module
from relay.credentials import looks, sources
from relay.credentials.command_value import CommandValue
from relay.credentials.file import FileValue
from relay.downstream.connections import Connections
from relay.proxy import forward
from relay.supervisor import Supervisor
from relay.telemetry.ledger import Ledger
from relay.upstream import health
from relay.upstream.dial import Dialer
from relay.upstream.tls import tls_context
from tests.harness import FUSE_SECONDS, ROOT
from tests.harness.configuration import Config, both_relays, configuration, write_configuration
from tests.harness.messages import MESSAGES, OK, chunk, request
from tests.harness.peer import Agent
from tests.harness.relay import (
    LocalRelay,
    begin_stream,
    relay_process,
    running_relay,
    update_configuration,
)
from tests.harness.secrets import KEY, OAUTH, OTHER_TOKEN, TOKEN
from tests.harness.upstream import Upstream

S = TypeVar("S")
T = TypeVar("T")
NEW_KEY = OAUTH  # any other credential that must stay secret
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno"


# SIGHUP


OPEN_LISTEN = ["127.0.0.1:0", "0.0.0.0:0"]


@pytest.mark.parametrize("listen", [OPEN_LISTEN, ["127.0.0.1:0"], ["127.0.0.1:0", "lo:0"], None])
async def test_a_reload_never_leaves_an_open_listener_without_a_client(
    upstream: Upstream, tmp_path: Path, listen: list[str] | None
) -> None:
    """Listeners last until a restart: what the new file says of its own does not count."""
    config = configuration(upstream.port, listen=OPEN_LISTEN)
    upstream.answer_with(OK)
    async with relay_process(tmp_path, config) as relay:
        open_port = int((await relay.log.says(r"^relays on 0\.0\.0\.0:(\d+)$"))[1])
        changed = configuration(upstream.port, clients=[])
        del changed["listen"]
        update_configuration(relay, changed | ({} if listen is None else {"listen": listen}))
        relay.signal(signal.SIGHUP)
        await relay.log.says("^not reloaded, the configuration stays as it was$")
        await relay.log.says(r"agent\.yaml:1: (clients|listen): .*(beyond|not) loopback")
        for port in (relay.port, open_port):
            agent = await relay.agent(port=port)
            assert (await agent.ask(request(token=None))).status == 401
            own_host = request(token=None).replace(b"relay.test", b"127.0.0.1")
            assert (await agent.ask(own_host)).status == 401
            assert (await agent.ask(request())).status == 200
        assert len(upstream.requests) == 2


async def test_a_reload_may_drop_the_clients_where_only_loopback_is_listened_on(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """Though the file meanwhile named an address that is open: it was never listened on."""
    started = relay.app.lifecycle.runtime.settings
    assert (await relay.ask(request(token=None))).status == 401
    update_configuration(relay, configuration(upstream.port, listen=OPEN_LISTEN))
    relay.app.reload()
    await relay.log.says("^reloaded ")
    assert relay.app.lifecycle.runtime.settings.listen == started.listen
    update_configuration(relay, configuration(upstream.port, clients=[]))
    relay.app.reload()
    await relay.log.says("^reloaded ", 2)
    upstream.answer_with(OK)
    own_host = request(token=None).replace(b"relay.test", b"127.0.0.1")
    assert (await relay.ask(own_host)).status == 200
    assert (await relay.ask(request(token=None))).status == 421


async def test_a_reload_does_not_change_which_hosts_are_the_relays_own(
    upstream: Upstream, tmp_path: Path
) -> None:
    """A name in the new file's addresses is no address of the listeners there are."""
    config = configuration(upstream.port, clients=[])
    async with running_relay(tmp_path, config) as relay:
        new = {"listen": ["127.0.0.1:0", "lo:0"], "admin": ["127.0.0.1:0", "lo:0"]}
        update_configuration(relay, config | new)
        before = relay.app.lifecycle.runtime.settings
        relay.app.reload()
        await relay.log.says("^reloaded ")
        settings = relay.app.lifecycle.runtime.settings
        assert (settings.listen, settings.admin) == (before.listen, before.admin)
        named = request(token=None).replace(b"relay.test", b"lo")
        assert (await relay.ask(named)).status == 421
        agent = await relay.agent(port=relay.admin_port)
        assert (await agent.ask(b"GET /healthz HTTP/1.1\r\nHost: lo\r\n\r\n")).status == 421


def grant_from(**source: object) -> dict[str, object]:
    """Return a change of the configuration: where its grant's value comes from."""
    return {"grants": [{"name": "anthropic", "source": source}]}


HOSTILE = {
    "control byte": ("a: \x01\n", "1: is not valid YAML"),
    "nesting": ("grants:\n  " + "[" * 3_000, "1: is nested too deeply"),
    "unknown home": (grant_from(file="~nosuchuser/x"), r"1: grants\[0\]\.source\.file: names"),
    "NUL": (grant_from(command=["a", "\0"]), r"1: grants\[0\]\.source\.command: must"),
    "surrogate": (grant_from(command=["\ud800"]), r"1: grants\[0\]\.source\.command: must"),
    "surrogate in a path": (grant_from(file="\ud800"), r"1: grants\[0\]\.source\.file: must"),
    "zone": ({"listen": ["[fe80::1%eth0]:8484"]}, r"1: listen\[0\]: needs"),
}


@pytest.mark.parametrize(("change", "problem"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_reload_survives_any_file(
    relay: LocalRelay, upstream: Upstream, change: str | Config, problem: str
) -> None:
    """What cannot be used is named by its place, and changes nothing."""
    upstream.answer_with(OK)
    before = relay.app.lifecycle.runtime
    new = change if isinstance(change, str) else configuration(upstream.port, **change)
    write_configuration(relay.folder, new)
    relay.app.reload()
    await relay.log.says("^not reloaded, the configuration stays as it was$")
    await relay.log.says(rf"agent\.yaml:{problem}")
    assert relay.app.lifecycle.runtime is before
    assert (await relay.ask(request())).status == 200


async def test_a_fault_in_a_reload_keeps_the_old_configuration(
    relay: LocalRelay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug is logged with its traceback, and the relay goes on."""
    upstream.answer_with(OK)
    before = relay.app.lifecycle.runtime

    def fail(_: Path, **__: object) -> NoReturn:
        raise RuntimeError("details of the fault")

    monkeypatch.setattr(reload, "load", fail)
    relay.app.reload()
    await relay.log.says("^not reloaded, the configuration stays as it was$")
    assert "details of the fault" in relay.log.text[-1]
    relay.log.text.clear()
    assert relay.app.lifecycle.runtime is before
    assert (await relay.ask(request())).status == 200


@pytest.mark.parametrize("key", ["listen", "admin"])
async def test_other_addresses_need_a_restart(
    relay: LocalRelay, upstream: Upstream, key: str
) -> None:
    """Listeners stay where they are, and the log says so."""
    upstream.answer_with(OK)
    value = ["127.0.0.1:1"] if key == "listen" else "127.0.0.1:1"
    update_configuration(relay, configuration(upstream.port, **{key: value}))
    relay.app.reload()
    await relay.log.says("needs? a? ?restart")
    assert (await relay.ask(request())).status == 200
    assert (await relay.page("/healthz")).status == 200


@dataclass
class DeadMount:
    """Holds up whoever reads a file on it, until it answers."""

    asked: threading.Event = field(default_factory=threading.Event)
    answers: threading.Event = field(default_factory=threading.Event)

    def hold_up(self, reading: Callable[..., S]) -> Callable[..., S]:
        """Return what reads a file on it."""

        def read(what: T, **options: object) -> S:
            self.asked.set()
            assert self.answers.wait(FUSE_SECONDS)
            return reading(what, **options)

        return read


async def test_a_file_that_does_not_answer_is_given_up(
    relay: LocalRelay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as one that cannot be read, and is no longer wanted once it can."""
    upstream.answer_with(OK)
    mount, before = DeadMount(), relay.app.lifecycle.runtime
    monkeypatch.setattr(reload, "RELOAD_SECONDS", 0.01)
    monkeypatch.setattr(reload, "load", mount.hold_up(load))
    relay.app.reload()
    await relay.log.says("^not reloaded, the configuration stays as it was$")
    await relay.log.says(r"agent\.yaml:1: cannot be read within 0\.01 s, or a ca_file in it cannot")
    assert await relay.samples("relay_config_reloads_total", "result") == {("failure",): 1}
    mount.answers.set()
    assert (await relay.ask(request())).status == 200
    assert relay.app.lifecycle.runtime is before
    monkeypatch.undo()
    relay.app.reload()
    await relay.log.says("^reloaded ")


async def test_what_a_configuration_names_holds_up_no_call(
    relay: LocalRelay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ca_file is read once more where the configuration is brought to life."""
    upstream.answer_with(OK)
    mount = DeadMount()
    monkeypatch.setattr(forward, "tls_context", mount.hold_up(tls_context))
    relay.app.reload()
    assert await asyncio.to_thread(mount.asked.wait, FUSE_SECONDS)
    assert (await relay.ask(request())).status == 200
    assert not [line for line in relay.log.text if "reloaded" in line]
    mount.answers.set()
    await relay.log.says("^reloaded ")


async def test_a_reload_that_is_asked_for_meanwhile_is_made_after_it(
    relay: LocalRelay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, however often that is: it finds what is in the file by then."""
    mount = DeadMount()
    monkeypatch.setattr(reload, "load", mount.hold_up(load))
    relay.app.reload()
    assert await asyncio.to_thread(mount.asked.wait, FUSE_SECONDS)
    for _ in range(3):
        relay.app.reload()
    mount.answers.set()
    await relay.log.says("^reloaded ", 2)
    relay.path.write_text("")
    relay.app.reload()
    await relay.log.says(r"agent\.yaml:1: is empty")
    counts = await relay.samples("relay_config_reloads_total", "result")
    assert counts == {("success",): 2, ("failure",): 1}


async def test_a_reload_changes_what_is_measured(
    two_relays: LocalRelay, upstream: Upstream
) -> None:
    """A relay that came has its metrics, one that went is no longer up or ready."""
    relay = two_relays
    upstream.answer_with(OK)
    relays = {"second": {"url": f"http://127.0.0.1:{upstream.port}", "grant": "anthropic"}}
    update_configuration(relay, configuration(upstream.port, relays=relays))
    relay.app.reload()
    await relay.log.says("^reloaded ")
    assert (await relay.ask(request("/relay/second/v1/messages"))).status == 200
    ready = await relay.samples("relay_credential_ready", "relay", "grant")
    assert ready == {("anthropic", "anthropic"): 1, ("second", "anthropic"): 1}
    assert ("openai",) not in await relay.samples("relay_upstream_up", "relay")
    assert (await relay.ask(request("/relay/openai/v1/models"))).status == 404


async def test_many_reloads_leave_nothing_behind(relay: LocalRelay, upstream: Upstream) -> None:
    """Connections and tasks of a configuration end with it."""
    agent, caller = await begin_stream(relay, upstream)
    before = len(asyncio.all_tasks())
    for count in range(1, 21):
        relay.app.reload()
        await relay.log.says("^reloaded ", count)
    await relay.page("/healthz")
    assert len(asyncio.all_tasks()) <= before + 2
    await caller.send(chunk(b""))
    assert (await agent.answer()).complete
    await caller.gone()


async def reloads(relay: LocalRelay) -> tuple[dict[tuple[str, ...], float], float]:
    """Return how many reloads there were by result, and when the last one was."""
    counts = await relay.samples("relay_config_reloads_total", "result")
    (moment,) = (await relay.samples("relay_config_last_reload_timestamp_seconds")).values()
    return counts, moment


async def test_reloads_are_counted_and_dated(relay: LocalRelay, upstream: Upstream) -> None:
    """The first loading is dated and no reload; one that fails changes no date."""
    counts, started = await reloads(relay)
    assert counts == {}
    assert 0 <= time.time() - started < 60
    relay.path.write_text("grants: [")
    relay.app.reload()
    await relay.log.says("^not reloaded")
    assert await reloads(relay) == ({("failure",): 1}, started)
    update_configuration(relay, configuration(upstream.port))
    for count in (1, 2):
        relay.app.reload()
        await relay.log.says("^reloaded ", count)
    counts, reloaded = await reloads(relay)
    assert counts == {("failure",): 1, ("success",): 2}
    assert started < reloaded <= time.time()


async def test_the_lag_of_the_event_loop_is_measured(
    relay: LocalRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds the loop up shows at the next tick, among all the others."""
    monkeypatch.setattr(app, "TICK_SECONDS", 0.05)
    metrics = relay.app._metrics
    told: asyncio.Queue[float] = asyncio.Queue()
    noted = metrics.loop_was_late

    def loop_was_late(seconds: float) -> None:
        noted(seconds)
        told.put_nowait(seconds)

    metrics.loop_was_late = loop_was_late  # type: ignore[method-assign]  # the test listens in
    await told.get()
    blocked = time.perf_counter()
    while time.perf_counter() < blocked + 0.3:
        pass
    async with asyncio.timeout(5):
        while await told.get() < 0.2:
            pass
    buckets = await relay.samples("relay_event_loop_lag_seconds_bucket", "le")
    assert buckets[("+Inf",)] > buckets.get(("0.1",), 0)


async def test_readings_of_credentials_are_counted(
    agent: Agent, relay: LocalRelay, upstream: Upstream
) -> None:
    """By grant and result; what was read at the start is no reload."""
    upstream.answer_with(OK)
    name, labels = "relay_credential_reloads_total", ("grant", "result")
    await agent.ask(request())
    assert await relay.samples(name, *labels) == {}
    key = relay.folder / "key"
    for content, results in (
        (NEW_KEY, {"changed": 1.0}),
        ("", {"changed": 1, "failed": 1}),
        (KEY, {"changed": 2, "failed": 1}),
    ):
        (relay.folder / "new").write_text(content)
        (relay.folder / "new").replace(key)
        for _ in range(3):
            await agent.ask(request())
        assert await relay.samples(name, *labels) == {
            ("anthropic", result): count for result, count in results.items()
        }


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
        upstream.stop_listening()
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
    upstream.stop_listening()
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
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "serve", "--config", str(path)),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"relay: cannot listen" in errors
    assert b"Traceback" not in errors


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
