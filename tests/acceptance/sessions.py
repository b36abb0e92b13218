"""Sessions of Claude Code that are the same whatever stands on the way to the API."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.acceptance.api import Api, Usage, held, says, uses
from tests.acceptance.claude import MODEL, Claude, Message, Session

LINES: Final = [f"10:00:{each % 60:02} INFO worker - job {each * 7919} done" for each in range(500)]
"""A log that is long and much the same all through, as LLM proxies compress it."""
WORKED: Final = {
    (MODEL, "input"): 271,
    (MODEL, "output"): 25,
    (MODEL, "cache_read"): 210,
    (MODEL, "cache_write_5m"): 30,
}
"""The tokens that `worked` takes, by model and type."""


async def worked(claude: Claude, api: Api, url: str) -> Session:
    """Have Claude Code write a note and read the log in two turns, and see that it did."""
    note, log = claude.project / "note.txt", claude.project / "worker.log"
    log.write_text("\n".join(LINES))
    api.plan(
        uses("Write", {"file_path": str(note), "content": "from afar"}, Usage(input=100, output=7)),
        says("I wrote the note.", Usage(input=130, output=5, cache_read=40)),
        uses("Bash", {"command": f"cat {log}"}, Usage(20, 9, 170, 30)),
        says("All jobs are done.", Usage(input=21, output=4)),
    )
    session = await claude.run(url, "Write a note.", "How are the jobs?")
    assert session.results == ["I wrote the note.", "All jobs are done."], session
    assert note.read_text() == "from afar"
    assert "".join(session.deltas) == "I wrote the note.All jobs are done."
    return session


async def watched(claude: Claude, api: Api, url: str) -> None:
    """See that a word is shown before the API goes on to the next."""
    seen = asyncio.Event()

    def heard(message: Message) -> None:
        if message["kind"] == "StreamEvent" and "text_delta" in str(message["event"]):
            seen.set()

    api.plan(held(says("One, and two, and three."), seen))
    session = await claude.run(url, "Count.", heard=heard)
    assert session.results == ["One, and two, and three."]
