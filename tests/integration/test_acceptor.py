"""Connections that come in while something is wrong: all that can be are taken, once it passes."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator

import pytest

from relay.config import ListenAddress
from relay.downstream import acceptor
from relay.downstream.acceptor import AT_ONCE, Acceptor
from relay.downstream.listener import listen
from tests.harness import FUSE_SECONDS
from tests.harness.expectations import eventually
from tests.harness.greeter import GREETING, Greeter


class Failing(socket.socket):
    """A listening socket that fails as often as it is told before it gives a connection."""

    errors: list[int]
    acceptor: Acceptor

    def accept(self) -> tuple[socket.socket, object]:
        """Fail, or give the next connection."""
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()


@pytest.fixture
async def failing() -> AsyncIterator[Failing]:
    """A socket whose acceptor is closed at the end."""
    handle = listen(ListenAddress("127.0.0.1", 0))
    failing = Failing(handle.family, handle.type, handle.proto, handle.detach())
    failing.errors = []
    failing.acceptor = Acceptor(failing, Greeter)
    yield failing
    if failing.fileno() >= 0:
        failing.acceptor.close()


async def greeting(handle: socket.socket) -> bytes:
    """Return what is said to whoever connects."""
    async with asyncio.timeout(FUSE_SECONDS):
        reader, writer = await asyncio.open_connection(*handle.getsockname())
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
    return said


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_what_is_used_up_is_waited_for(
    failing: Failing, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is turned away, and it is said once, however often it is tried again."""
    failing.errors += [number] * 3
    with caplog.at_level(logging.WARNING, logger="relay"):
        assert await greeting(failing) == GREETING
    assert not failing.errors
    assert [record.getMessage() for record in caplog.records] == [
        f"connections wait to be accepted: {os.strerror(number).lower()}"
    ]


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR])
async def test_a_connection_that_fails_does_not_hold_up_the_next(
    failing: Failing, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It has gone, or a firewall has forbidden it: that is its own affair."""
    failing.errors += [number] * AT_ONCE
    assert await greeting(failing) == GREETING
    assert not caplog.records


async def test_many_at_once_are_all_taken(failing: Failing) -> None:
    """More than are taken in one go."""
    said = await asyncio.gather(*(greeting(failing) for _ in range(3 * AT_ONCE)))
    assert said == [GREETING] * 3 * AT_ONCE


async def test_a_closed_one_tries_no_more(
    failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it waits for a descriptor."""
    monkeypatch.setattr(acceptor, "PAUSE_SECONDS", 0)
    failing.errors += [errno.EMFILE] * 1_000_000
    waiting = asyncio.create_task(greeting(failing))
    async with asyncio.timeout(FUSE_SECONDS):
        await eventually(lambda: len(failing.errors) <= 999_990)
        failing.acceptor.close()
        left = len(failing.errors)
        with pytest.raises(ConnectionError):
            await waiting
    assert len(failing.errors) == left
