"""Makes the pictures that README and docs show: ``python -m tests.browser.screenshots``.

By hand, before a release: a relay with made-up calls, as a morning's work may look. The dashboard
is not among them: its picture needs a Grafana with a day of samples.
"""

from __future__ import annotations

import asyncio
import io
import re
import tempfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from relay.commands.top.figures import compute
from relay.commands.top.layout import View, draw
from relay.commands.top.page import read_snapshot
from tests.browser.browser import Browser, running_driver
from tests.browser.calls import head
from tests.harness import ROOT
from tests.harness.configuration import configuration
from tests.harness.messages import MESSAGES, chunk, request
from tests.harness.model_answers import event
from tests.harness.peer import Agent, Caller
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.upstream import Upstream, running_upstream

DOCS: Final = ROOT / "docs"
SESSIONS: Final = ("8f1c2b7e-33aa-4b00-9a1d-0c9d8e7f6a50", "41d09c55-7e0b-4c1f-a2f7-5b1e90c3d8aa")
MODELS: Final = ("claude-opus-4-8", "claude-haiku-4-5")
QUOTAS: Final = head(
    "request-id: req_011CVxPq",
    "anthropic-ratelimit-unified-5h-utilization: 0.62",
    f"anthropic-ratelimit-unified-5h-reset: {time.time() + 7800:.0f}",
    "anthropic-ratelimit-unified-7d-utilization: 0.91",
    f"anthropic-ratelimit-unified-7d-reset: {time.time() + 180000:.0f}",
)


async def begin(relay: LocalRelay, upstream: Upstream, number: int) -> tuple[Agent, Caller]:
    """Begin a call of one of the sessions, and stream the beginning of its answer."""
    agent = await relay.agent()
    session = f"X-Claude-Code-Session-Id: {SESSIONS[number % 2]}"
    await agent.send(request(MESSAGES, session, body=b"{%b}" % (b" " * 40_000)))
    caller, _ = await upstream.called()
    await asyncio.sleep(0.3 + 0.1 * (number % 5))
    usage = {
        "input_tokens": 12,
        "cache_read_input_tokens": 61_240 + 900 * number,
        "cache_creation_input_tokens": 1_880,
        "output_tokens": 1,
    }
    message = {"model": MODELS[number % 3 == 2], "usage": usage}
    await caller.send(QUOTAS + chunk(event("message_start", message=message)))
    await write(caller, 3 + number)
    return agent, caller


async def write(caller: Caller, pieces: int) -> None:
    """Stream some of the model's words."""
    for _ in range(pieces):
        delta = {"type": "text_delta", "text": "and so it goes on "}
        await caller.send(chunk(event("content_block_delta", index=0, delta=delta)))
        await asyncio.sleep(0.05)


async def finish(agent: Agent, caller: Caller, number: int) -> None:
    """Stream the end of the answer."""
    delta, usage = {"stop_reason": "end_turn"}, {"output_tokens": 410 + 37 * number}
    end = event("message_delta", delta=delta, usage=usage) + event("message_stop")
    await caller.send(chunk(end) + chunk(b""))
    await agent.answer()
    caller.leave()


async def work(relay: LocalRelay, upstream: Upstream) -> list[Caller]:
    """Have calls come and go; return those that still stream."""
    for number in range(7):
        await finish(*await begin(relay, upstream, number), number)
    await relay.ask(request("/relay/anthropic/admin/keys"))
    return [(await begin(relay, upstream, number))[1] for number in (7, 9)]


async def take(browser: Browser, relay: LocalRelay, upstream: Upstream) -> None:
    """Take the picture of the page."""
    await browser.resize(1360, 860)
    await browser.open(relay.admin_port)
    streaming = await work(relay, upstream)
    for caller in streaming:
        await write(caller, 40)
    await browser.until("document.querySelectorAll('#now tbody tr').length === 2")
    await browser.run("document.querySelectorAll('#lately button')[1].click()")
    await browser.prefer("light")
    await browser.until("document.querySelector('.details') !== null")
    (DOCS / "page.png").write_bytes(await browser.picture())


async def draw_top(relay: LocalRelay) -> None:
    """Draw what `relay top` shows of the same."""
    snapshot = read_snapshot((await relay.page("/calls")).body.decode())
    view = View("127.0.0.1:9484", compute(snapshot, time.time()))
    console = Console(record=True, width=110, height=34, file=io.StringIO())
    console.print(draw(view, console, fill=False))
    drawn = console.export_svg(title="relay top")
    # Whoever looks at it asks nobody for a font.
    (DOCS / "top.svg").write_text(re.sub(r"@font-face {.*?}\s*", "", drawn, flags=re.DOTALL))


async def make() -> None:
    """Make them all."""
    with running_driver() as driver, tempfile.TemporaryDirectory() as folder:
        async with running_upstream() as upstream:
            config = configuration(upstream.port, costs={})
            async with running_relay(Path(folder), config) as relay:
                await take(Browser(driver), relay, upstream)
                await draw_top(relay)


if __name__ == "__main__":
    asyncio.run(make())
