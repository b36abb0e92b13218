"""The package of list prices, in a process that wants no costs."""

from __future__ import annotations

import subprocess
import sys


def test_the_package_is_not_imported_without_need() -> None:
    """Who wants no costs pays nothing for them."""
    check = "import sys, relay.telemetry.prices; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
