"""The page docs/troubleshooting.md, where LLM proxies are on the way: each message is provoked.

Stand-ins for them, in this process, are set up wrongly in one way each.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from relay import errors
from tests.harness.chain import running_chain
from tests.harness.configuration import Config
from tests.harness.hop import AIMLESS, StandInChain, plays, running_api, running_stand_ins
from tests.harness.messages import MESSAGES, request
from tests.headroom import Settings
from tests.repository.test_troubleshooting import PAGE, entry, lines_of

BODY: Final = b'{"model":"claude-test","messages":[]}'
COUNT_TOKENS: Final = MESSAGES + "/count_tokens"
_, OF_HOPS = PAGE.split("\n## Lines of the log\n")[1].split("\nOf [LLM proxies on the way]")
ROWS: Final[list[str]] = re.findall(r"^\| `(.*?)` \|", OF_HOPS.split("\n## ")[0], re.MULTILINE)
"""The lines of the table about hops."""


@dataclass(frozen=True)
class Case:
    """What makes the relay log a line."""

    settings: Settings = AIMLESS
    hop: Config = field(default_factory=dict)
    """Said of the hop in the relay's configuration."""
    path: str = MESSAGES
    down: bool = False
    dead: bool = False
    """Whether nothing is where it sends on to."""
    place: str = ""
    """Where at the relay's return listener it sends on to, in place of its own address."""
    past: bool = False
    """Whether it sends on to the API itself."""
    again: bool = False
    """Whether it sends on once more when the call is over."""


CASES: Final = {
    "nothing answers at …; calls get 502": Case(down=True),
    "calls go on without it": Case(down=True, hop={"if_down": "skip"}),
    "answers 401 without coming back": Case(plays("401")),
    "nothing answers; that has to be": Case(dead=True),
    "as said above": Case(plays("forward", key="own")),
    "shows no pass": Case(plays("forward", drop="x-api-key")),
    "shows a wrong pass": Case(plays("forward", key="own")),
    "does not say which call": Case(plays("forward", drop="x-relay-call")),
    "hop … of relay anthropic came back": Case(place="/anthropic/other"),
    "something came back": Case(place="/"),
    "is over": Case(again=True),
    "refused with 403": Case(plays("forward", also="POST /v1/files"), path=COUNT_TOKENS),
    "went past the relay: such": Case(plays("forward", key="own"), past=True),
    "header X-Headroom": Case(hop={"headers": {"X-Headroom-Proxy-Token": {"file": "absent"}}}),
    "can be guessed": Case(hop={"pass": {"file": "short"}}),
}
"""By a part of the line."""


@asynccontextmanager
async def set_up(folder: Path, case: Case) -> AsyncIterator[StandInChain]:
    """Run a chain in which that is wrong."""
    (folder / "short").write_text("too short")
    async with (
        running_stand_ins(folder, settings=case.settings, hop=case.hop) as chain,
        running_api() as elsewhere,
    ):
        if case.past:
            await chain.hop.aim(elsewhere.url)
        if case.place:
            await chain.hop.aim(f"http://127.0.0.1:{chain.relay.return_port}{case.place}")
        if case.dead:
            await chain.hop.aim("http://127.0.0.1:1")
        if case.down:
            await chain.hop.stop()
        yield chain


def row(part: str) -> str:
    """Return the only line of the table with this part."""
    (found,) = [each for each in ROWS if part in each]
    return found


def pattern(shown: str) -> str:
    """Return what matches a line as the page shows it."""
    return "^" + ".*".join(map(re.escape, shown.split("…")))


@pytest.mark.parametrize("part", CASES)
async def test_a_line_about_a_hop(tmp_path: Path, part: str) -> None:
    """Word for word, where the page does not leave something out."""
    case = CASES[part]
    async with set_up(tmp_path, case) as chain:
        await chain.relay.ask(request(case.path, body=BODY))
        if case.again:
            await chain.hop.replay()
        await chain.relay.log.says(pattern(row(part)))


async def test_every_line_about_a_hop_is_provoked() -> None:
    """The table has no others."""
    assert {row(part) for part in CASES} == set(ROWS)
    assert len(ROWS) == len(CASES)


async def test_a_hop_does_not_come_back(tmp_path: Path) -> None:
    """As an agent sees it."""
    async with set_up(tmp_path, Case(plays("401"))) as chain:
        answer = await chain.relay.ask(request(body=BODY))
    assert answer.error["message"] == errors.HopBypassed.message
    assert entry(lines_of(answer))


async def test_a_return_is_refused(tmp_path: Path) -> None:
    """As a hop sees it."""
    async with running_chain(tmp_path) as chain:
        agent = await chain.relay.agent(port=chain.relay.return_port)
        answer = await agent.ask(request("/anthropic/headroom/v1/messages", token=None))
    assert answer.error["message"] == errors.PassRefused.message
    assert entry(lines_of(answer))


async def test_more_than_its_call_may(tmp_path: Path) -> None:
    """As a hop sees it."""
    async with running_chain(tmp_path) as chain:
        _, _, sent = await chain.begin()
        answer = await (await chain.come_back(sent, "/v1/files")).answer()
    assert answer.error["message"] == errors.LegRefused.message
    assert entry(lines_of(answer))


async def test_an_error_behind_a_hop(tmp_path: Path) -> None:
    """The relay's finding, beside whatever the hop makes of it."""
    async with running_stand_ins(tmp_path) as chain:
        await chain.api.stop()
        answer = await chain.relay.ask(request(body=BODY))
        (call,) = await chain.relay.log.calls()
    assert answer.outcome == call["outcome"] == "connect_error"
    assert entry(f"POST {call['path']} {call['status']} {call['outcome']}")


@pytest.mark.parametrize("part", ["header X-Headroom", "can be guessed"])
async def test_what_a_hop_wants_is_missing(tmp_path: Path, part: str) -> None:
    """It is answered as a credential that is, and that entry says so."""
    async with set_up(tmp_path, CASES[part]) as chain:
        answer = await chain.relay.ask(request(body=BODY))
    found = entry(lines_of(answer))
    assert answer.outcome == "no_credential"
    assert "`headers`" in found
    assert "`pass`" in found


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"pass": {"file": "absent"}}, "pass of hop headroom of relay anthropic: no value yet: "),
        ({}, "header x-own of relay anthropic: no value yet: "),
    ],
)
async def test_other_values_that_are_missing(tmp_path: Path, wanted: Config, says: str) -> None:
    """The same words, of which the row names the beginnings."""
    headers = {"x-own": {"file": "absent"}} if not wanted else {}
    changes: Config = {"relays": {"anthropic": {"headers": headers}}}
    async with running_stand_ins(tmp_path, hop=wanted, changes=changes) as chain:
        await chain.relay.log.says(re.escape(says))
    cells: Sequence[str] = [line for line in OF_HOPS.splitlines() if "X-Headroom" in line]
    named = re.findall(r"`([^`]+)`", cells[0])
    assert any(says.startswith(each.split(" …")[0]) for each in named[1:])
