"""What the ledger says was used is what the API stated, whatever becomes of calls and relay."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import get_args

from tests.faults.accounts.plans import Fate
from tests.faults.accounts.run import Life, Run


async def test_every_token_is_in_the_ledger_once(tmp_path: Path) -> None:
    """Through a stop, reloads, and a kill that costs no more than its last second."""
    lives = [Life(300), Life(300, signal.SIGKILL), Life(100)]
    run = Run(lives, tmp_path)
    books = await run.run()
    assert books.findings == []
    assert books.tokens > 10_000_000
    assert Counter(run.plans[number].fate for number in books.stated).keys() == {*get_args(Fate)}
    assert len(books.stated) - len(books.missing) > 600
