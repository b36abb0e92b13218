"""Claude Code itself through the relay: sessions, tools, and every way to give it the token."""

from __future__ import annotations

import pytest

from tests.acceptance.api import Api, Usage, says, uses
from tests.acceptance.claude import MODEL, Claude
from tests.acceptance.container import ContainedRelay

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_session_of_several_turns_with_tools(
    relay: ContainedRelay, api: Api, claude: Claude
) -> None:
    """Tools do their work on disk, and every token is counted once."""
    note = claude.project / "note.txt"
    api.plan(
        uses("Write", {"file_path": str(note), "content": "from afar"}, Usage(input=100, output=7)),
        says("I wrote the note.", Usage(input=130, output=5, cache_read=40)),
        uses("Bash", {"command": f"tr a-z A-Z < {note} > {note}.loud"}, Usage(20, 9, 170, 30)),
        uses("mcp__own__weather", {"city": "Paris"}, Usage(20, 9, 200, 0, 11)),
        says("Said it louder.", Usage(input=21, output=4)),
    )
    session = await claude.run(relay.url(), "Write a note.", "Now louder, and the weather?")
    assert session.results == ["I wrote the note.", "Said it louder."], session
    assert note.read_text() == "from afar"
    assert note.with_name("note.txt.loud").read_text() == "FROM AFAR"
    assert "fair in Paris" in api.messages[-1].prompt
    assert "".join(session.deltas) == "I wrote the note.Said it louder."
    assert await relay.outcomes(5) == {("ok", "200"): 5}
    assert await relay.samples("relay_tokens_total", "model", "type") == {
        (MODEL, "input"): 291,
        (MODEL, "output"): 34,
        (MODEL, "cache_read"): 410,
        (MODEL, "cache_write_5m"): 30,
        (MODEL, "cache_write_1h"): 11,
    }
