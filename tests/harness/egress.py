"""A relay, the proxy on its way out, and an API behind that: not on loopback, by its name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.harness.certificates import Authority, Certificate
from tests.harness.configuration import Config, configuration
from tests.harness.proxy import Proxy, running_proxy
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.upstream import Upstream, running_upstream

API: Final = "api.corp.test"
AUTHORITY: Final = f"{API}:443"


@dataclass(frozen=True)
class Issued:
    """Certificates of the API and of its proxy, each of a CA of its own."""

    authority: Authority
    api: Certificate
    company: Authority
    proxy: Certificate
    forged: Certificate
    """The API's, as a proxy that reads TLS makes it."""


def issue(folder: Path) -> Issued:
    """Return them, made anew."""
    authority, company = Authority(folder), Authority(folder, "company")
    return Issued(
        authority,
        authority.issue("api", f"DNS:{API}"),
        company,
        company.issue("proxy", "IP:127.0.0.1"),
        company.issue("forged", f"DNS:{API}"),
    )


@dataclass
class Way:
    """All three, running."""

    relay: LocalRelay
    proxy: Proxy
    upstream: Upstream
    config: Config


def through(proxy_url: str, issued: Issued, **egress: object) -> Config:
    """Return a configuration whose API is behind a proxy; ``egress`` is said of that."""
    ca_file = str(issued.authority.file)
    relay = {"url": f"https://{API}", "grant": "anthropic", "ca_file": ca_file}
    way_out = {"url": proxy_url} | egress
    return configuration(0, claude=None, relays={"anthropic": relay}, egress=way_out)


@asynccontextmanager
async def running_way(
    folder: Path,
    issued: Issued,
    *,
    tls: bool = False,
    relay: Config | None = None,
    changes: Config | None = None,
    **egress: object,
) -> AsyncIterator[Way]:
    """Run all three; with TLS also between relay and proxy. ``relay`` is said of the relay."""
    async with AsyncExitStack() as stack:
        context = issued.api.context()
        upstream = await stack.enter_async_context(running_upstream(context))
        own = issued.proxy.context() if tls else None
        proxy = await stack.enter_async_context(running_proxy({AUTHORITY: upstream.port}, own))
        if tls:
            egress = {"ca_file": str(issued.company.file)} | egress
        config = through(proxy.url, issued, **egress)
        config["relays"]["anthropic"] |= relay or {}
        config |= changes or {}
        running = await stack.enter_async_context(running_relay(folder, config))
        yield Way(running, proxy, upstream, config)
