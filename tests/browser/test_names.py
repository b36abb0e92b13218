"""Names that agents and upstreams chose: whatever is in them, they are text."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.browser.browser import Browser
from tests.browser.events import FAKE_STREAM, event
from tests.harness.messages import request
from tests.harness.relay import LocalRelay
from tests.harness.upstream import Upstream

MARKUP = "<img src=x onerror=window.harmed=1><script>window.harmed=1</script>"
NAMES = {
    "markup": f"{MARKUP}<svg onload=window.harmed=1>\"'><iframe src=javascript:alert(1)>",
    "template": "${window.harmed=1}{{window.harmed=1}}`+(window.harmed=1)+`",
    "direction": "a\u202eb\u2066c\u200fd",
    "control": "\x00\x07\x1b[31m\r\nline\u2028next\x7f\u0085",
    "surrogate": "\ud800x",
    "long": "m" * 10_000,
    "words": "word " * 2_000,
    "combining": "Z" + "\u0301" * 500,
    "prototype": "__proto__",
}
MADE = "return document.querySelectorAll('main :is(img, script, svg, iframe, object)').length"


@pytest.fixture(params=["with", "without"])
async def guarded(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[Browser]:
    """A tab with the Content-Security-Policy, and without it."""
    if request.param == "without":
        await browser.ignore_policy()
    yield browser
    await browser.read_logs()
    assert browser.messages == []


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_is_text(guarded: Browser, relay: LocalRelay, name: str) -> None:
    """In every place where one is shown, closed and opened, on a narrow page as well."""
    script = FAKE_STREAM % json.dumps(event(NAMES[name]))
    await guarded.command("Page.addScriptToEvaluateOnNewDocument", source=script)
    await guarded.resize(360)
    await guarded.open(relay.admin_port)
    await guarded.until("document.querySelector('#lately button') !== null")
    await guarded.run("document.querySelector('#lately button').click()")
    await guarded.run("for (const each of document.querySelectorAll('main bdi')) each.click()")
    assert await guarded.run("return window.harmed ?? null") is None
    assert await guarded.run(MADE) == 0
    links = await guarded.run(
        "return [...document.querySelectorAll('main a')].map(a => a.protocol)"
    )
    assert set(links) <= {"https:"}
    assert await guarded.run("return document.documentElement.scrollWidth") <= 360
    text = await guarded.text("main")
    assert not set(text) & set("\u202e\u2066\u200f\x00\x07\x1b\x7f\u2028\u0085")


async def test_escapes_show_what_does_not_print(browser: Browser, relay: LocalRelay) -> None:
    """So that two names that look alike are told apart, and none turns the line around."""
    script = FAKE_STREAM % json.dumps(event(NAMES["direction"]))
    await browser.command("Page.addScriptToEvaluateOnNewDocument", source=script)
    await browser.open(relay.admin_port)
    await browser.says("#now", r"a\u{202e}b\u{2066}c\u{200f}d")


async def test_what_a_relay_lets_through_is_text(
    guarded: Browser, relay: LocalRelay, upstream: Upstream
) -> None:
    """A model, a path and a session of markup, by the way that calls take."""
    await guarded.open(relay.admin_port)
    model = "<img src=x onerror=window.harmed=1>"
    body = json.dumps({"model": model, "usage": {"output_tokens": 7}, "type": "message"}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    upstream.answer_with(head % len(body) + body)
    await relay.ask(request("/relay/anthropic/v1/messages", "X-Claude-Code-Session-Id: <b>s</b>"))
    await relay.ask(request("/relay/<img/src=x/onerror=window.harmed=1>"))
    await guarded.says("#lately tbody", model)
    await guarded.says("#lately tbody", "/relay/<img/src=x/onerror=window.harmed=1>")
    await guarded.says("#use", "<b>s</b>")
    assert await guarded.run("return window.harmed ?? null") is None
    assert await guarded.run(MADE) == 0
