"""What came of each call, and whether the upstream's own outages explain what was lost."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

NOTICE_SECONDS: Final = 1.0
"""How long after an outage its losses may still come to light."""
SHOWN: Final = 20
"""Findings beyond these are only counted."""


@dataclass
class Outage:
    """A time in which the upstream was not there."""

    killed: float
    back: float | None = None

    def explains(self, begun: float, failed: float) -> bool:
        """Whether a call that ran from ``begun`` until it ``failed`` was lost in this outage."""
        if failed < self.killed:
            return False
        return self.back is None or (begun <= self.back and failed <= self.back + NOTICE_SECONDS)


@dataclass
class Ledger:
    """The account of a run. Times are on the monotonic clock."""

    outages: list[Outage] = field(default_factory=list)
    good: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    answered: Counter[int] = field(default_factory=Counter)
    """Answers' heads by status: each is a call that the relay has counted."""
    late: int = 0
    """Calls that began late, for this process had no time for them."""

    def succeeded(self, kind: str) -> None:
        """Note a call of which every byte was right."""
        self.good[kind] += 1

    def lost(self, kind: str, begun: float, how: str) -> None:
        """Note a call that was lost: in an outage, or it is a finding."""
        failed = time.monotonic()
        if any(outage.explains(begun, failed) for outage in self.outages[-2:]):
            self.explained[f"{kind}: {how}"] += 1
        else:
            self.find(f"{kind} lost without an outage after {failed - begun:.2f} s: {how}")

    def find(self, what: str) -> None:
        """Note what must not be, outage or not."""
        self.findings.append(what)

    def lines(self) -> list[str]:
        """Return the account in words."""
        kinds = ", ".join(f"{count} {kind}s" for kind, count in sorted(self.good.items()))
        lines = [f"right to the last byte: {kinds or 'nothing'}"]
        lines += [f"lost in an outage: {n} × {what}" for what, n in self.explained.most_common()]
        lines += [f"FINDING: {what}" for what in self.findings[:SHOWN]]
        if len(self.findings) > SHOWN:
            lines.append(f"and {len(self.findings) - SHOWN} findings more")
        return lines
