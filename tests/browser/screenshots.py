"""Makes the pictures that README and docs show: ``python -m tests.browser.screenshots``.

By hand, before a release: a chain with made-up calls, as a morning's work may look, and a ledger
with a fortnight before it. The dashboard is not among them: its picture needs a Grafana with a day
of samples.
"""

from __future__ import annotations

import asyncio
import io
import random
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from rich.console import Console

from relay.commands.top.figures import compute
from relay.commands.top.layout import View, draw
from relay.commands.top.page import read_snapshot
from relay.telemetry.ledger.batch import Batches
from relay.telemetry.ledger.file import LedgerFile
from relay.telemetry.ledger.row import Row
from tests.browser.browser import Browser, running_driver
from tests.browser.calls import ChainCall, head
from tests.harness import ROOT
from tests.harness.chain import Chain, running_chain
from tests.harness.configuration import Config
from tests.harness.ledger import a_row, rows_in, until
from tests.harness.messages import request
from tests.harness.model_answers import event
from tests.harness.relay import LocalRelay

DOCS: Final = ROOT / "docs"
ZONE: Final = ZoneInfo("Europe/Berlin")
SESSIONS: Final = ("8f1c2b7e-33aa-4b00-9a1d-0c9d8e7f6a50", "41d09c55-7e0b-4c1f-a2f7-5b1e90c3d8aa")
MODELS: Final = ("claude-opus-4-8", "claude-haiku-4-5")
LEDGER: Final = "ledger.db"
LIMITS: Final = [{"usd": 20, "per": "day"}, {"at_once": 8}, {"usd": 3, "per": "session"}]
CONFIG: Final[Config] = {
    "clients": [{"name": "agent", "token": {"file": "token"}, "limits": LIMITS}],
    "ledger": {"path": LEDGER},
    "timezone": str(ZONE),
}
QUOTAS: Final = head(
    "request-id: req_011CVxPq",
    "anthropic-ratelimit-unified-5h-utilization: 0.62",
    f"anthropic-ratelimit-unified-5h-reset: {time.time() + 7800:.0f}",
    "anthropic-ratelimit-unified-7d-utilization: 0.81",
    f"anthropic-ratelimit-unified-7d-reset: {time.time() + 180000:.0f}",
)


def fortnight(chance: random.Random) -> Iterator[Row]:
    """Yield calls of the days before, fewer of them at weekends; and of this morning."""
    now = datetime.now(ZONE)
    for back in range(14):
        day = now - timedelta(days=back)
        many = 12 if day.weekday() >= 5 else 90 if back else 40
        for _ in range(chance.randint(many, many * 2)):
            then = day - timedelta(minutes=chance.randint(5, 100))
            cached = chance.randint(20_000, 120_000)
            yield a_row(
                time=then.timestamp(),
                session_id=f"{day:%d}{chance.choice('abc')}07c55-7e0b-4c1f-a2f7-5b1e90c3d8aa",
                model=MODELS[chance.random() < 0.2],
                input=chance.randint(5, 900),
                cache_read=cached,
                cache_write_5m=cached // 40,
                output=chance.randint(80, 2_000),
                cost=cached * 2,
            )


async def begin(chain: Chain, number: int) -> ChainCall:
    """Begin a call of one of the sessions, and stream the beginning of its answer."""
    session = f"X-Claude-Code-Session-Id: {SESSIONS[number % 2]}"
    call = await ChainCall.begin(chain, session, body=b"{%b}" % (b" " * 40_000))
    await asyncio.sleep(0.3 + 0.1 * (number % 5))
    usage = {
        "input_tokens": 12,
        "cache_read_input_tokens": 61_240 + 900 * number,
        "cache_creation_input_tokens": 1_880,
        "output_tokens": 1,
    }
    message = {"model": MODELS[number % 3 == 2], "usage": usage}
    await call.answer(QUOTAS)
    await call.write(event("message_start", message=message))
    await write(call, 3 + number)
    return call


async def write(call: ChainCall, pieces: int) -> None:
    """Stream some of the model's words."""
    for _ in range(pieces):
        delta = {"type": "text_delta", "text": "and so on, and so forth "}
        await call.write(event("content_block_delta", index=0, delta=delta))
        await asyncio.sleep(0.03)


async def finish(call: ChainCall, number: int) -> None:
    """Stream the end of the answer."""
    delta, usage = {"stop_reason": "end_turn"}, {"output_tokens": 410 + 37 * number}
    await call.write(
        event("message_delta", delta=delta, usage=usage) + event("message_stop"),
    )
    await call.end()


async def work(chain: Chain) -> list[ChainCall]:
    """Have calls come and go; return those that still stream."""
    for number in range(7):
        await finish(await begin(chain, number), number)
    await chain.relay.ask(request("/relay/anthropic/admin/keys"))
    return [await begin(chain, number) for number in (7, 8)]


async def take(browser: Browser, chain: Chain, rows: int) -> None:
    """Take the pictures of the page."""
    streaming = await work(chain)
    for call in streaming:
        await write(call, 40)
    await until(lambda: len(rows_in(chain.relay.folder / LEDGER)) > rows)
    await browser.resize(1360, 900)
    await browser.open(chain.relay.admin_port)
    await browser.until("document.querySelectorAll('#now tbody tr').length === 2")
    await browser.run("document.querySelectorAll('#lately button')[1].click()")
    await browser.until("document.querySelector('.details') !== null")
    for name, scheme in (("page", "light"), ("page-dark", "dark")):
        await browser.prefer(scheme)
        (DOCS / f"{name}.png").write_bytes(await browser.picture())


async def draw_top(relay: LocalRelay) -> None:
    """Draw what `relay top` shows of the same."""
    snapshot = read_snapshot((await relay.page("/calls")).body.decode())
    view = View("127.0.0.1:9484", compute(snapshot, time.time()))
    console = Console(record=True, width=134, height=38, file=io.StringIO())
    console.print(draw(view, console, fill=False))
    drawn = console.export_svg(title="relay top")
    # Whoever looks at it asks nobody for a font.
    (DOCS / "top.svg").write_text(re.sub(r"@font-face {.*?}\s*", "", drawn, flags=re.DOTALL))


async def make() -> None:
    """Make them all."""
    rows = list(fortnight(random.Random(1)))  # made-up figures
    with running_driver() as driver, tempfile.TemporaryDirectory() as folder:
        with closing(LedgerFile(str(Path(folder) / LEDGER))) as file:
            Batches(file.connection).write(rows)
        async with running_chain(Path(folder), changes=CONFIG) as chain:
            await take(Browser(driver), chain, len(rows))
            await draw_top(chain.relay)


if __name__ == "__main__":
    asyncio.run(make())
