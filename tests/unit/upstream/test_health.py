"""Why an upstream cannot be reached, in words, by the error that says so."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import pytest

from relay.errors import UpstreamConnectTimeout, UpstreamUnreachable
from relay.upstream.dial import NO_DESCRIPTOR
from relay.upstream.health import explain


def refused_certificate() -> ssl.SSLCertVerificationError:
    """Return what a handshake raises."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired"
    return error


def no_tls() -> ssl.SSLError:
    """Return what it raises where something else is spoken."""
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), ""),
        (None, ""),
        (OSError("no more threads"), ""),
        (TimeoutError(), "no connection in time"),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
            "the name has no address: temporary failure in name resolution",
        ),
        (UnicodeError("label too long"), "the name has no address: it cannot be one"),
        (OSError(errno.ENETUNREACH, "Connect call failed"), "network is unreachable"),
        (OSError(errno.EHOSTUNREACH, "Connect call failed"), "no route to host"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "connection reset by peer"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), NO_DESCRIPTOR),
        (no_tls(), "TLS failed: wrong version number"),
        (
            refused_certificate(),
            "TLS failed, the certificate is not accepted: certificate has expired",
        ),
    ],
    ids=str,
)
def test_each_cause_has_its_words(cause: BaseException | None, words: str) -> None:
    """None, where nobody answered."""
    error = UpstreamUnreachable()
    error.__cause__ = cause
    assert explain(error) == words


def test_a_limit_of_the_relays_own_is_said() -> None:
    """Whatever it ended."""
    assert explain(UpstreamConnectTimeout()) == "no connection in time"
