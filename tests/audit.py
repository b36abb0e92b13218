"""Audits what is locked for known vulnerabilities: pip-audit, and whether its word counts.

pip-audit calls a package clean that its service has never heard of, and a mirror of PyPI that
leaves the vulnerabilities out is "clean" as a whole. So a release that is known to be
vulnerable is asked for first: only a service that says so is believed. Exit status 0: audited,
and nothing known; 1: something is, or pip-audit failed; 75: not audited, for nobody could say.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = [str(PROJECT / "requirements" / name) for name in ("relay.txt", "dev.txt")]
CANARY: Final = "aiohttp==3.9.1"
"""Known to everyone who knows anything: CVE-2024-23334, and a dozen since."""

CLEAN: Final = 0
VULNERABLE: Final = 1
NOT_AUDITED: Final = 75
"""``EX_TEMPFAIL`` of sysexits.h: another time, or from elsewhere, it may be known."""


def main(locks: Sequence[str]) -> int:
    """Audit the lock files, and return the exit status."""
    doubt = doubt_of_the_service()
    if doubt is not None:
        sys.stderr.write(
            "NOT AUDITED: pip-audit's vulnerability service does not know, or does not say, that"
            f" {CANARY} is vulnerable: {doubt}\n"
        )
        return NOT_AUDITED
    # Strict: where the canary was known, a package that is not is suspicious.
    done = pip_audit("--strict", "--require-hashes", locks=locks)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return CLEAN if done.returncode == 0 else VULNERABLE


def doubt_of_the_service() -> str | None:
    """Return why the service is not to be believed; None where it knows the canary."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as canary:
        canary.write(CANARY + "\n")
        canary.flush()
        done = pip_audit("--no-deps", locks=[canary.name])
    if done.returncode != 0 and "aiohttp" in done.stdout:
        return None
    said = (done.stdout + done.stderr).strip().splitlines()
    return said[-1] if said else "it says nothing at all"


def pip_audit(*options: str, locks: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run pip-audit on lock files as they are: pip is not asked to resolve or download."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner", "off"]
    files = [word for lock in locks for word in ("--requirement", lock)]
    return subprocess.run([*command, *options, *files], capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or LOCKS))
