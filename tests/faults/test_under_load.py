"""Short soaks: something happens to the relay under load, and no call is lost by it.

Each answer is compared byte for byte, and tells which credential its request carried: one that
was in force while it ran, never the one before.
"""

from __future__ import annotations

from pathlib import Path

from tests.faults.soak.disturbance import Rhythm
from tests.faults.soak.ledger import Ledger
from tests.faults.soak.load import Pace
from tests.faults.soak.run import Soak

NEVER = 3_600.0
# Streams of half a second: also between the outages of a busy machine enough come to their end.
PACE = Pace(streams=20, deltas=5, pause_seconds=0.1)


async def soak(folder: Path, seconds: float, rhythm: Rhythm) -> Ledger:
    """Run one, and see that it was a load at all."""
    ledger = await Soak(seconds, folder, lambda _: None, PACE, rhythm).run()
    assert ledger.findings == []
    assert ledger.good["stream"] >= 20
    assert ledger.good["call"] > 100
    return ledger


async def test_an_upstream_that_crashes(tmp_path: Path) -> None:
    """Calls in flight are broken off, those that come while it is away refused; no others."""
    rhythm = Rhythm(restart=2.0, rotate=0.3, reload=0.7, down=0.3)
    ledger = await soak(tmp_path, 10.0, rhythm)
    assert len(ledger.outages) >= 2
    assert ledger.explained["stream: broken off"] >= 20


async def test_a_credential_that_is_rotated(tmp_path: Path) -> None:
    """Every call after a rotation carries the new credential, and none fails."""
    ledger = await soak(tmp_path, 4.0, Rhythm(restart=NEVER, rotate=0.05, reload=NEVER))
    assert not ledger.explained


async def test_a_configuration_that_is_reloaded(tmp_path: Path) -> None:
    """Again and again while calls run: not one of them fails."""
    ledger = await soak(tmp_path, 4.0, Rhythm(restart=NEVER, rotate=NEVER, reload=0.1))
    assert not ledger.explained
