"""A command that issues credentials which end, and an API that refuses those that have ended.

A credential says itself when it ends, so that the API needs no word from the issuer.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

from tests.harness.configuration import Config
from tests.harness.messages import OK
from tests.harness.peer import Request

UNAUTHORIZED: Final = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno"
VALUE: Final = re.compile(rb"sk-ant-api03-u8Qm2Lx7Vt0RcY5dWk1Zp9Hs3Nf6Bj-(\d+)")

# While the folder has a pipe "gate", a run waits until its other side is closed.
_SCRIPT: Final = """#!/bin/sh
echo run >> "$1/runs"
[ -e "$1/gate" ] && cat "$1/gate"
[ -e "$1/broken" ] && exit 3
ends=$(($(date +%s%N) / 1000000 + $2))
key=sk-ant-api03-u8Qm2Lx7Vt0RcY5dWk1Zp9Hs3Nf6Bj-$ends
printf '{"value": "%s", "expires_at": %s}\\n' $key $ends
"""


def issued(folder: Path, life_seconds: float) -> Config:
    """Return the grant ``anthropic`` with such credentials."""
    issuer = folder / "issuer"
    issuer.write_text(_SCRIPT)
    issuer.chmod(0o700)
    command = [str(issuer), str(folder), str(int(life_seconds * 1000))]
    return {"name": "anthropic", "source": {"command": command}}


def runs(folder: Path) -> int:
    """Return how often the issuer was asked."""
    file = folder / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


def judge(request: Request) -> bytes:
    """Answer as an API does that looks whether a credential has ended."""
    (value,) = request.values("x-api-key")
    match = VALUE.fullmatch(value)
    assert match is not None
    return OK if time.time() < int(match[1]) / 1000 else UNAUTHORIZED
