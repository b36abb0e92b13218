"""Names that agents and upstreams chose: whatever is in them, they are text."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from tests.browser.browser import Browser
from tests.browser.events import FAKE_STREAM, event
from tests.harness.messages import MESSAGES, request
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


async def check_harmless(browser: Browser) -> None:
    """See that nothing ran, nothing was made of a name, and none turns a line around."""
    assert await browser.run("return window.harmed ?? null") is None
    assert await browser.run(MADE) == 0
    links = await browser.run(
        "return [...document.querySelectorAll('main a')].map(a => a.protocol)"
    )
    assert set(links) <= {"https:"}
    text = await browser.text("main")
    assert not set(text) & set("\u202e\u2066\u200f\x00\x07\x1b\x7f\u2028\u0085")


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
    await check_harmless(guarded)
    assert await guarded.run("return document.documentElement.scrollWidth") <= 360


async def test_escapes_show_what_does_not_print(browser: Browser, relay: LocalRelay) -> None:
    """So that two names that look alike are told apart, and none turns the line around."""
    script = FAKE_STREAM % json.dumps(event(NAMES["direction"]))
    await browser.command("Page.addScriptToEvaluateOnNewDocument", source=script)
    await browser.open(relay.admin_port)
    await browser.says("#now", r"a\u{202e}b\u{2066}c\u{200f}d")


INLINE = """
const script = document.createElement("script");
script.textContent = "window.ran = true";
document.body.append(script);
return window.ran ?? false;
"""


@pytest.mark.parametrize("policy", ["with", "without"])
async def test_the_policy_is_in_force_and_can_be_taken_away(
    browser: Browser, relay: LocalRelay, policy: str
) -> None:
    """So that what holds without it is the page's own doing."""
    if policy == "without":
        await browser.ignore_policy()
    await browser.open(relay.admin_port)
    assert await browser.run(INLINE) is (policy == "without")


def as_bytes(name: str) -> bytes:
    """Return a name as it crosses a wire."""
    return name.encode("utf-8", "surrogatepass")


def answered(status: int, **body: object) -> bytes:
    """Return an answer of the API's."""
    text = json.dumps(body).encode()
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(text)) + text


@pytest.mark.parametrize("name", NAMES)
async def test_what_a_relay_lets_through_is_text(
    guarded: Browser, relay: LocalRelay, upstream: Upstream, name: str
) -> None:
    """A model, a session, an agent, a path, an error of this name, by the way that calls take."""
    await guarded.resize(360)
    await guarded.open(relay.admin_port)
    text = NAMES[name]
    # What no header can hold is left out: the relay refuses it, as it should.
    line = bytes(byte for byte in as_bytes(text) if byte > 31 and byte != 127).decode("latin-1")
    ids = [f"X-Claude-Code-{kind}-Id: {line[:4_000]}" for kind in ("Session", "Agent")]
    answers = {
        200: answered(200, type="message", model=text, usage={"output_tokens": 7}),
        502: answered(502, type="error", error={"type": text, "message": text}),
    }
    coming = iter(answers.values())
    upstream.answer_with(lambda _: next(coming))
    for status in answers:
        assert (await relay.ask(request(MESSAGES, *ids))).status == status
    # Of a path only what may stand in a target: all of it, and once more as it is, where it may.
    for path in (quote(as_bytes(text)), text if text.isascii() and text.isprintable() else "x"):
        await relay.ask(request(f"/relay/{path.replace(' ', '')}"[:9_000]))
    await guarded.until("document.querySelectorAll('#lately tbody tr').length === 4")
    for button in range(4):
        await guarded.run(f"document.querySelectorAll('#lately button')[{button}].click()")
    await check_harmless(guarded)


async def test_what_a_relay_lets_through_is_shown(
    guarded: Browser, relay: LocalRelay, upstream: Upstream
) -> None:
    """As it was said: whoever looks sees what somebody tried."""
    await guarded.open(relay.admin_port)
    model = "<img src=x onerror=window.harmed=1>"
    upstream.answer_with(answered(200, type="message", model=model, usage={"output_tokens": 7}))
    await relay.ask(request(MESSAGES, "X-Claude-Code-Session-Id: <b>s</b>"))
    await relay.ask(request("/relay/<img/src=x/onerror=window.harmed=1>"))
    await guarded.says("#lately tbody", model)
    await guarded.says("#lately tbody", "/relay/<img/src=x/onerror=window.harmed=1>")
    await guarded.says("#use", "<b>s</b>")
    await check_harmless(guarded)
