"""What Headroom sends on of a request: where to, with which headers.

Observed on headroom-ai 0.42.0: every header goes on but its own (`x-headroom-*`) and the
framing, one line for each name, the last. The stand-in's own headers steer the stand-in
that gets them; `x-standin-next-mode` becomes `x-standin-mode` for the one behind it.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from .arguments import ArgumentError, Arguments
from .coding import ACCEPTED
from .misrouting import routed_to
from .upstream import Outgoing, UpstreamRefusedError
from .wire import RequestHead

# Stated anew for the body and the host that a request goes to.
_FRAMING = ("host", "content-length", "transfer-encoding", "content-encoding", "accept-encoding")
_STANDIN = "x-standin-"
_NEXT = "x-standin-next-"


def outgoing_request(
    head: RequestHead,
    body: bytes,
    upstreams: Mapping[str, str],
    arguments: Arguments,
    *,
    page: str = "",
) -> Outgoing:
    """Return what goes on of a request, or a request for another page in its name.

    UpstreamRefusedError where there is no way on.
    """
    method, target = head.method, head.target
    if page := page or arguments.text("path"):
        method, target = method_and_target(page)
    base = arguments.text("to") or destination(head, upstreams)
    return addressed(base, method, target, going_on(head, arguments), body)


def readiness_check(address: str) -> Outgoing:
    """Return what Headroom asks its upstream when it starts, without any credential."""
    return addressed(address, "HEAD", "", {"accept": "*/*", "user-agent": "python-httpx"}, b"")


def addressed(
    base: str, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> Outgoing:
    """Return a request to a page below `base`, which may have a path, with its framing."""
    framing = {"host": urlsplit(base).netloc, "accept-encoding": ACCEPTED}
    if body or method not in ("GET", "HEAD"):
        framing["content-length"] = str(len(body))
    return Outgoing(
        base.rstrip("/") + target, method, tuple((framing | dict(headers)).items()), body
    )


def destination(head: RequestHead, upstreams: Mapping[str, str]) -> str:
    """Return the address that a request goes on to; UpstreamRefusedError where there is none.

    The stand-in has no internet: of the addresses that a client may name, it goes to loopback
    alone, and of the providers, to those whose address it was given.
    """
    to = routed_to(head) or ""
    if to in ("anthropic", "openai", "google"):
        if to not in upstreams:
            raise UpstreamRefusedError
        return upstreams[to]
    try:
        near = ipaddress.ip_address(urlsplit(to).hostname or "").is_loopback
    except ValueError:
        near = False
    if not near:
        raise UpstreamRefusedError
    return to


def going_on(head: RequestHead, arguments: Arguments) -> dict[str, str]:
    """Return the headers that go on, with what the arguments drop, add and put in their place."""
    dropped = {*_FRAMING, *arguments.text("drop").lower().split(",")}
    headers = {}
    for name, value in ((name.lower(), value) for name, value in head.headers):
        if name.startswith(_NEXT):
            headers[_STANDIN + name.removeprefix(_NEXT)] = value
        elif not (name in dropped or name.startswith(("x-headroom-", _STANDIN))):
            headers[name] = value
    if key := arguments.text("key"):
        headers |= _with_key(headers, key)
    if added := arguments.text("add"):
        name, _, value = added.partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _with_key(headers: Mapping[str, str], key: str) -> dict[str, str]:
    if "authorization" in headers:
        return {"authorization": f"Bearer {key}"}
    return {"x-api-key": key}


def method_and_target(text: str) -> tuple[str, str]:
    """Read `POST /v1/messages`; ArgumentError if it is none."""
    method, _, target = text.partition(" ")
    if not target.startswith("/"):
        raise ArgumentError("a method and a path are wanted")
    return method, target
