"""mitmproxy as PyPI has it: it reads TLS with a CA of its own, or lets it through unread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.acceptance.environments import LOCKS, python_with
from tests.acceptance.proxies.squid import answering
from tests.harness.secrets import PROXY_CREDENTIAL

_ADDON: Final = """\
def server_connect(data):
    data.server.address = ("127.0.0.1", {upstream})


def request(flow):
    with open({seen!r}, "a") as file:
        print(flow.request.path, flow.request.headers.get("x-api-key"), file=file)
"""


@asynccontextmanager
async def running_mitmproxy(
    folder: Path, port: int, upstream: int, ca_file: Path, *options: str
) -> AsyncIterator[Path]:
    """Run it for the length of the context; return the file that has all that it read.

    Whatever it is asked for, it goes to the port of loopback; its own CA is in ``folder``.
    """
    seen, addon = folder / "seen", folder / "addon.py"
    seen.touch()
    addon.write_text(_ADDON.format(upstream=upstream, seen=str(seen)))
    program = await asyncio.to_thread(python_with, LOCKS / "mitmproxy.txt")
    process = await asyncio.create_subprocess_exec(
        str(program.with_name("mitmdump")),
        *("--quiet", "--listen-host", "127.0.0.1", "--listen-port", str(port)),
        *("--set", f"confdir={folder}", "--set", "connection_strategy=lazy"),
        *("--set", f"ssl_verify_upstream_trusted_ca={ca_file}"),
        *("--proxyauth", PROXY_CREDENTIAL, "--scripts", str(addon), *options),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await answering(port)
        yield seen
    finally:
        process.terminate()
        await process.wait()


def ca_of(folder: Path) -> str:
    """Return the file of its own CA's certificate."""
    return str(folder / "mitmproxy-ca-cert.pem")
