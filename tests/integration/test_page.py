"""The page's files on the admin listener: who gets them, and in which headers."""

from __future__ import annotations

import json
import re

import pytest

from relay import DOCS
from relay.downstream.transport import AgentTransport
from tests.harness.messages import OK, request
from tests.harness.relay import LocalRelay
from tests.harness.upstream import Upstream

OWN = ["/", "/static/page.js", "/static/page.css", "/calls", "/events"]
EVERYWHERE = ["/metrics", "/healthz", "/readyz"]
NAVIGATION = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
HEADERS = {
    "content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": b"same-origin",
    "x-content-type-options": b"nosniff",
    "referrer-policy": b"no-referrer",
}


async def status(relay: LocalRelay, path: str, *lines: str) -> int:
    """Return the status of a page, of which no more than the head is read."""
    agent = await relay.agent(port=relay.admin_port)
    head = [f"GET {path} HTTP/1.1", f"Host: localhost:{relay.admin_port}", *lines, "", ""]
    await agent.send("\r\n".join(head).encode())
    answer = await agent.head()
    agent.leave()
    return answer.status


async def test_the_page_is_html_with_its_parts(relay: LocalRelay) -> None:
    """Nothing in it leads elsewhere, but for the docs; each part is served as what it is."""
    page = await relay.page("/")
    text = page.body.decode()
    assert page.values("content-type") == [b"text/html; charset=utf-8"]
    assert DOCS in text
    assert "{{" not in text
    parts = re.findall(r'(?:src|href)="(/static/[^"]+)"', text)
    assert {"/static/page.css", "/static/page.js"} <= set(parts)
    for part in parts:
        answer = await relay.page(part)
        kind = {"css": b"text/css", "js": b"text/javascript", "svg": b"image/svg+xml"}
        assert answer.values("content-type")[0].startswith(kind[part.rpartition(".")[2]])


@pytest.mark.parametrize("path", ["/static/", "/static/x.js", "/static/..%2f__init__.py", "/index"])
async def test_nothing_else_is_served(relay: LocalRelay, path: str) -> None:
    """A name that is none of the page's parts is no file."""
    assert (await relay.page(path)).status in (400, 404)


@pytest.mark.parametrize(
    ("path", "method", "lines", "expected"),
    [
        ("/", "GET", (), 200),
        ("/events", "HEAD", (), 200),
        ("/metrics", "GET", (), 200),
        ("/x", "GET", (), 404),
        ("/", "OPTIONS", (), 204),
        ("/", "POST", (), 405),
        ("/calls", "GET", ("Origin: http://evil.test",), 403),
        ("/../x", "GET", (), 400),
        ("/", "GET", ("Content-Length: +1",), 400),
    ],
)
async def test_every_answer_keeps_other_sites_out(
    relay: LocalRelay, path: str, method: str, lines: tuple[str, ...], expected: int
) -> None:
    """Also one that is an error, and one that is made before aiohttp sees the request."""
    agent = await relay.agent(port=relay.admin_port)
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]
    await agent.send("\r\n".join(head).encode())
    answer = await agent.head(bodiless=True)
    assert answer.status == expected
    assert {name: b"".join(answer.values(name)) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("path", [*OWN, *EVERYWHERE])
async def test_the_pages_own_requests_pass(relay: LocalRelay, path: str) -> None:
    """Browsers send an Origin for module scripts, and say where every request comes from."""
    origin = f"Origin: http://localhost:{relay.admin_port}"
    assert await status(relay, path, origin, "Sec-Fetch-Site: same-origin") == 200
    assert await status(relay, path, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors") == 200
    assert await status(relay, path, "Sec-Fetch-Site: none", *NAVIGATION) == 200


@pytest.mark.parametrize("path", [*OWN, *EVERYWHERE])
@pytest.mark.parametrize(
    "lines",
    [
        ("Origin: http://localhost:1", "Sec-Fetch-Site: same-site"),
        ("Origin: http://localhost:1", "Sec-Fetch-Site: same-origin"),
        ("Origin: null", "Sec-Fetch-Site: same-origin"),
        ("Origin: http://localhost:{port}",),
        ("Origin: https://localhost:{port}", "Sec-Fetch-Site: same-origin"),
        ("Origin: http://localhost:{port}", "Sec-Fetch-Site: none"),
        ("Origin: http://localhost:{port}", "Sec-Fetch-Site: cross-site"),
        ("Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: same-origin"),
        ("Origin: http://localhost:{port}", "Origin: http://localhost:{port}"),
        ("Sec-Fetch-Site: same-site",),
        ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"),
        ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"),
        ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: document"),
        ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"),
    ],
)
async def test_other_sites_and_ports_are_refused(
    relay: LocalRelay, path: str, lines: tuple[str, ...]
) -> None:
    """On every path, whatever else they say of themselves."""
    sent = (line.format(port=relay.admin_port) for line in lines)
    assert await status(relay, path, *sent) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_link_elsewhere_leads_to_the_page_alone(relay: LocalRelay, site: str) -> None:
    """A dashboard may link to it; to nothing else of this listener."""
    for path, expected in {"/": 200, "/?from=grafana": 200}.items():
        assert await status(relay, path, f"Sec-Fetch-Site: {site}", *NAVIGATION) == expected
    for path in [*OWN[1:], *EVERYWHERE]:
        assert await status(relay, path, f"Sec-Fetch-Site: {site}", *NAVIGATION) == 403
    origin = "Origin: http://elsewhere.test"
    assert await status(relay, "/", f"Sec-Fetch-Site: {site}", origin, *NAVIGATION) == 403


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"])
async def test_the_page_is_for_loopback_alone(
    relay: LocalRelay, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Beyond it there are metrics and health, and what names no address."""
    monkeypatch.setattr(AgentTransport, "local_address", property(lambda _: address))
    for path in OWN:
        page = await relay.page(path)
        assert page.status == 404
        assert b"loopback alone" in page.body
    for path in EVERYWHERE:
        assert (await relay.page(path)).status == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.4.2", "::1", "::ffff:127.0.0.1"])
async def test_every_loopback_address_has_the_page(
    relay: LocalRelay, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """What `ssh -L` and `kubectl port-forward` connect to."""
    monkeypatch.setattr(AgentTransport, "local_address", property(lambda _: address))
    assert [await status(relay, path) for path in OWN] == [200] * len(OWN)


async def test_readiness_beyond_loopback_names_no_address(
    relay: LocalRelay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where a relay forwards to, nor in the words of what is wrong."""
    await upstream.stop_listening()
    assert (await relay.ask(request())).status == 502
    _, here = await relay.readiness()
    where = f"http://127.0.0.1:{upstream.port}"
    assert here["relays"]["anthropic"]["upstream"] == {"url": where, "state": "down"}
    (problem,) = here["problems"]
    assert problem.startswith(f"upstream of relay anthropic: nothing answers at {where}")
    monkeypatch.setattr(AgentTransport, "local_address", property(lambda _: "192.0.2.1"))
    _, there = await relay.readiness()
    assert there["relays"]["anthropic"]["upstream"] == {"state": "down"}
    assert where not in json.dumps(there)
    assert "problems" not in there


async def test_a_relay_that_is_well_has_no_problem(relay: LocalRelay, upstream: Upstream) -> None:
    """Then the list is there, and empty."""
    upstream.answer_with(OK)
    await relay.ask(request())
    assert (await relay.readiness())[1]["problems"] == []
