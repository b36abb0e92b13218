"""Why there is no way out through a proxy, in words for the log and for ``relay doctor``.

What a proxy says is another's: it is cut, escaped, and known secrets are taken out.
"""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Final, Literal

from relay.http.message import ResponseHead
from relay.upstream.tls import what_tls_says

if TYPE_CHECKING:
    from relay.upstream.tunnel import Tunnel

Step = Literal["connect", "proxy tls", "CONNECT", "tls"]
"""To the proxy, with the proxy, through the proxy, with the upstream."""
Cause = Literal["garbage", "early data", "ended", "refused"]

_SHOWN: Final = 120
# Where proxies say more than by a status: RFC 9209, and Squid.
_DETAILS: Final = (b"proxy-status", b"x-squid-error")
# Several may stand on one line: a scheme is behind a comma as its parameters are, but without "=".
# A quote that nothing closes takes the rest: looking on behind each would take seconds.
_QUOTED: Final = re.compile(rb'"(?:\\.|[^"\\])*"?')
_SCHEME: Final = re.compile(rb"(?:^|,)\s*([A-Za-z][A-Za-z0-9-]{0,19})(?=\s+[^\s=]|\s*(?:,|$))")


class NotOpened(Exception):
    """What answers in the proxy's place, or the proxy, does not open a way."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause: Cause = cause


class Refused(NotOpened):
    """The proxy answers with another status than 2xx."""

    def __init__(self, head: ResponseHead) -> None:
        super().__init__("refused")
        self.head = head


class NoWay(Exception):
    """What is wrong with the way out, and the remedy.

    Both are empty where the proxy itself is not reached: ``unconnected`` is why.
    """

    def __init__(
        self, text: str, remedy: str = "", *, unconnected: Exception | None = None
    ) -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy
        self.unconnected = unconnected
        """Why there is no connection to the proxy, which a bare one would show as well."""

    def __str__(self) -> str:
        return f"{self.text}; {self.remedy}" if self.remedy else self.text


def why_not(tunnel: Tunnel, error: Exception, limit_seconds: float) -> NoWay:
    """Return why a tunnel was not opened within its limit."""
    if isinstance(error, NotOpened):
        return _not_opened(tunnel, error)
    if tunnel.step == "connect":
        return NoWay("", unconnected=error)
    if isinstance(error, TimeoutError):
        return _silent(tunnel, limit_seconds)
    if isinstance(error, ssl.SSLError):
        return _no_tls(tunnel, error)
    return NoWay(f"{_proxy(tunnel)} ends the connection {_WHEN[tunnel.step]}", _SEE_ITS_LOG)


_WHEN: Final[dict[Step, str]] = {
    "proxy tls": "at a TLS hello",
    "CONNECT": "at CONNECT",
    "tls": "during the TLS handshake that goes through it",
}
_SEE_ITS_LOG: Final = "look at its log"


def _proxy(tunnel: Tunnel) -> str:
    return f"the proxy {tunnel.egress.address}"


def _silent(tunnel: Tunnel, limit_seconds: float) -> NoWay:
    what = {
        "proxy tls": "does not answer a TLS hello",
        "CONNECT": f"does not answer CONNECT {tunnel.authority}",
        "tls": f"opens a way to {tunnel.authority}, and no TLS handshake ends",
    }[tunnel.step]
    return NoWay(f"{_proxy(tunnel)} {what} within {limit_seconds:g} s")


def _no_tls(tunnel: Tunnel, error: ssl.SSLError) -> NoWay:
    what, when = "TLS with", "if it is the company's own"
    if tunnel.step == "tls":
        what = f"TLS with {tunnel.authority} through"
        when = "if the proxy is meant to read TLS, the credential too"
    text = f"{what} {_proxy(tunnel)} fails{what_tls_says(error)}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoWay(text, f"{when}, name its CA in egress.ca_file")
    return NoWay(text)


def _not_opened(tunnel: Tunnel, error: NotOpened) -> NoWay:
    if isinstance(error, Refused):
        return _refused(tunnel, error.head)
    if error.cause == "ended":
        return NoWay(f"{_proxy(tunnel)} ends the connection at CONNECT", _SEE_ITS_LOG)
    if error.cause == "early data":
        text = f"{_proxy(tunnel)} sends data of its own behind its answer to CONNECT"
        return NoWay(text, _SEE_ITS_LOG)
    text = f"{_proxy(tunnel)} answers CONNECT with what is not HTTP/1.1"
    return NoWay(text, "correct egress.url: its scheme, and its port")


def _refused(tunnel: Tunnel, head: ResponseHead) -> NoWay:
    said = _said(tunnel, head)
    if head.status != 407:
        text = f"{_proxy(tunnel)} refuses a way to {tunnel.authority}: {said}"
        return NoWay(text, "see to its rules, and to its log")
    schemes = _schemes(head)
    if schemes and b"basic" not in map(bytes.lower, schemes):
        told = _shown(tunnel, b", ".join(schemes))
        text = f"{_proxy(tunnel)} wants to be told who asks by {told}: {said}"
        return NoWay(text, "the relay says it by Basic alone: have it allow that, or this host")
    credential = tunnel.egress.credential
    if credential is None:
        text = f"{_proxy(tunnel)} wants a credential: {said}"
        return NoWay(text, "name a source of user:password in egress.credential")
    text = f"{_proxy(tunnel)} refuses the credential from {credential.origin()}: {said}"
    if b":" not in (credential.value() or b""):
        return NoWay(text, "it has no colon, and is to be user:password")
    return NoWay(text, "put another there")


def _schemes(head: ResponseHead) -> list[bytes]:
    """Return the ways in which a proxy wants to be told who asks (RFC 9110 §11.7.1)."""
    values = head.values(b"proxy-authenticate")
    plain = (_QUOTED.sub(b'""', value) for value in values)
    found = (name for value in plain for name in _SCHEME.findall(value))
    return list(dict.fromkeys(found))


def _said(tunnel: Tunnel, head: ResponseHead) -> str:
    """Return what a proxy says in its answer: its status, and words that may be shown."""
    words = [head.reason, *(value for name in _DETAILS for value in head.values(name)[:1])]
    shown = _shown(tunnel, b", ".join(filter(None, words)))
    return f"{head.status} {shown!a}" if shown else str(head.status)


def _shown(tunnel: Tunnel, text: bytes) -> str:
    """Return a proxy's text without secrets, and not much of it."""
    for secret in tunnel.egress.secrets:
        text = text.replace(secret, b"[redacted]")
    shown = text.decode("latin-1")
    return shown[:_SHOWN] + "..." if len(shown) > _SHOWN else shown
