"""The page's stream: what is said when there is none, and that it comes back by itself."""

from __future__ import annotations

import signal
from pathlib import Path

from relay.admin import events
from tests.browser.browser import Browser
from tests.harness.configuration import configuration
from tests.harness.messages import request
from tests.harness.ports import free_ports
from tests.harness.relay import LocalRelay, relay_process
from tests.harness.upstream import Upstream


async def test_a_relay_that_is_gone_is_said_and_comes_back(
    browser: Browser, upstream: Upstream, tmp_path: Path
) -> None:
    """What was last known stays, marked as old; a new relay at the same place is shown anew."""
    (port,) = free_ports(1)
    config = configuration(upstream.port, admin=f"127.0.0.1:{port}")
    async with relay_process(tmp_path, config) as first:
        await first.ask(request("/relay/unknown/before"))
        await browser.open(first.admin_port)
        await browser.says("#lately", "/relay/unknown/before")
        first.signal(signal.SIGTERM)
        assert await first.exit_status() == 0
        await browser.says("#gone", "The relay does not answer. What is below is as of")
        assert "/relay/unknown/before" in await browser.text("#lately")
        assert await browser.text("#summary") == "no connection"
    async with relay_process(tmp_path, config) as second:
        await browser.says("#summary", "all is well")
        assert await browser.run("return document.getElementById('gone').hidden")
        assert "/relay/unknown/before" not in await browser.text("main")
        await second.ask(request("/relay/unknown/after"))
        await browser.says("#lately", "/relay/unknown/after")


async def test_a_ninth_page_says_so_and_tries_again(browser: Browser, relay: LocalRelay) -> None:
    """Until another is closed."""
    agents = []
    for _ in range(events.MOST_READERS):
        agents.append(await relay.agent(port=relay.admin_port))
        await agents[-1].send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await agents[-1].head()).status == 200
    await browser.go(f"http://localhost:{relay.admin_port}/")
    await browser.says("#gone", "Eight pages are open already")
    agents[0].leave()
    await browser.says("#summary", "all is well")


async def test_a_relay_that_stands_still_is_said(
    browser: Browser, upstream: Upstream, tmp_path: Path
) -> None:
    """Its connection is there, and nothing comes."""
    async with relay_process(tmp_path, configuration(upstream.port)) as process:
        await browser.open(process.admin_port)
        process.signal(signal.SIGSTOP)
        try:
            await browser.says("#gone", "The relay does not answer.")
        finally:
            process.signal(signal.SIGCONT)
        await browser.says("#summary", "all is well")


async def test_open_pages_hold_up_no_stop(
    browser: Browser, upstream: Upstream, tmp_path: Path
) -> None:
    """With two tabs it takes as long as without: nobody waits a second for them to leave."""
    took = []
    for tabs in (0, 2):
        folder = tmp_path / str(tabs)
        folder.mkdir()
        async with relay_process(folder, configuration(upstream.port)) as process:
            async with browser.tabs(process.admin_port, tabs):
                process.signal(signal.SIGTERM)
                assert await process.exit_status() == 0
            took.append(process.stopping_seconds())
    assert took[1] < took[0] + 0.5
