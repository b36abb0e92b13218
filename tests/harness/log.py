"""What a relay logs, as it comes."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterable
from typing import Any

from relay.telemetry.access_log import CallHandler, JsonFormatter, call_fields
from relay.telemetry.call import CallRecord
from tests.harness import FUSE_SECONDS


class Log(CallHandler):
    """The relay's log as the JSON lines it writes."""

    def __init__(self) -> None:
        super().__init__()
        self._json = JsonFormatter()
        self.setFormatter(self._json)
        self.text: list[str] = []
        self._changed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        self.prepare()
        self.take(self.format(record))

    def take_calls(self, records: Iterable[CallRecord]) -> None:
        """Take calls that are over."""
        for each in records:
            self.take(self._json.format_call(call_fields(each), int(each.ended * 1e9)))

    def take(self, line: str) -> None:
        """Take a line."""
        self.text.append(line)
        self._changed.set()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All lines so far."""
        return [json.loads(line) for line in self.text]

    async def calls(self, count: int = 1) -> list[dict[str, Any]]:
        """Return the lines of calls, once there are so many."""
        while len(found := [each for each in self.lines if each["event"] == "call"]) < count:
            await self.more()
        return found

    async def says(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Return the count-th message that a pattern is found in, once there is one."""
        while True:
            matches = [re.search(pattern, str(each.get("message"))) for each in self.lines]
            found = [match for match in matches if match]
            if len(found) >= count:
                return found[count - 1]
            await self.more()

    async def more(self) -> None:
        """Wait for another line."""
        self._changed.clear()
        async with asyncio.timeout(FUSE_SECONDS):
            await self._changed.wait()


def paths_in(text: str) -> list[str]:
    """Return the paths of the calls in these lines, and the messages."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [line.get("path") or line["message"] for line in lines]
