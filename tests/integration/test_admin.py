"""The admin listener: its pages of data, who may see them, and that agents may not."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from prometheus_client.openmetrics import parser as openmetrics

from relay.app import ADMIN_CONNECTIONS
from relay.proxy.readiness import states_of
from relay.telemetry.metrics import HopState, Metrics
from tests.harness.configuration import configuration
from tests.harness.messages import CHUNKED, EVENTS, MESSAGES, OK, chunk, request
from tests.harness.model_answers import MESSAGE_STREAM, MESSAGE_TOKENS, MODEL
from tests.harness.relay import LocalRelay, Relay, families_of, running_relay
from tests.harness.secrets import BODY_SECRET, KEY, QUERY_SECRET, SECRETS, TOKEN
from tests.harness.upstream import Upstream

PAGES = ["/metrics", "/healthz", "/readyz", "/calls"]


async def test_metrics_are_prometheus_text(relay: LocalRelay, upstream: Upstream) -> None:
    """The text format is what a scrape gets that asks for nothing, and holds no secret."""
    upstream.answer_with(OK)
    await relay.ask(request())
    await relay.ask(request(token=None))
    await relay.log.calls(2)
    page = await relay.page("/metrics")
    assert page.values("content-type")[0].startswith(b"text/plain; version=")
    text = page.body.decode()
    names = {family.name for family in families_of(text)}
    assert {"relay_requests", "relay_requests_in_flight", "relay_rejections"} <= names
    assert not any("_created" in line for line in text.splitlines())
    assert not any(secret in text for secret in SECRETS)
    assert all(name.startswith("relay_") for name in names)


async def test_metrics_are_openmetrics_for_who_accepts_them(relay: LocalRelay) -> None:
    """Prometheus asks for OpenMetrics, and gets it whole."""
    accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    page = await relay.page("/metrics", accept)
    assert page.values("content-type")[0].startswith(b"application/openmetrics-text")
    text = page.body.decode()
    assert text.endswith("# EOF\n")
    families = openmetrics.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # it has no types
    assert {"relay_requests", "relay_build"} <= {family.name for family in families}


async def test_every_series_exists_from_the_start(two_relays: LocalRelay) -> None:
    """A first failure is a step from 0, which rate() sees."""
    text = (await two_relays.page("/metrics")).body.decode()
    samples = [sample for family in families_of(text) for sample in family.samples]
    for name, operation in (("anthropic", "messages"), ("openai", "chat_completions")):
        found = {
            (each.labels["outcome"], each.labels["code"])
            for each in samples
            if each.name == "relay_requests_total"
            and each.labels["relay"] == name
            and each.labels["client"] == "agent"
            and each.labels["operation"] == operation
        }
        assert {("ok", "200"), ("timeout", "none"), ("upstream_error", "529")} <= found
    reasons = {s.labels["reason"] for s in samples if s.name == "relay_rejections_total"}
    assert {"token", "host", "origin", "target", "path", "relay", "framing"} <= reasons


async def test_calls_in_flight_show(relay: LocalRelay, upstream: Upstream) -> None:
    """The gauge counts a call from its head to its end."""
    agent = await relay.agent()
    await agent.send(request())
    caller, _ = await upstream.called()
    shown = await Relay._families(relay, "relay_requests_in_flight")
    values = {
        sample.labels["relay"]: sample.value
        for family in shown
        for sample in family.samples
        if sample.name == "relay_requests_in_flight"
    }
    assert values == {"anthropic": 1}
    await caller.send(CHUNKED + chunk(b""))
    assert (await agent.answer()).complete
    await relay.log.calls()
    assert await relay.in_flight() == 0


async def test_health_is_200_while_the_process_serves(relay: LocalRelay) -> None:
    """It asks for nothing but an answer."""
    page = await relay.page("/healthz")
    assert (page.status, json.loads(page.body)) == (200, {"status": "ok"})
    assert page.values("cache-control") == [b"no-store"]
    assert page.values("server") == []


@pytest.mark.parametrize("version", ["x", "1.x", "1..0", "\xe9"])
async def test_an_accept_that_is_none_gets_text(relay: LocalRelay, version: str) -> None:
    """A scrape is answered, whatever version of a format it names."""
    page = await relay.page("/metrics", f"Accept: application/openmetrics-text; version={version}")
    assert page.status == 200
    assert page.values("content-type")[0].startswith(b"text/plain; version=")
    assert b"relay_build_info" in page.body


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
async def test_a_fault_in_a_page_is_500(
    relay: LocalRelay, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """An answer of the relay's own that names no software; the page is there again after it."""

    def fail(*_: object) -> NoReturn:
        raise ValueError("details of the fault")

    agent = await relay.agent(port=relay.admin_port)
    data = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with monkeypatch.context() as patched:
        patched.setattr(Metrics, "expose", fail)
        patched.setattr("relay.admin.health.readiness", fail)
        answer = await agent.ask(data)
    assert (answer.status, answer.outcome) == (500, "internal_error")
    assert answer.error["type"] == "api_error"
    assert answer.values("server") == []
    assert b"details" not in answer.body
    assert "details of the fault" in relay.log.text[-1]
    relay.log.text.clear()
    assert (await agent.ask(data)).status == 200


