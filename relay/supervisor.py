"""Tells whoever started the process how it stands, where that wants to know: sd_notify(3).

A datagram to the socket that ``$NOTIFY_SOCKET`` names; without it nothing is done. That nobody
hears it is no reason to stop. Knows nothing of what the process does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping


class Supervisor:
    """Whoever started the process: systemd, or nobody that wants to know."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # With @ it has no file: Linux writes a zero byte in its place.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def ready(self) -> None:
        """Say that the process serves, under the configuration that it has now."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that a configuration is being read; ``ready`` says when that is over."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the process is on its way out."""
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
