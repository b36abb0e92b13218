"""The page as somebody reads it: what each section says, and how that changes."""

from __future__ import annotations

import asyncio
import time

import pytest
from selenium.webdriver.common.keys import Keys

from relay import DOCS
from tests.browser.browser import Browser
from tests.browser.calls import SESSION, begin, finish
from tests.harness import FUSE_SECONDS
from tests.harness.messages import MESSAGES, OK, request
from tests.harness.model_answers import MODEL
from tests.harness.relay import LocalRelay, events_of
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.usefixtures("quiet_console")

HEADINGS = ["Chains", "Now", "Lately", "Use", "Wrong"]
LEDGER_HINT = "The relay keeps no ledger"


async def test_before_the_first_call_it_says_how_to_start_one(
    browser: Browser, relay: LocalRelay
) -> None:
    """Five headings, each with a sentence where there is nothing, and the lines to type."""
    await browser.open(relay.admin_port)
    found = await browser.run("return [...document.querySelectorAll('h2')].map(h => h.innerText)")
    assert found == HEADINGS
    assert "relay run -- claude" in await browser.text("#now")
    assert "relay env" in await browser.text("#now")
    assert "No call has ended yet." in await browser.text("#lately")
    assert "Nothing has been used yet." in await browser.text("#use")
    assert LEDGER_HINT in await browser.text("#use")
    assert "Nothing is wrong." in await browser.text("#wrong")
    assert await browser.text("#summary") == "all is well"


async def test_a_call_is_shown_while_it_streams(
    browser: Browser, relay: LocalRelay, upstream: Upstream
) -> None:
    """Model, client, session and tokens as they come; how long it has been silent."""
    await browser.open(relay.admin_port)
    call = await begin(relay, upstream)
    await browser.says("#now", MODEL)
    text = await browser.text("#now tbody")
    assert f"agent · {SESSION}" in text
    assert "44" in text.split()
    assert "~" in text
    assert "1 connections in use" in await browser.text("#chains")
    await browser.until("document.querySelector('#now tbody').innerText.match(/[1-9].? s/)")
    await finish(call)
    await browser.says("#now", "Nothing is in flight.")


async def test_a_call_that_has_ended_shows_its_course(
    browser: Browser, relay: LocalRelay, upstream: Upstream
) -> None:
    """A click opens its timeline, another closes it; times are relative, and exact on hover."""
    await browser.open(relay.admin_port)
    await finish(await begin(relay, upstream))
    await browser.says("#lately", "answered")
    assert "44 / 9" in await browser.text("#lately tbody")
    await browser.run("document.querySelector('#lately button').click()")
    shown = await browser.run(
        "return [...document.querySelectorAll('.timeline .what')].map(each => each.innerText)"
    )
    assert shown == ["admitted", "sent to the API", "first byte", "first token", "end"]
    details = await browser.text(".details")
    assert f"POST {MESSAGES}" in details
    assert "req_1" in details
    times = await browser.run(
        "return [...document.querySelectorAll('.timeline time')].map(t => [t.dateTime, t.title])"
    )
    assert all(moment.endswith("Z") and ":" in title for moment, title in times)
    await browser.run("document.querySelector('#lately tr.ended').click()")
    assert not await browser.run("return document.querySelector('.details') !== null")
    relative = await browser.run("return document.querySelector('#lately time').title")
    assert ":" in relative


async def test_an_upstream_that_is_down_is_said_everywhere(
    browser: Browser, relay: LocalRelay, upstream: Upstream
) -> None:
    """In the first line, in its chain, in words with the remedy; and that it is up again."""
    upstream.answer_with(OK)
    await relay.ask(request())
    await browser.open(relay.admin_port)
    await browser.says(".box.up", "API")
    await upstream.stop_listening()
    upstream.forget()
    assert (await relay.ask(request())).status == 502
    await browser.says("#summary", "1 thing is wrong")
    await browser.says(".box.down", "API")
    assert "nothing answers at http://127.0.0.1" in await browser.text("#wrong")
    where = await browser.run("return document.querySelector('#wrong li a').href")
    assert where == f"{DOCS}/troubleshooting.md#upstream-not-reached"
    outcome = await browser.run("return document.querySelector('#lately a').href")
    assert outcome == where
    assert "nothing answers" in await browser.run(
        "return document.querySelector('[role=status]').textContent"
    )
    await upstream.start(port=upstream.port)
    upstream.answer_with(OK)
    assert (await relay.ask(request())).status == 200
    await browser.says("#summary", "all is well")


async def test_a_missing_credential_is_said(browser: Browser, relay: LocalRelay) -> None:
    """Where it should go in, and where it should come from."""
    (relay.folder / "key").unlink()
    await browser.open(relay.admin_port)
    await browser.says(".credential.bad", "credential anthropic: none")
    assert "credential anthropic" in await browser.text("#wrong")
    assert "is not there" in await browser.text("#wrong")


async def test_a_refused_credential_is_said(
    browser: Browser, relay: LocalRelay, upstream: Upstream
) -> None:
    """The API's 401 is its box's state, and since when is below."""
    upstream.answer_with(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}")
    await relay.ask(request())
    await browser.open(relay.admin_port)
    await browser.says(".box.refused", "API")
    assert "the API refuses the credential anthropic (401) since" in await browser.text("#wrong")
    assert "credential refused upstream" in await browser.text("#lately")


