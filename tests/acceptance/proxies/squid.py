"""Squid in a container on the host's network: it asks for a credential, and has rules."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.acceptance.container import docker
from tests.harness import ROOT
from tests.harness.secrets import PROXY_PASSWORD

IMAGE: Final = "relay-acceptance-squid"
START_SECONDS: Final = 30.0
FORBIDDEN: Final = "forbidden.corp.test"
_CONFIGURATION: Final = """\
http_port 127.0.0.1:{port}
hosts_file /etc/squid/hosts
pid_filename none
access_log stdio:/dev/stdout
cache_log /dev/null
cache deny all
auth_param basic program /usr/lib/squid/basic_ncsa_auth /etc/squid/passwd
acl known proxy_auth REQUIRED
acl bad dstdomain {forbidden}
http_access deny bad
http_access allow known
http_access deny all
shutdown_lifetime 0 seconds
"""


async def build() -> str:
    """Build the image, and return its id."""
    return await docker("build", "-q", "-t", IMAGE, str(ROOT / "tests/acceptance/proxies"))


def write_configuration(folder: Path, port: int, host: str) -> None:
    """Write what Squid reads: who may ask, and what a name stands for that no resolver knows."""
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", PROXY_PASSWORD], check=True, capture_output=True, text=True
    )
    files = {
        "squid.conf": _CONFIGURATION.format(port=port, forbidden=FORBIDDEN),
        "hosts": f"127.0.0.1 {host} {FORBIDDEN}\n",
        "passwd": f"corp-relay:{hashed.stdout.strip()}\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    folder.chmod(0o755)


@asynccontextmanager
async def running_squid(folder: Path, port: int, host: str) -> AsyncIterator[str]:
    """Run it for the length of the context; return its container's name."""
    image = await build()
    write_configuration(folder, port, host)
    name = f"relay-acceptance-{uuid.uuid4().hex[:8]}"
    mount = f"{folder}:/etc/squid:ro"
    await docker("run", "-d", "--name", name, "--network=host", "-v", mount, image)
    try:
        await answering(port)
        yield name
    finally:
        await docker("rm", "-f", name)


async def answering(port: int) -> None:
    """Wait until somebody listens at a port."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)  # there is nothing else to wait for
            else:
                writer.close()
                return
