"""Chains: each relay's way to the API as a line of boxes, and what is not well on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.browser import Browser
from tests.browser.calls import HEAD, ChainCall
from tests.harness.chain import HOP, Chain, running_chain
from tests.harness.messages import OK, request
from tests.harness.model_answers import MESSAGE_STREAM

pytestmark = pytest.mark.usefixtures("quiet_console")

# What the line of boxes shows: of each box its classes, of each leg its texts.
PARTS = """
return [...document.querySelectorAll(".chain li")].map((each) =>
  [each.className, each.innerText.replaceAll("\\n", " | ")]);
"""


async def parts(browser: Browser) -> list[list[str]]:
    """Return what the chain shows, in its order."""
    return [list(each) for each in await browser.run(PARTS)]


async def a_call(chain: Chain) -> None:
    """Make a call that goes all the way."""
    call = await ChainCall.begin(chain)
    await call.answer(HEAD)
    for piece in MESSAGE_STREAM.pieces:
        await call.write(piece)
    await call.end()


async def test_a_call_shows_on_each_box_and_leg(browser: Browser, chain: Chain) -> None:
    """Up, with what each leg took, what the hop added, and where the credential goes in."""
    await browser.open(chain.relay.admin_port)
    await a_call(chain)
    await browser.until("document.querySelector('.leg .figures').innerText !== 'no call yet'")
    agent, first, hop, last, api = await parts(browser)
    took = r"\d+(\.\d+)? m?s / \d"
    for shown in (agent, first, hop, last):
        assert re.search(took, shown[1])
    assert agent[1].startswith("agent | first byte ")
    assert (hop[0], hop[1].split(" | ")[:2]) == ("box up", [HOP, "up"])
    assert hop[1].split(" | ")[2].startswith("adds ")
    assert "credential" not in first[1]
    assert last[1].startswith("credential anthropic | ")
    assert api[0] == "box up"
    assert api[1].startswith(f"API | up | http://127.0.0.1:{chain.api.port} | ")
    assert api[1].endswith("0 connections in use, 0 kept")


async def test_its_timeline_has_each_leg(browser: Browser, chain: Chain) -> None:
    """Out and back, in their order, and what the hop did."""
    await a_call(chain)
    await browser.open(chain.relay.admin_port)
    await browser.says("#lately", "answered")
    await browser.run("document.querySelector('#lately button').click()")
    shown = await browser.run(
        "return [...document.querySelectorAll('.timeline .what')].map(each => each.innerText)"
    )
    assert shown == [
        "admitted",
        f"sent to {HOP}",
        f"back from {HOP}",
        "sent to the API",
        "first byte from the API",
        f"first byte from {HOP}",
        "first byte",
        "first token",
        "end",
    ]
    assert f"{HOP}\npassed, " in await browser.text(".details dl")


async def test_headroom_down_is_said(browser: Browser, chain: Chain) -> None:
    """In the first line, on its box, in words with the remedy; and that it is up again."""
    await browser.open(chain.relay.admin_port)
    await chain.hops[0].stop_listening()
    assert (await chain.relay.ask(request())).status == 502
    await browser.says("#summary", "1 thing is wrong")
    await browser.says(".box.down", f"{HOP}\ndown")
    wrong = await browser.text("#wrong")
    assert f"hop {HOP} of relay anthropic" in wrong
    assert f"nothing answers at http://127.0.0.1:{chain.hops[0].port}" in wrong
    await browser.says("#lately", "the upstream was not reached")
    await chain.hops[0].start(port=chain.hops[0].port)
    await a_call(chain)
    await browser.says("#summary", "all is well")
    await browser.says(".box.up", HOP)


async def test_a_hop_that_is_left_out_is_said(browser: Browser, tmp_path: Path) -> None:
    """Calls go on, and the page is honest that it is not with them."""
    async with running_chain(tmp_path, if_down="skip") as chain:
        await browser.open(chain.relay.admin_port)
        await chain.hops[0].stop_listening()
        chain.api.answer_with(OK)
        assert (await chain.relay.ask(request())).status == 200
        await browser.says(".box.skipped", f"{HOP}\nskipped")
        assert "calls go on without it" in await browser.text("#wrong")


async def test_a_hop_that_does_not_come_back_is_said(browser: Browser, chain: Chain) -> None:
    """It has a key of its own: with where it should send on to."""
    await browser.open(chain.relay.admin_port)
    agent, hop, _ = await chain.begin()
    await hop.send(
        b"HTTP/1.1 200 OK\r\nrequest-id: req_elsewhere\r\ncontent-type: application/json\r\n"
        b'content-length: 18\r\n\r\n{"type":"message"}'
    )
    await agent.answer()
    await browser.says(".box.bypassed", "goes past the relay")
    assert f"way of hop {HOP} of relay anthropic" in await browser.text("#wrong")
    where = await browser.run("return document.querySelector('#wrong li a').href")
    assert where.endswith("troubleshooting.md#a-hop-does-not-come-back")


async def test_a_credential_that_the_api_refuses_is_said(browser: Browser, chain: Chain) -> None:
    """On the last leg, where it goes in, and on the API's box."""
    await browser.open(chain.relay.admin_port)
    call = await ChainCall.begin(chain)
    await call.answer(HEAD.replace(b"200 OK", b"401 Unauthorized"))
    await call.end()
    await browser.says(".box.refused", "API\nrefused")
    await browser.says(".credential.bad", "credential anthropic")
    assert "(401) since" in await browser.text("#wrong")