async def test_readiness_reports_without_secrets(relay: LocalRelay, upstream: Upstream) -> None:
    """Relays with their upstream and credential, clients with their token's state."""
    status, report = await relay.readiness()
    assert (status, report["status"]) == (200, "ready")
    shown = report["relays"]["anthropic"]
    assert shown["credential"] == {"grant": "anthropic", "ready": True}
    assert shown["upstream"]["url"] == f"http://127.0.0.1:{upstream.port}"
    assert report["clients"] == {"agent": {"token": {"ready": True}}}
    assert not any(secret in json.dumps(report) for secret in SECRETS)


async def test_an_upstream_that_is_down_is_reported_and_ready(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """Agents get a good error message; restarting the relay would mend nothing."""
    await upstream.stop_listening()
    assert (await relay.ask(request())).status == 502
    status, report = await relay.readiness()
    assert status == 200
    assert report["relays"]["anthropic"]["upstream"]["state"] == "down"


@pytest.mark.parametrize("path", PAGES)
async def test_head_has_no_body(relay: LocalRelay, path: str) -> None:
    """HEAD gets the head of what GET gets."""
    page = await relay.page(path, method="HEAD")
    assert (page.status, page.body) == (200, b"")


@pytest.mark.parametrize("path", PAGES)
async def test_other_methods_are_405(relay: LocalRelay, path: str) -> None:
    """Nothing can be changed there."""
    for method in ("POST", "PUT", "DELETE"):
        assert (await relay.page(path, method=method)).status == 405


@pytest.mark.parametrize(
    "path", ["/page", "/metricsx", "/metrics/", "/debug", "/relay/anthropic/x"]
)
async def test_other_pages_are_404(relay: LocalRelay, path: str) -> None:
    """There are few pages, and no relay is served there."""
    assert (await relay.page(path)).status == 404


async def test_a_query_is_ignored(relay: LocalRelay) -> None:
    """Scrapers may add parameters."""
    assert (await relay.page("/healthz?verbose=1")).status == 200


@pytest.mark.parametrize("path", PAGES)
async def test_a_foreign_host_is_421(relay: LocalRelay, path: str) -> None:
    """A page that rebinds its name to loopback sees nothing."""
    agent = await relay.agent(port=relay.admin_port)
    answer = await agent.ask(f"GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode())
    assert answer.status == 421
    assert (
        await agent.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    ).status == 200


async def test_web_pages_are_refused(relay: LocalRelay) -> None:
    """Neither an Origin nor a browser's cross-site request is answered."""
    assert (await relay.page("/metrics", "Origin: http://evil.example")).status == 403
    assert (await relay.page("/metrics", "Sec-Fetch-Site: cross-site")).status == 403
    assert (await relay.page("/metrics", "Sec-Fetch-Site: none")).status == 200


async def test_bad_requests_are_refused_as_elsewhere(relay: LocalRelay) -> None:
    """The same connection stands before both listeners."""
    agent = await relay.agent(port=relay.admin_port)
    answer = await agent.ask(b"\x16\x03\x01")
    assert (answer.status, answer.outcome) == (400, "rejected")
    assert await agent.rest() == b""
    assert (await relay.page("/../metrics")).status == 400
    assert (await relay.page("/healthz")).status == 200


@pytest.mark.parametrize("path", PAGES)
async def test_agents_do_not_see_the_pages(
    relay: LocalRelay, upstream: Upstream, path: str
) -> None:
    """On the relays' listener there are no such pages, under no name."""
    for target in (path, f"/relay{path}", f"/relay/anthropic{path}"):
        answer = await relay.ask(request(target, method="GET", body=None))
        assert answer.status in (403, 404)
    assert upstream.callers == []


async def test_pages_are_not_measured(relay: LocalRelay) -> None:
    """A scrape is no call."""
    for path in PAGES:
        await relay.page(path)
    assert await relay.samples("relay_requests_total", "outcome") == {}
    assert [line for line in relay.log.lines if line["event"] == "call"] == []


async def test_a_body_on_a_page_harms_nothing(relay: LocalRelay) -> None:
    """A scrape with a body is answered, and the next on its connection too."""
    agent = await relay.agent(port=relay.admin_port)
    data = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
    for _ in range(2):
        assert (await agent.ask(data)).status == 200


async def test_no_token_opens_the_pages_to_a_foreign_host(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Clients are for calls: their tokens mean nothing here."""
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        agent = await relay.agent(port=relay.admin_port)
        data = f"GET /metrics HTTP/1.1\r\nHost: evil.example\r\nx-api-key: {TOKEN}\r\n\r\n"
        assert (await agent.ask(data.encode())).status == 421
        assert (await relay.ask(request(MESSAGES.replace("v1", "v2")))).status == 403


# Calls


async def calls_page(relay: LocalRelay) -> dict[str, Any]:
    """Return what /calls shows, and see that no secret is in it."""
    page = await relay.page("/calls")
    assert (page.status, page.values("content-type")) == (200, [b"application/json"])
    assert page.values("cache-control") == [b"no-store"]
    assert not any(secret in page.body.decode() for secret in SECRETS)
    return dict(json.loads(page.body))


def secretive_request() -> bytes:
    """Return a request with a secret wherever one can be."""
    body = json.dumps({"model": "m", "metadata": BODY_SECRET}).encode()
    lines = ("X-Claude-Code-Session-Id: 1c-2", "x-claude-code-agent-id: a-7", f"Cookie: {KEY}")
    return request(f"{MESSAGES}?key={QUERY_SECRET}", *lines, body=body)


async def test_calls_in_flight_are_shown_as_they_go(relay: LocalRelay, upstream: Upstream) -> None:
    """With client, model, age and the tokens so far; and nothing secret."""
    before = await calls_page(relay)
    assert (before["in_flight"], before["recent"]) == ([], [])
    agent = await relay.agent()
    await agent.send(secretive_request())
    caller, _ = await upstream.called()
    (shown,) = (await calls_page(relay))["in_flight"]
    assert shown["age"] >= 0
    assert (shown["relay"], shown["client"], shown["path"]) == ("anthropic", "agent", MESSAGES)
    assert (shown["session_id"], shown["agent_id"]) == ("1c-2", "a-7")
    assert "outcome" not in shown
    start, *rest = MESSAGE_STREAM.pieces
    head = EVENTS.replace(b"\r\n\r\n", b"\r\nrequest-id: req_1\r\n\r\n")
    await caller.send(head + chunk(start))
    answer = await agent.head()
    await agent.piece(answer)
    (shown,) = (await calls_page(relay))["in_flight"]
    assert (shown["model"], shown["tokens"]["input"]) == (MODEL, MESSAGE_TOKENS["input"])
    assert (shown["status"], shown["request_id"]) == (200, "req_1")
    assert shown["response_bytes"] == len(start)
    await caller.send(b"".join(map(chunk, rest)) + chunk(b""))
    await agent.finish(answer)
    await relay.log.calls()
    after = await calls_page(relay)
    assert after["in_flight"] == []
    (shown,) = after["recent"]
    assert (shown["outcome"], shown["tokens"]) == ("ok", MESSAGE_TOKENS)
    assert shown["finished"] <= after["time"] + 1


async def test_recent_calls_tell_of_every_end(relay: LocalRelay, upstream: Upstream) -> None:
    """Refused ones, failed ones and good ones, the latest last."""
    upstream.answer_with(OK)
    await relay.ask(request())
    await relay.ask(request(token=KEY))
    await relay.ask(request("/relay/unknown/v1/messages"))
    await relay.log.calls(3)
    recent = (await calls_page(relay))["recent"]
    assert [call["outcome"] for call in recent] == ["ok", "rejected", "rejected"]
    assert [call.get("reason") for call in recent] == [None, "token", "relay"]


async def test_no_more_than_a_hundred_calls_are_shown(relay: LocalRelay) -> None:
    """Whatever comes in."""
    agent = await relay.agent()
    for number in range(110):
        await agent.ask(request(f"/relay/unknown/{number}"))
    await relay.log.calls(110)
    recent = (await calls_page(relay))["recent"]
    assert [call["path"] for call in recent] == [f"/relay/unknown/{n}" for n in range(10, 110)]


async def test_calls_show_their_relays_too(relay: LocalRelay, upstream: Upstream) -> None:
    """Whether the upstream is there, whether there is a credential, and what is left."""
    reset = f"{time.time() + 3600:.0f}"
    lines = (
        "anthropic-ratelimit-requests-limit: 4000",
        "anthropic-ratelimit-requests-remaining: 3999",
        "anthropic-ratelimit-unified-5h-utilization: 0.25",
        f"anthropic-ratelimit-unified-5h-reset: {reset}",
    )
    head = "\r\n".join(["HTTP/1.1 200 OK", *lines, "content-length: 2", "", "ok"])
    upstream.answer_with(head.encode())
    await relay.ask(request())
    shown = (await calls_page(relay))["relays"]
    assert shown == {
        "anthropic": {
            "upstream": "up",
            "credential": True,
            "refused": False,
            "limits": [{"kind": "requests", "limit": 4000, "remaining": 3999}],
            "quotas": [{"window": "5h", "utilization": 0.25, "reset": float(reset)}],
        }
    }


@pytest.mark.parametrize(("up", "word"), [(True, "up"), (False, "down"), (None, "unknown")])
async def test_calls_show_how_each_hop_stands(
    relay: LocalRelay, monkeypatch: pytest.MonkeyPatch, up: bool | None, word: str
) -> None:
    """In the chain's order; where it listens is in no page."""
    hops = tuple(HopState(name, up, "http://localhost:8787", bypassed=True) for name in "ba")
    monkeypatch.setattr(
        "relay.admin.calls.states_of",
        lambda runtime: [replace(state, hops=hops) for state in states_of(runtime)],
    )
    shown = (await calls_page(relay))["relays"]["anthropic"]["hops"]
    assert shown == [{"name": name, "state": word, "bypassed": True} for name in "ba"]


async def test_calls_show_what_is_missing(two_relays: LocalRelay, upstream: Upstream) -> None:
    """An upstream that is gone, a credential that is not there."""
    (two_relays.folder / "openai_key").unlink()
    await upstream.stop_listening()
    assert (await two_relays.ask(request())).status == 502
    shown = (await calls_page(two_relays))["relays"]
    assert (shown["anthropic"]["upstream"], shown["anthropic"]["credential"]) == ("down", True)
    assert shown["openai"]["credential"] is False
    assert (shown["openai"]["limits"], shown["openai"]["quotas"]) == ([], [])


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("OPTIONS / HTTP/1.0\r\n", 204),
        ("OPTIONS /healthz HTTP/1.1\r\nHost: localhost\r\n", 204),
        ("GET /healthz HTTP/1.0\r\n", 200),
        ("HEAD /healthz HTTP/1.0\r\n", 200),
        ("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n", 200),
        (f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nAccept: {'x' * 16_000}\r\n", 200),
        (f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {'x' * 16_000}\r\n", 200),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + "Accept: a/b\r\n" * 127, 200),
        (f"GET /healthz?{'x' * 16_000} HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("GET /healthz HTTP/1.1\r\n", 400),
        ("OPTIONS /healthz HTTP/1.1\r\nHost: evil.test\r\n", 421),
        ("GET /healthz HTTP/1.0\r\nHost: evil.test\r\n", 421),
        ("GET /healthz HTTP/1.0\r\nOrigin: http://evil.test\r\n", 403),
        ("POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n", 405),
        ("BREW /healthz HTTP/1.1\r\nHost: localhost\r\n", 405),
        ("GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n", 400),
        ("GET /%2e%2e/healthz HTTP/1.1\r\nHost: localhost\r\n", 400),
        ("GET /x HTTP/1.1\r\nHost: localhost\r\n", 404),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nx-sk-ant-api03 : 1\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n", 400),
    ],
)
async def test_each_question_has_its_answer(relay: LocalRelay, head: str, status: int) -> None:
    """Health checks of every kind are answered; nothing names software, or says what was sent."""
    agent = await relay.agent(port=relay.admin_port)
    await agent.send(f"{head}\r\n".encode())
    bodiless = head.startswith("HEAD") or status == 204
    page = await agent.answer(bodiless=bodiless)
    assert page.status == status
    assert page.values("server") == []
    assert b"sk-ant" not in page.body
    if status in (204, 405):
        assert page.values("allow") == [b"GET, HEAD, OPTIONS"]
    assert not any("sk-ant" in line or "aiohttp" in line for line in relay.log.text)
    assert (await relay.page("/healthz")).status == 200


async def test_pages_are_answered_one_after_another_on_one_connection(relay: LocalRelay) -> None:
    """Pipelined ones too, in their order."""
    agent = await relay.agent(port=relay.admin_port)
    ask = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    await agent.send("".join(ask.format(path) for path in ("/healthz", "/x", "/readyz")).encode())
    assert [(await agent.answer()).status for _ in range(3)] == [200, 404, 200]


async def test_nobody_takes_all_connections(relay: LocalRelay) -> None:
    """The one that has been idle longest makes room; calls are not counted with them."""
    agents = [await relay.agent(port=relay.admin_port) for _ in range(ADMIN_CONNECTIONS)]
    ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for agent in agents:
        assert (await agent.ask(ask)).status == 200
    assert (await relay.page("/healthz")).status == 200
    await agents[0].gone()
    assert (await agents[-1].ask(ask)).status == 200


async def test_many_at_once_take_no_more_than_one_after_another(relay: LocalRelay) -> None:
    """Each makes room by another's leaving, also before the event loop has told of that."""
    port, count = relay.admin_port, 3 * ADMIN_CONNECTIONS
    agents = await asyncio.gather(*(relay.agent(port=port) for _ in range(count)))
    # In whatever order they were accepted.
    leaving = [asyncio.create_task(agent.gone()) for agent in agents]
    gone = asyncio.as_completed(leaving)
    for _ in range(count - ADMIN_CONNECTIONS):
        assert await next(gone)
    assert len(relay.app._pages.connections) == ADMIN_CONNECTIONS
    for each in leaving:
        each.cancel()


async def test_a_scrape_lets_calls_have_their_turn(
    relay: LocalRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop goes round between one metric and the next."""
    loop, expose = asyncio.get_running_loop(), Metrics.expose
    turns: list[str] = []

    def noted(*arguments: object) -> tuple[bytes, str]:
        turns.append("metric")
        loop.call_soon(turns.append, "turn")
        return expose(*arguments)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(Metrics, "expose", noted)
    page = await relay.page("/metrics")
    text = page.body.decode()
    assert turns.count("metric") > len(families_of(text))
    # Two at once: what ends the text, and the first.
    assert "metric metric metric" not in " ".join(turns)
