"""Recognises a Headroom behind a relay, and finds out what it would let others do.

No request here carries the credential. Whether Headroom honours ``x-headroom-base-url`` is seen
from a message that cannot be parsed: it refuses either the address or the message, and calls
nobody. Observed on headroom-ai 0.42.0.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from contextlib import closing
from typing import Final, Literal

from relay.commands.doctor.calls import Stranger
from relay.commands.doctor.findings import Findings, note, ok, warn
from relay.commands.doctor.host import System
from relay.config import RelaySettings, Settings
from relay.errors import RelayError
from relay.http.target import has_segments

PAGE: Final = "/livez"
"""Where it says what it is."""
_SERVICE: Final = "headroom-proxy"
_VERSION: Final = re.compile(r"[0-9A-Za-z.+-]{1,30}")
# The agent has no business on these; under /v1/, too.
PAGES: Final = (
    *(b"/stats", b"/stats-history", b"/dashboard", b"/settings", b"/admin", b"/debug", b"/cache"),
    *(b"/metrics", b"/transformations", b"/v1/retrieve", b"/v1/compress", b"/v1/telemetry"),
    *(b"/v1/toin", b"/v1/feedback", b"/v1/usage"),
)
_HEADER: Final = b"x-headroom-base-url"
# The port is none, so that nothing could be called even by a Headroom that reads no message
# first. The second address is public by its form, and nobody's: RFC 7526 took it back.
_HERE: Final = b"http://127.0.0.1:none"
_ANYWHERE: Final = b"http://192.88.99.1:none"
_NO_MESSAGE: Final = b"["
_API: Final = "https://api.anthropic.com"

Verdict = Literal["obeyed", "refused", "unknown"]


async def examine(
    relay: RelaySettings, version: str, settings: Settings, system: System, onward: str = _API
) -> Findings:
    """Examine what the Headroom behind a relay would do for others than the relay."""
    yield note(
        "headroom",
        f"this is Headroom {version}: its pages (/stats, /settings, /admin, ...) are for whoever "
        "is on its host; the relay forwards none of them",
    )
    if open_pages := _open_pages(relay):
        text = f"allow lets agents have Headroom's own pages: {' '.join(open_pages)}"
        yield warn("headroom", text, f"take what covers them out of relays.{relay.name}.allow")
    if exposed := _exposed_at(relay, system):
        text = f"Headroom listens beyond loopback, at {exposed}:{relay.upstream.port}: agents and "
        text += "others reach it around the relay"
        yield warn("headroom", text, "start it with --host 127.0.0.1; -p 127.0.0.1:... in Docker")
    async for finding in _steering(relay, settings, onward):
        yield finding


async def find_version(relay: RelaySettings, settings: Settings) -> str | None:
    """Return Headroom's version, or None where this is not Headroom."""
    try:
        with closing(Stranger(relay, settings.timeouts)) as stranger:
            page = (await stranger.ask("GET", PAGE)).json()
    except RelayError:
        return None
    return version_on(page, otherwise="of no known version")


def version_on(page: Mapping[str, object], otherwise: str) -> str | None:
    """Return the version that Headroom's page states, or ``otherwise``; None of another's page."""
    if page.get("service") != _SERVICE:
        return None
    version = page.get("version")
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else otherwise


def _open_pages(relay: RelaySettings) -> list[str]:
    return [
        page.decode()
        for page in PAGES
        if any(has_segments(page, prefix) or has_segments(prefix, page) for prefix in relay.allow)
    ]


def _exposed_at(relay: RelaySettings, system: System) -> str:
    """Return an address beyond loopback where this host's Headroom listens, or empty."""
    host = relay.upstream.host
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    found = (each for each in system.listeners() if local and each.port == relay.upstream.port)
    return next((each.host for each in found if not each.ip.is_loopback), "")


async def _steering(relay: RelaySettings, settings: Settings, onward: str) -> Findings:
    here = await _verdict(relay, settings, _HERE)
    anywhere = await _verdict(relay, settings, _ANYWHERE)
    port = relay.upstream.port
    if here == "obeyed" and anywhere == "obeyed":
        text = f"sends a call to any address at all that its caller names in {_HEADER.decode()}"
        yield warn(
            "headroom",
            f"{text}: whoever reaches port {port} reaches this host's own services",
            "renew Headroom; the relay drops that header, others need not",
        )
    elif here == "obeyed":
        text = "HEADROOM_ALLOWED_BASE_URLS lists 127.0.0.1: whoever reaches port "
        yield warn(
            "headroom",
            f"{text}{port} reaches this host's own services through Headroom",
            "list the addresses of APIs only, with their ports",
        )
    elif anywhere == "obeyed":
        text = f"sends a call to any public address that its caller names in {_HEADER.decode()}"
        yield warn(
            "headroom",
            f"{text}; the relay drops that header, others who reach port {port} need not",
            f"start Headroom with HEADROOM_ALLOWED_BASE_URLS={onward}",
        )
    elif (here, anywhere) == ("refused", "refused"):
        yield ok("headroom", "HEADROOM_ALLOWED_BASE_URLS limits where its callers may send it")


async def _verdict(relay: RelaySettings, settings: Settings, address: bytes) -> Verdict:
    """Return whether Headroom would call this address if a request names it."""
    try:
        with closing(Stranger(relay, settings.timeouts, (_HEADER, address))) as stranger:
            answer = await stranger.ask("POST", "/v1/messages", _NO_MESSAGE)
    except RelayError:
        return "unknown"
    page = answer.json()
    if answer.status != 400:
        return "unknown"
    if "base url" in str(page.get("detail")).lower():
        return "refused"
    return "obeyed" if isinstance(page.get("error"), dict) else "unknown"
