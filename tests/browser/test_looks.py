"""How the page looks, and that everybody can use it: accessible, narrow, wide, light and dark."""

from __future__ import annotations

from importlib.resources import files

import pytest

from tests.browser.browser import Browser
from tests.browser.calls import LIMITS, begin, finish
from tests.harness.messages import request
from tests.harness.relay import LocalRelay
from tests.harness.upstream import Upstream

AXE = files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
RUN_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, { resultTypes: ["violations"] }).then((found) => done(found.violations.map(
  (each) => `${each.id}: ${each.nodes.map((node) => node.html).join(" ")}`,
)));
"""
BACKGROUND = "return getComputedStyle(document.body).backgroundColor"


@pytest.fixture
async def full(browser: Browser, relay: LocalRelay, upstream: Upstream) -> Browser:
    """The page with something in each section: a call in flight, some over, bars, and a fault."""
    await finish(await begin(relay, upstream, head=LIMITS))
    await relay.ask(request("/relay/unknown/v1/messages"))
    await begin(relay, upstream)
    (relay.folder / "key").unlink()
    await browser.open(relay.admin_port)
    await browser.says("#wrong", "credential anthropic")
    await browser.run("document.querySelectorAll('#lately button')[1].click()")
    return browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_axe_finds_nothing(full: Browser, scheme: str, width: int) -> None:
    """Landmarks, names, tables, contrast: whatever axe-core can judge."""
    await full.prefer(scheme)
    await full.resize(width)
    await full.run(AXE)
    assert await full.wait_for(RUN_AXE) == []


async def test_axe_finds_nothing_on_an_empty_page(browser: Browser, relay: LocalRelay) -> None:
    """Before the first call."""
    await browser.open(relay.admin_port)
    await browser.run(AXE)
    assert await browser.wait_for(RUN_AXE) == []


async def test_light_and_dark_are_the_readers_choice(full: Browser) -> None:
    """As the system is set."""
    await full.prefer("light")
    light = await full.run(BACKGROUND)
    await full.prefer("dark")
    assert (light, await full.run(BACKGROUND)) == ("rgb(246, 247, 249)", "rgb(14, 18, 22)")


@pytest.mark.parametrize("width", [360, 480, 736, 1088, 1280, 2560, 3840])
async def test_nothing_is_cut_off_at_any_width(full: Browser, width: int) -> None:
    """From a telephone to 4K, opened details and all."""
    await full.resize(width)
    await full.says("#now", "claude")
    assert await full.run("return document.documentElement.scrollWidth") <= width


async def test_live_regions_say_states_and_no_ticks(
    full: Browser, relay: LocalRelay, upstream: Upstream
) -> None:
    """What a screen reader speaks changes with what is wrong, and not with every event."""
    await full.run(
        """
        window.spoken = [];
        for (const each of document.querySelectorAll("[aria-live], [role=status], [role=alert]"))
          new MutationObserver(() => spoken.push(each.innerText))
            .observe(each, { childList: true, characterData: true, subtree: true });
        """
    )
    age = int((await full.text("#now tbody td")).split()[0])
    await full.until(f"parseInt(document.querySelector('#now tbody td').innerText) > {age + 2}")
    assert await full.run("return spoken") == []
    (relay.folder / "key").write_text("sk-ant-api03-another-made-up-value-of-some-length\n")
    await full.says("#summary", "all is well")
    assert await full.run("return spoken") == ["all is well"]
