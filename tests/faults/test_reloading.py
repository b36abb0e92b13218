"""New configurations while the relay runs; an invalid one changes nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from pathlib import Path

import pytest

from tests.harness import FUSE_SECONDS
from tests.harness.configuration import configuration
from tests.harness.messages import OK, PIECE, chunk, request
from tests.harness.relay import RelayProcess, begin_stream, update_configuration
from tests.harness.secrets import KEY, OTHER_TOKEN
from tests.harness.upstream import Upstream, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_reload_puts_the_new_file_in_force(
    process: RelayProcess, upstream: Upstream
) -> None:
    """New calls go by it; a call in flight finishes under the configuration it began with."""
    agent, caller = await begin_stream(process, upstream)
    async with running_upstream() as second:
        second.answer_with(OK)
        clients = [{"name": "agent", "token": {"file": "other_token"}}]
        update_configuration(process, configuration(second.port, clients=clients))
        process.signal(signal.SIGHUP)
        await process.log.says("^reloaded ")
        assert (await process.ask(request())).status == 401
        assert (await process.ask(request(token=OTHER_TOKEN))).status == 200
        assert len(second.requests) == 1
    await caller.send(chunk(b"two") + chunk(b""))
    answer = await agent.answer()
    assert (answer.body, answer.complete) == (PIECE + b"two", True)
    await agent.send(request())
    assert (await agent.answer()).status == 401
    assert await process.in_flight() == 0


async def opened_once_it_is_read(fifo: Path) -> int:
    """Return a descriptor of a FIFO to write with; the kernel has none before there is a reader."""
    async with asyncio.timeout(FUSE_SECONDS):
        while True:
            try:
                return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
            await asyncio.sleep(0)


async def test_a_file_that_does_not_answer_holds_up_nothing(
    process: RelayProcess, upstream: Upstream
) -> None:
    """As on a mount that is dead: calls go on, and so does the end."""
    upstream.answer_with(OK)
    fifo = process.folder / "fifo"
    os.mkfifo(fifo)
    fifo.replace(process.path)
    process.signal(signal.SIGHUP)
    descriptor = await opened_once_it_is_read(process.path)
    assert (await process.ask(request())).status == 200
    assert (await process.page("/healthz")).status == 200
    process.signal(signal.SIGTERM)
    assert await process.exit_status() == 0
    os.close(descriptor)


async def test_an_invalid_file_keeps_the_old_configuration(
    process: RelayProcess, upstream: Upstream
) -> None:
    """Why is in the log, without a value; and the next valid file counts again."""
    upstream.answer_with(OK)
    texts = ("", "grants: [", '{"grants": [{"name": "anthropic", "sauce": "' + KEY + '"}]}')
    for count, text in enumerate(texts, 1):
        process.path.write_text(text)
        process.signal(signal.SIGHUP)
        await process.log.says("^not reloaded", count)
    await process.log.says(r"agent\.yaml:1: .*unknown key")
    assert (await process.ask(request())).status == 200
    process.path.unlink()
    process.signal(signal.SIGHUP)
    await process.log.says("cannot be read")
    assert (await process.ask(request())).status == 200
    update_configuration(process, configuration(upstream.port))
    process.signal(signal.SIGHUP)
    await process.log.says("^reloaded ")
    assert (await process.ask(request())).status == 200
