"""What systemd is told of a relay that runs: that it serves, reads a configuration, and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from relay.supervisor import Supervisor
from tests.harness import FUSE_SECONDS
from tests.harness.configuration import configuration
from tests.harness.messages import OK, request
from tests.harness.relay import relay_process, update_configuration
from tests.harness.upstream import Upstream


class Listener:
    """systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)  # noqa: FBT003  # the name says what it is

    async def hears(self) -> list[str]:
        """Return the lines of the next message."""
        async with asyncio.timeout(FUSE_SECONDS):
            data = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
        return data.decode().splitlines()

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


@pytest.mark.parametrize("abstract", [False, True])
@pytest.mark.asyncio_loop
async def test_it_says_how_it_stands(upstream: Upstream, tmp_path: Path, abstract: bool) -> None:
    """Ready once a call is served, and again after each reload, right or wrong; then stopping."""
    name = f"relay-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    listener = Listener(f"\0{name}" if abstract else name)
    upstream.answer_with(OK)
    config = configuration(upstream.port)
    environment = {"NOTIFY_SOCKET": f"@{name}" if abstract else name}
    try:
        async with relay_process(tmp_path, config, environment) as relay:
            assert await listener.hears() == ["READY=1"]
            assert (await relay.ask(request())).status == 200
            for text in ("grants: 7", None):
                if text is None:
                    update_configuration(relay, config)
                else:
                    relay.path.write_text(text)
                relay.signal(signal.SIGHUP)
                reloading, since = await listener.hears()
                assert reloading == "RELOADING=1"
                assert int(since.removeprefix("MONOTONIC_USEC=")) > 0
                assert await listener.hears() == ["READY=1"]
            assert await relay.reloads() == 2
            relay.signal(signal.SIGTERM)
            assert await listener.hears() == ["STOPPING=1"]
            assert await relay.exit_status() == 0
    finally:
        listener.close()


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all", "@nobody-listens-here"])
def test_whoever_is_not_there_is_no_reason_to_fail(address: str | None) -> None:
    """Without a supervisor nothing is done."""
    supervisor = Supervisor({} if address is None else {"NOTIFY_SOCKET": address})
    supervisor.ready()
    supervisor.reloading()
    supervisor.stopping()
