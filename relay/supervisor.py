"""Tells systemd that the relay is ready, reloading or stopping, as sd_notify(3) does.

Each is a datagram to the socket that ``$NOTIFY_SOCKET`` names; without that variable nothing is
sent. Errors of sending are ignored. Knows nothing of what the process does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping


class Supervisor:
    """The service manager that started the process, if it set ``$NOTIFY_SOCKET``."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # An address that begins with @ is abstract (unix(7)): its first byte is zero.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def ready(self) -> None:
        """Say that the process serves: after its start, and after each reload."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that a configuration is being read; ``ready`` says when that is over."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the process has begun to stop."""
        self._tell("STOPPING=1")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle,
        ):
            handle.setblocking(False)  # noqa: FBT003  # the name says what it is
            handle.sendto(state.encode(), self._address)
