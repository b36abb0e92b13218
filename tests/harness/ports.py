"""Ports for what is told where to listen: containers, and processes that come back to the same."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path
from typing import Final

_LOWEST: Final = 10_000
# Some machines give away all of them.
_LEAST_END: Final = 30_000
_GIVEN_AWAY: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, and that the kernel gives nobody by itself.

    One of those that it gives away (ip(7)) could be another test's until it is listened on.
    """
    end = max(_LEAST_END, int(_GIVEN_AWAY.read_text().split()[0]))
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            handle = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                handle.bind(("127.0.0.1", random.randrange(_LOWEST, end)))  # no secret
                ports.append(handle.getsockname()[1])
    return ports
