"""How TLS is spoken with an upstream: who is trusted, and when a peer has really ended.

What Python's version, OpenSSL's or the event loop would decide otherwise is said here.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto
from inspect import signature
from typing import Final

from relay.config import EgressSettings, HopSettings, RelaySettings

_IS_MENDED: Final = "exc" in signature(sslproto.SSLProtocol._abort).parameters  # noqa: SLF001  # as below


def tls_context(peer: RelaySettings | HopSettings) -> ssl.SSLContext | None:
    """Return how TLS is spoken with a relay's upstream or a hop, or None where it is not."""
    if not peer.upstream.tls:
        return None
    context = _context(peer.ca_file)
    egress = peer.egress if isinstance(peer, RelaySettings) else None
    if egress is not None and egress.ca_file is not None:
        # A proxy that reads TLS shows certificates of its own; that must have been asked for.
        context.load_verify_locations(egress.ca_file)
    return context


def proxy_tls_context(egress: EgressSettings) -> ssl.SSLContext | None:
    """Return how TLS is spoken with a proxy on the way out, or None where it is not."""
    return _context(egress.ca_file) if egress.proxy.tls else None


def _context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    # As curl has it. Since 3.13 Python refuses CAs that lack an extension that RFC 5280 asks for,
    # as many a company's own does; before, one below the root could not be trusted by itself.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def has_ended(transport: asyncio.Transport) -> bool:
    """Whether it was the peer that ended what it sends, once nothing more will come.

    Whoever is in between can end a connection, but cannot say close_notify (RFC 9112 §9.8).
    Event loops feed OpenSSL from memory, where it sees no end by itself, and asyncio's own takes
    either for one.
    """
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return not tls.read(1)
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:  # it waits for more
        return False


def may_carry_tls(transport: asyncio.Transport) -> None:
    """Have a transport that speaks TLS end well where TLS within it fails.

    asyncio's own cannot before Python 3.11.8 and 3.12.2: whoever waits for that TLS would wait for
    ever (python/cpython#113214). Debian 12 has 3.11.2. Where that is mended, to abort is to close
    by force, which so must not abort.
    """
    own = sslproto._SSLProtocolTransport  # noqa: SLF001  # there is no other name for it
    if isinstance(transport, own) and not _IS_MENDED:
        vars(transport)["_force_close"] = lambda _: transport.abort()


def what_tls_says(error: ssl.SSLError) -> str:
    """Return why a handshake failed, as the rest of a sentence that says that it did."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = getattr(error, "verify_message", "unknown")  # only a handshake sets it
        return f", the certificate is not accepted: {reason}"
    return f": {(error.reason or 'no handshake').replace('_', ' ').lower()}"
