"""New configurations, on SIGHUP: what they change, what they cannot, and what they leave behind."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from relay import app, reload
from relay.config import load
from relay.proxy import forward
from relay.upstream.tls import tls_context
from tests.harness import FUSE_SECONDS
from tests.harness.configuration import Config, configuration, write_configuration
from tests.harness.messages import OK, chunk, request
from tests.harness.peer import Agent
from tests.harness.relay import (
    LocalRelay,
    begin_stream,
    relay_process,
    running_relay,
    update_configuration,
)
from tests.harness.secrets import KEY
from tests.harness.upstream import Upstream
from tests.integration.test_app import NEW_KEY

S = TypeVar("S")
T = TypeVar("T")


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
