"""Proxies on the way out on the page docs/troubleshooting.md: each answer and line is provoked."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from relay import errors
from tests.harness.closed_ways import (
    CASES,
    CONNECT_SECONDS,
    ELSEWHERE,
    WANTS,
    Case,
    failing_elsewhere,
    named,
    playing,
    relay_by,
)
from tests.harness.configuration import configuration
from tests.harness.egress import issue
from tests.harness.messages import request
from tests.harness.relay import running_relay
from tests.repository.test_troubleshooting import PAGE, entry, lines_of

BARE = {"bare": Case(WANTS % b"Basic", ""), "half": Case(WANTS % b"Basic", "")}
MISSING = "credential for the proxy"


def rows() -> list[str]:
    """Return the lines that the page lists of proxies on the way out."""
    section = PAGE.split("\nOf [a proxy on the way out]")[1].split("\n\n")[1]
    return re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE)


def matches(row: str, line: str) -> bool:
    """Whether a line is the one that stands there, with what differs left out."""
    return re.search(".*".join(re.escape(part) for part in row.split("…")), line) is not None


async def test_every_line_of_the_log(full_port: int, tmp_path: Path) -> None:
    """What is provoked stands there, each in one row; and no row is of what is not."""
    issued = issue(tmp_path)
    (tmp_path / "name").write_text("corp-relay")
    async with (
        playing(CASES | BARE) as proxies,
        failing_elsewhere(issued, full_port) as relays,
    ):
        relays |= {named(each): relay_by(issued, proxies[each].url) for each in proxies}
        url = proxies["bare"].url
        relays["bare"] = relay_by(issued, url, credential=None)
        relays["half"] = relay_by(issued, url, credential={"file": "name"})
        relays["late"] = relay_by(issued, url, credential={"file": "late"})
        timeouts = {"connect": CONNECT_SECONDS}
        config = configuration(0, claude=None, relays=relays, timeouts=timeouts)
        async with running_relay(tmp_path, config) as relay:
            calls = (request(f"/relay/{name}/v1/messages") for name in relays)
            await asyncio.gather(*map(relay.ask, calls))
            lines = [(await relay.log.says(f"^({MISSING}.*)"))[1]]
            lines.append((await relay.log.says(f"^(value of {MISSING}.*no colon.*)"))[1])
            for name in [*ELSEWHERE, *map(named, CASES), "bare", "half"]:
                found = await relay.log.says(f"^(upstream of relay {name}: .*)")
                lines.append(found[1])
    listed = rows()
    for line in lines:
        assert [row for row in listed if matches(row, line)], line
    for row in listed:
        assert [line for line in lines if matches(row, line)], row


async def test_the_answers(tmp_path: Path) -> None:
    """Whether another try may mend it, or none will."""
    issued = issue(tmp_path)
    async with playing(CASES) as proxies:
        names = {"unavailable": errors.EgressFailed, "forbidden": errors.EgressRefused}
        relays = {name: relay_by(issued, proxies[name].url) for name in names}
        async with running_relay(tmp_path, configuration(0, claude=None, relays=relays)) as relay:
            for name, fault in names.items():
                answer = await relay.ask(request(f"/relay/{name}/v1/messages"))
                assert answer.error["message"] == fault.message
                assert entry(lines_of(answer))
