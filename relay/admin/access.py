"""Who may ask the admin listener, and how: the rules that hold for all of its pages.

A page of another site that rebinds its name to loopback sends a foreign Host; one that merely
posts there says so in Origin or Sec-Fetch-Site. Health checks ask with OPTIONS, or in HTTP/1.0
without a Host (HAProxy's ``option httpchk``), which no browser does.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from relay.admin.bridge import bridge_of
from relay.proxy.access import AccessPolicy

_ALLOWED: Final = "GET, HEAD, OPTIONS"


def check(request: web.Request, policy: AccessPolicy) -> web.Response | None:
    """Return the answer to a request that asks for no page, or None.

    Raises:
        ClientError: The request is refused.
    """
    bridge = bridge_of(request)
    head = bridge.head
    if head.minor or head.values(b"host"):
        policy.check_host(head, bridge.local_address)
    policy.check_origin(head)
    if head.method == b"OPTIONS":
        return web.Response(status=204, headers={"allow": _ALLOWED})
    if head.method not in (b"GET", b"HEAD"):
        text = "Only GET, HEAD and OPTIONS are answered here.\n"
        return web.Response(status=405, text=text, headers={"allow": _ALLOWED})
    return None
