"""The answer to a challenge: whoever gives it knows a client's token, and is no other program.

``relay run`` asks before it starts an agent, which would give its token and its prompts to whatever
listens on the port. The token itself goes neither way, and the port in the proof keeps one relay
from answering for another. Of a client that there is not, the answer is as good as of one that
there is, so that nobody learns names here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Final

from relay.credentials.credential import Credential
from relay.errors import Headers
from relay.http.message import RequestHead

CHALLENGE: Final = b"x-relay-challenge"
PROOF: Final = b"x-relay-proof"

# 22 letters of base64 are 128 bits; twice as many hexadecimal digits as 256 bits have.
_CHALLENGE: Final = re.compile(rb"(\S+) ([A-Za-z0-9_-]{22,64})")
_UNKNOWN: Final = secrets.token_bytes(32)
"""Drawn once at start: an answer that a reload changes would be that of an unknown client."""


def proof_of(token: bytes, nonce: bytes, port: int) -> str:
    """Return the HMAC-SHA256 of nonce and port under a client's token, in hexadecimal."""
    return hmac.new(token, b"%b %d" % (nonce, port), hashlib.sha256).hexdigest()


def prove(head: RequestHead, clients: Iterable[Credential], port: int) -> Headers:
    """Return the header that answers a request's challenge; none where there is none to answer.

    ``port`` is the one that the connection came to.
    """
    values = head.values(CHALLENGE)
    match = _CHALLENGE.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        return ()
    name, nonce = match.groups()
    key = hmac.digest(_UNKNOWN, name, "sha256")
    for client in clients:
        if client.name.encode() == name:
            key = client.value() or key
    return ((PROOF, proof_of(key, nonce, port).encode()),)
