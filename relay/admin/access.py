"""Who may ask the admin listener, and how: the rules for all of its pages.

A web page whose host name was rebound to loopback sends a foreign Host; any other web page that
asks has an Origin or Sec-Fetch-Site that says so. The admin page's own module scripts send an
Origin too, and links to the page may stand on other sites. Health checks ask with OPTIONS, or in
HTTP/1.0 without a Host (HAProxy's ``option httpchk``), which no browser does.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from aiohttp import web

from relay.admin.bridge import bridge_of
from relay.errors import OriginRefused
from relay.http.message import RequestHead
from relay.proxy.access import AccessPolicy

EVERYWHERE: Final = ("/metrics", "/healthz", "/readyz")
"""Answered on every address; all else names sessions, models and addresses: loopback only."""
# The page loads only its own files, cannot be framed, and sends no referrer.
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""What every answer of this listener bears."""

_ALLOWED: Final = "GET, HEAD, OPTIONS"
_OWN_PAGES: Final = frozenset({b"none", b"same-origin"})


def check(request: web.Request, policy: AccessPolicy) -> web.Response | None:
    """Return the answer to a request that asks for no page, or None.

    Raises:
        ClientError: The request is refused.
    """
    bridge = bridge_of(request)
    head = bridge.head
    if head.minor or head.values(b"host"):
        policy.check_host(head, bridge.local_address)
    _check_origin(head)
    if head.method == b"OPTIONS":
        return web.Response(status=204, headers={"allow": _ALLOWED})
    if head.method not in (b"GET", b"HEAD"):
        text = "Only GET, HEAD and OPTIONS are answered here.\n"
        return web.Response(status=405, text=text, headers={"allow": _ALLOWED})
    if not is_local(request) and request.path not in EVERYWHERE:
        raise web.HTTPNotFound
    return None


def is_local(request: web.Request) -> bool:
    """Whether a request came to a loopback address: from this host, or by its `ssh -L`."""
    try:
        address = ipaddress.ip_address(bridge_of(request).local_address)
    except ValueError:  # the connection has gone
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _check_origin(head: RequestHead) -> None:
    """Raise OriginRefused for a request of another site or port, unless it is a followed link."""
    sites = [site.lower() for site in head.values(b"sec-fetch-site")]
    if origins := head.values(b"origin"):
        hosts = head.values(b"host")
        if [*map(bytes.lower, origins)] != [b"http://" + host.lower() for host in hosts]:
            raise OriginRefused
        if sites != [b"same-origin"]:
            raise OriginRefused
    elif not _OWN_PAGES.issuperset(sites) and not _follows_link(head):
        raise OriginRefused


def _follows_link(head: RequestHead) -> bool:
    """Whether a browser opens the page itself, as a document of its own."""
    wants = (head.values(b"sec-fetch-mode"), head.values(b"sec-fetch-dest"))
    return head.target.partition(b"?")[0] == b"/" and wants == ([b"navigate"], [b"document"])
