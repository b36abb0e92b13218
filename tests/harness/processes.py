"""Programs that are run to their end, as nobody would who sits at a terminal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness import FUSE_SECONDS


@dataclass(frozen=True)
class Ended:
    """What came of a program; its status is negative where a signal killed it."""

    status: int
    out: str
    err: str
    seconds: float


async def run_to_end(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    fuse_seconds: float = FUSE_SECONDS,
    folder: Path | None = None,
) -> Ended:
    """Run a program without input, and kill it where it takes too long."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(fuse_seconds):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode(), time.monotonic() - began)
