"""A hundred calls in flight: the page stays quick, and the relay is not held up by it."""

from __future__ import annotations

from tests.browser.browser import Browser, running_driver
from tests.browser.calls import begin
from tests.harness.event_stream import open_stream
from tests.harness.messages import request
from tests.harness.relay import LocalRelay
from tests.harness.upstream import Upstream

MOST_SECONDS = 0.050
EVENTS = 6


async def test_a_hundred_calls_take_no_long_task(relay: LocalRelay, upstream: Upstream) -> None:
    """None above 50 ms, from the first event on; there are a hundred that ended, too.

    Nothing is asked of the browser meanwhile: its driver's own scripts take as long as that.
    """
    agent = await relay.agent()
    for number in range(100):
        await agent.ask(request(f"/relay/unknown/{number}"))
    for number in range(102):
        await begin(relay, upstream, session=f"session-{number}")
    with running_driver(traces=True) as driver:
        browser = Browser(driver)
        await browser.mark_pages()
        await browser.go(f"http://localhost:{relay.admin_port}/")
        clock = await open_stream(relay)
        for _ in range(EVENTS):
            await clock.event()
        tasks = await browser.task_seconds()
        assert await browser.text("#now .note") == "The oldest 100; 2 more."
        for section in ("now", "lately"):
            rows = f"return document.querySelectorAll('#{section} tbody tr').length"
            assert await browser.run(rows) == 100
    assert len(tasks) > 100
    assert max(tasks) < MOST_SECONDS
