"""The doctor's findings: one line each, with what to do about it, as text or as JSON.

Text from an upstream is stripped of control characters here, and every known secret is taken out of
every line.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal, TextIO

Level = Literal["ok", "note", "warn", "FAIL"]

_UNPRINTABLE: Final = re.compile(r"[^ -~]")
_QUOTE_LIMIT: Final = 120
_REDACTED: Final = "[redacted]"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was examined, its level, and a remedy if it is not well."""

    check: str
    level: Level
    text: str
    remedy: str = ""


Findings = AsyncIterator[Finding]


def ok(check: str, text: str) -> Finding:
    """Return that something is well."""
    return Finding(check, "ok", text)


def note(check: str, text: str, remedy: str = "") -> Finding:
    """Return something to know, or that something was not looked at."""
    return Finding(check, "note", text, remedy)


def warn(check: str, text: str, remedy: str) -> Finding:
    """Return that calls work, and something is not as it should be."""
    return Finding(check, "warn", text, remedy)


def fail(check: str, text: str, remedy: str) -> Finding:
    """Return that something is wrong."""
    return Finding(check, "FAIL", text, remedy)


def quote(text: str | bytes, limit: int = _QUOTE_LIMIT) -> str:
    """Return foreign text as plain ASCII, cut to ``limit`` characters."""
    text = text.decode("latin-1") if isinstance(text, bytes) else text
    return _UNPRINTABLE.sub("?", text[:limit])


class Reporter:
    """Writes the findings as they come, or all together as JSON, and counts them."""

    def __init__(self, out: TextIO, secrets: Iterable[str], *, as_json: bool) -> None:
        self._out = out
        # The longest first: one may be a part of another.
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)
        self._as_json = as_json
        self._found: list[tuple[str, Finding]] = []

    async def add(self, section: str, findings: Findings) -> None:
        """Write a section's findings."""
        section = self._redact(section)
        self._write(f"{section}\n")
        async for finding in findings:
            self._take(section, finding)

    def _take(self, section: str, finding: Finding) -> None:
        text, remedy = self._redact(finding.text), self._redact(finding.remedy)
        finding = replace(finding, text=text, remedy=remedy)
        self._found.append((section, finding))
        self._write(f"  {finding.level:<5} {finding.check:<11} {finding.text}\n")
        if finding.remedy:
            self._write(f"{'':<20}-> {finding.remedy}\n")

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _REDACTED)
        return text

    def _write(self, text: str) -> None:
        if not self._as_json:
            self._out.write(text)
            self._out.flush()

    def _count(self, level: Level) -> int:
        return sum(finding.level == level for _, finding in self._found)

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return self._count("FAIL") > 0

    def end(self) -> None:
        """Write the summary, or all of the JSON."""
        if self._as_json:
            checks = [{"section": section} | asdict(finding) for section, finding in self._found]
            self._out.write(json.dumps({"ok": not self.failed, "checks": checks}, indent=2) + "\n")
        else:
            failures, warnings = self._count("FAIL"), self._count("warn")
            self._write(f"{_times(failures, 'failure')}, {_times(warnings, 'warning')}\n")


def _times(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
