"""New TCP connections: to whichever of a name's addresses answers first (RFC 8305).

The next address is tried after a quarter of a second, or as soon as one has failed, families in
turn; the first that connects is taken, and the others are closed. So an address that drops what
is sent to it costs that quarter of a second and no call. Knows nothing of TLS, nor of who calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Iterable
from typing import Final

from relay import threads

NO_DESCRIPTOR: Final = "the relay has no file descriptor left"
NEXT_ADDRESS_SECONDS: Final = 0.25  # RFC 8305 §8; curl waits 0.2 s, browsers 0.25 to 0.3
# A peer that has vanished shows within six minutes, also where a call is silent for longer, and
# what forgets connections on the way (AWS's NAT after 350 s) does not forget these.
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5),
)

Sockaddr = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, Sockaddr]
"""An address, as ``getaddrinfo`` has it."""


class Dialer:
    """Connects to one host and port."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._literal: list[AddressInfo] = []
        """The address, where the host is one."""
        with contextlib.suppress(OSError, UnicodeError):
            self._literal = self._look_up(socket.AI_NUMERICHOST)
        self._lookup: asyncio.Future[list[AddressInfo]] | None = None

    async def connect(self) -> socket.socket:
        """Return a socket that is connected; without a time limit of its own.

        Raises:
            OSError: The name has no address (``socket.gaierror``), or none of them answers.
            UnicodeError: The name is none.
        """
        return await connect_any(await self.resolve())

    async def resolve(self) -> list[AddressInfo]:
        """Return the host's addresses in the order in which they are to be tried.

        Where a name server is silent, all who ask meanwhile wait for the one answer.

        Raises:
            OSError, UnicodeError: As ``connect``.
        """
        if self._literal:
            return self._literal
        if self._lookup is None or self._lookup.done():
            self._lookup = threads.run(self._look_up)
        return _by_turns(await asyncio.shield(self._lookup))

    def _look_up(self, flags: int = 0) -> list[AddressInfo]:
        found = socket.getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags
        )
        return list(found)


def _by_turns(rows: Iterable[AddressInfo]) -> list[AddressInfo]:
    """Return the addresses with their families in turn (RFC 8305 §4)."""
    families: dict[int, list[AddressInfo]] = {}
    for row in rows:
        families.setdefault(row[0], []).append(row)
    turns = itertools.zip_longest(*families.values())
    return [row for turn in turns for row in turn if row is not None]


async def connect_any(rows: Iterable[AddressInfo]) -> socket.socket:
    """Return a socket that is connected to the first of these addresses that answers.

    Raises:
        OSError: None does; of several reasons the one that tells most.
    """
    waiting = iter(rows)
    attempts: set[asyncio.Task[socket.socket]] = set()
    errors: list[BaseException] = []
    try:
        while True:
            row = next(waiting, None)
            if row is not None:
                attempts.add(asyncio.get_running_loop().create_task(_connect(row)))
            elif not attempts:
                raise _most_telling(errors)
            delay = NEXT_ADDRESS_SECONDS if row is not None else None
            done, _ = await asyncio.wait(attempts, timeout=delay, return_when="FIRST_COMPLETED")
            for attempt in done:
                attempts.discard(attempt)
                if (error := attempt.exception()) is None:
                    return attempt.result()
                errors.append(error)
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_close)


async def _connect(row: AddressInfo) -> socket.socket:
    handle = _make(row)
    try:
        await asyncio.get_running_loop().sock_connect(handle, row[4])
    except BaseException:
        handle.close()
        raise
    return handle


def _make(row: AddressInfo) -> socket.socket:
    family, kind, protocol, _, _ = row
    handle = socket.socket(family, kind, protocol)
    handle.setblocking(False)  # noqa: FBT003  # the name says what it is
    for option in _KEEPALIVE:
        handle.setsockopt(*option)
    return handle


def _close(attempt: asyncio.Task[socket.socket]) -> None:
    """Close what was connected too late."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


def _most_telling(errors: list[BaseException]) -> BaseException:
    """Return that somebody refuses, if so: the host is there, and the port is the matter."""
    refusals = (error for error in errors if isinstance(error, ConnectionRefusedError))
    return next(refusals, errors[-1])


async def reach(dialer: Dialer, limit_seconds: float) -> None:
    """Make a bare TCP connection, and close it; not a byte is sent.

    Raises:
        OSError, UnicodeError: As ``connect``; TimeoutError where it takes longer.
    """
    async with asyncio.timeout(limit_seconds):
        handle = await dialer.connect()
    handle.close()