CHAIN = """
const done = arguments[arguments.length - 1];
import("/static/chains.js").then(({ showChains }) => {
  const section = document.createElement("section");
  section.append(document.createElement("p"), document.createElement("div"));
  section.firstChild.className = "empty";
  section.lastChild.className = "body";
  document.body.append(section);
  showChains(section, arguments[0], arguments[1]);
  const boxes = [...section.querySelectorAll("li")];
  done(boxes.map((each) => [each.className, each.innerText.replaceAll("\\n", " | ")]));
});
"""


async def test_a_chain_shows_each_hop_and_each_leg(browser: Browser, relay: LocalRelay) -> None:
    """Up, skipped, gone past the relay; the credential goes in on the last leg alone."""
    await browser.open(relay.admin_port)
    figures = {"p50": 0.4, "p95": 1.25}
    hops = [
        {"name": "headroom", "up": True, "url": "http://localhost:8787", "bypassed": False},
        {"name": "logger", "up": False, "url": "http://localhost:1", "bypassed": False},
        {"name": "other", "up": False, "url": "http://localhost:2", "bypassed": False},
        {"name": "astray", "up": True, "url": "http://localhost:3", "bypassed": True},
    ]
    told = {
        "name": "anthropic",
        "upstream": "https://api.anthropic.com",
        "state": "up",
        "grant": "anthropic",
        "ready": True,
        "refused": False,
        "expires_at": time.time() + 7830,
        "connections": {"idle": 1, "active": 2},
        "legs": {
            "agent": figures,
            "hop headroom": figures | {"added_p50": 0.012, "added_p95": 0.05},
            "API": figures,
        },
        "hops": hops,
    }
    last = {"relay": "anthropic", "hops": [{"name": "logger", "outcome": "skipped"}]}
    parts = await browser.wait_for(CHAIN, [told], [last])
    assert parts == [
        ["box", "agent | first byte 0.40 s / 1.3 s"],
        ["leg", "0.40 s / 1.3 s"],
        ["box up", "headroom | up | adds 12 ms / 50 ms"],
        ["leg", "no call yet"],
        ["box skipped", "logger | skipped | http://localhost:1"],
        ["leg", "no call yet"],
        ["box down", "other | down | http://localhost:2"],
        ["leg", "no call yet"],
        ["box bypassed", "astray | goes past the relay | http://localhost:3"],
        ["leg", "credential anthropic, ends in 2 h 10 min | 0.40 s / 1.3 s"],
        [
            "box up",
            "API | up | https://api.anthropic.com | 2 connections in use, 1 kept",
        ],
    ]


async def test_it_is_read_without_a_mouse(
    browser: Browser, relay: LocalRelay, upstream: Upstream
) -> None:
    """Each link and each call is reached by Tab, and a call opens by the space bar."""
    await finish(await begin(relay, upstream))
    await browser.open(relay.admin_port)
    await browser.says("#lately", "answered")
    focused = "return document.activeElement.innerText.trim()"
    seen = []
    for _ in range(6):
        await browser.press(Keys.TAB)
        seen.append(await browser.run(focused))
        if "ago" in seen[-1] or "now" in seen[-1]:
            break
    assert seen[:4] == ["To what runs", "all is well", "How to read this", "Troubleshooting"]
    await browser.press(Keys.SPACE)
    await browser.says(".details", "first token")
    assert (
        await browser.run("return document.activeElement.getAttribute('aria-expanded')") == "true"
    )
    await browser.press(Keys.ENTER)
    await browser.until("document.querySelector('.details') === null")


async def test_what_is_open_stays_open(
    browser: Browser, relay: LocalRelay, upstream: Upstream
) -> None:
    """While other calls end above it; and the focus stays where it is."""
    await browser.open(relay.admin_port)
    await finish(await begin(relay, upstream))
    await browser.says("#lately", "answered")
    await browser.run("document.querySelector('#lately button').focus()")
    await browser.press(Keys.SPACE)
    await relay.ask(request("/relay/unknown/x"))
    await browser.says("#lately tbody tr:first-child", "no relay of that name")
    assert "first token" in await browser.text("#lately tbody tr:nth-child(3)")
    assert (
        await browser.run("return document.activeElement.getAttribute('aria-expanded')") == "true"
    )


async def test_a_hidden_page_reads_nothing(browser: Browser, relay: LocalRelay) -> None:
    """Its stream ends, and begins anew when it is looked at."""
    await browser.open(relay.admin_port)
    readers = events_of(relay)._readers
    assert len(readers) == 1
    hidden = (
        "Object.defineProperty(document, 'visibilityState', {value: '%s', configurable: true});"
    )
    change = "document.dispatchEvent(new Event('visibilitychange'))"
    await browser.run(hidden % "hidden" + change)
    async with asyncio.timeout(FUSE_SECONDS):
        while readers:
            relay.app._pages.connections._changed.clear()
            await relay.app._pages.connections._changed.wait()
    await relay.ask(request("/relay/unknown/x"))
    await browser.run(hidden % "visible" + change)
    await browser.says("#lately", "no relay of that name")
