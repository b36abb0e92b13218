"""What commands print for scripts: the page on commands names each key."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

import pytest

from relay.commands.doctor.findings import ok
from relay.commands.top.figures import to_json
from relay.telemetry.ledger.report import GROUPINGS, Report, Totals, as_data
from tests.harness import ROOT
from tests.unit.commands.top.pages import NOW, figures_of, finished, page, running

SECTION: Final = (ROOT / "docs/commands.md").read_text().split("\n## What `--json` prints\n")[1]
SAID: Final = set(re.findall(r"`([a-z_0-9]+)(?:\[\])?`", SECTION))
CHOSEN: Final = {"anthropic"}
"""Names, which are keys too."""
TOP: Final = to_json(
    figures_of(
        page(
            in_flight=[running(1.0, legs=1, tokens={"input": 1}, hops=[{"name": "headroom"}])],
            recent=[finished(1.0)],
            relays={
                "anthropic": {
                    "expires_at": NOW,
                    "quotas": [{"window": "7d", "utilization": 0.5}],
                    "limits": [{"kind": "tokens"}],
                    "hops": [{"name": "headroom"}],
                }
            },
            limits=[{"client": "agent", "limit": "usd_day", "most": 1, "used": 0}],
        )
    )
)
DOCTOR: Final = {"ok": True, "checks": [{"section": "", **asdict(ok("check", "text"))}]}


def usage(name: str) -> dict[str, object]:
    """Return a report with a row."""
    key = (None,) * len(GROUPINGS[name].names)
    return as_data(Report(name, datetime.now(UTC), "UTC", [(key, Totals())], Totals()))


@pytest.mark.parametrize(
    "printed",
    [TOP, DOCTOR, *(usage(name) for name in GROUPINGS)],
    ids=["top", "doctor", *GROUPINGS],
)
def test_each_key_is_said(printed: object) -> None:
    """Whoever writes a script looks there."""
    keys = set(re.findall(r'"([a-z_0-9]+)":', json.dumps(printed)))
    assert keys - CHOSEN - SAID == set()
