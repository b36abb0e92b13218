"""One connection to an agent, as it is written to and ended.

An answer that is complete ends as HTTP says; one that is not must never look complete. The
kernel's own doings are known here and nowhere else: resets, half-closes, what it still
holds. Knows nothing of requests: the connection reads them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
import termios
from collections.abc import Callable
from typing import Final

LINGER_SECONDS: Final = 2.0  # nginx's lingering_timeout is 5 s
_FLUSH_POLL_SECONDS: Final = 0.01
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class AgentTransport:
    """The writing side of a connection, and its end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._local_address: str | None = None
        self._on_writable: Callable[[bool], None] | None = None
        self.writable = True
        """Whether the agent keeps up with what is written."""
        self.framed = True
        """Whether the agent can tell a complete answer from one that broke off."""
        self.whole = True
        """Whether no answer is under way of which something is still to be written."""
        self.closing_since: float | None = None
        self.is_excused: Callable[[float], bool] = lambda _: False
        """Whether, within so many seconds, who is written to could not take anything."""

    # For the connection

    def opened(self, transport: asyncio.Transport) -> None:
        """Write to this from now on."""
        self._transport = transport

    def lost(self) -> None:
        """Note that there is nothing to write to any more."""
        self._transport = None

    def set_writable(self, *, value: bool) -> None:
        """Note whether the agent keeps up, and tell who watches."""
        self.writable = value
        if self._on_writable is not None:
            self._on_writable(value)

    def pause_reading(self) -> None:
        """Read no more for now."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # For an answer

    @property
    def local_address(self) -> str:
        """The IP address that the agent connected to."""
        if self._local_address is None:
            transport = self._transport
            info = transport.get_extra_info("sockname") if transport is not None else None
            self._local_address = str(info[0]) if info else ""
        return self._local_address

    @property
    def local_port(self) -> int:
        """The port that the agent connected to."""
        info = self._transport.get_extra_info("sockname") if self._transport is not None else None
        return int(info[1]) if info else 0

    def write(self, data: bytes) -> None:
        """Queue bytes for the agent."""
        if self._transport is not None:
            self._transport.write(data)

    def watch(self, on_writable: Callable[[bool], None] | None) -> None:
        """Have a function told when the agent falls behind, and when it has caught up."""
        self._on_writable = on_writable

    async def catch_up(self, limit_seconds: float) -> None:
        """Let the agent take its answer; one that takes nothing for so long is cut off."""
        if self.writable:
            return
        caught_up = asyncio.Event()
        self.watch(lambda writable: caught_up.set() if writable else None)
        try:
            while not caught_up.is_set():
                untaken = self.untaken
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(limit_seconds):
                        await caught_up.wait()
                taken = caught_up.is_set() or self.untaken < untaken
                if not taken and not self.is_excused(limit_seconds):
                    self.abort()
                    return
        finally:
            self.watch(None)

    @property
    def unsent(self) -> int:
        """Bytes that wait for the agent in this process."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    @property
    def untaken(self) -> int:
        """Bytes that the agent has not taken: here, in the kernel, and on the way."""
        if self._transport is None:
            return 0
        return self.unsent + _unacknowledged(self._transport.get_extra_info("socket"))

    # The end

    def abort(self) -> None:
        """Cut the connection at once; what waits for the agent is lost.

        Without framing only a reset tells the agent so: an end would look like the answer's.
        """
        if self._transport is not None:
            if not self.framed and (self.unsent or not self.whole):
                handle = self._transport.get_extra_info("socket")
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    def close(self) -> None:
        """Close the connection once what waits for the agent is sent."""
        if self._transport is not None:
            self._transport.close()

    async def break_off(self, limit_seconds: float) -> None:
        """See that nobody takes an answer that is not complete for complete, once there is no more.

        A framed one shows by itself that something is missing when the connection closes.
        For the others (``framed`` is False) only a reset does, once what there is is sent.
        """
        if not self.framed:
            await self._flush(limit_seconds)
            self.abort()

    async def _flush(self, limit_seconds: float) -> None:
        """Wait until the agent's side has acknowledged everything, up to a limit."""
        deadline = self._loop.time() + limit_seconds
        while self._transport is not None and self._loop.time() < deadline:
            handle = self._transport.get_extra_info("socket")
            if not self.unsent and not _unacknowledged(handle):
                break
            await asyncio.sleep(_FLUSH_POLL_SECONDS)

    def cut(self) -> None:
        """End the connection now, by a reset where part of an answer would look like all of it."""
        if self.framed or self.whole:
            self.close()
        else:
            self.abort()

    async def linger(self) -> None:
        """Close the sending side, and drop what still comes for a moment.

        Closing with bytes unread would reset the connection, and the agent might lose the
        answer that says why (RFC 9112 §9.6). One that is being reset is not ended before.
        """
        if self._transport is not None and not self._transport.is_closing():
            with contextlib.suppress(OSError):  # reset this instant: asyncio's own loop raises
                self._transport.write_eof()
            self._transport.resume_reading()
            await asyncio.sleep(LINGER_SECONDS)
            self.close()

    # From time to time

    def notice_departure(self) -> None:
        """Cut the connection if the agent has hung up while nothing is read from it.

        The event loop sees an end only by reading, and does not read while a body waits
        for the upstream; the kernel tells (POLLRDHUP), unless unread bytes fill its window.
        """
        transport = self._transport
        if transport is None or transport.is_closing() or transport.is_reading():
            return
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        if poll.poll(0):
            self.abort()

    def cut_if_stuck(self, limit_seconds: float) -> None:
        """Cut a closing connection whose agent does not take what was left for it."""
        if self._transport is None or not self._transport.is_closing():
            return
        now = self._loop.time()
        self.closing_since = now if self.is_excused(limit_seconds) else self.closing_since or now
        if now - self.closing_since > limit_seconds:
            self.abort()


class WriteLimit:
    """Cuts a connection whose agent, while it is behind, takes nothing for as long as a limit."""

    def __init__(self, agent: AgentTransport, limit_seconds: float) -> None:
        self._agent = agent
        self._limit_seconds = limit_seconds
        self._loop = asyncio.get_running_loop()
        self._untaken = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch an agent that has fallen behind."""
        self._untaken = self._agent.untaken
        self._timer = self._loop.call_later(self._limit_seconds, self._check)

    def _check(self) -> None:
        taken = self._agent.untaken < self._untaken
        if taken or self._agent.is_excused(self._limit_seconds):
            self.start()
        else:
            self._agent.abort()

    def stop(self) -> None:
        """Watch no more: it has caught up, or the answer is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _unacknowledged(handle: socket.socket) -> int:
    """Return how many bytes the kernel still holds for the peer (tcp(7), SIOCOUTQ)."""
    answer = fcntl.ioctl(handle.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    return int(struct.unpack("i", answer)[0])
