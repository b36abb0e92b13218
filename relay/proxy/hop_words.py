"""What is wrong with a hop, and what to do: the words that log, ``/readyz`` and doctor share."""

from __future__ import annotations

from typing import Final

QUIET_SECONDS: Final = 60.0
"""How often, at most, the log says the same of a hop or an upstream: agents retry all the while."""

GO_ON: Final = "calls go on without it"
"""Where it may be left out."""
WEAK_PASS: Final = "can be guessed: it holds less than 128 bits"
STRONGER: Final = "calls get 503 until it is longer"

CAME_NOT_BACK: Final = "answers 401 without coming back"
WENT_PAST_OR_WANTS_KEY: Final = (
    "it went past the relay, then have it send on to %s; or it wants a key of its own, then name "
    "that in its headers"
)
"""With its return address."""
RETURN_REFUSED: Final = "answers 401: what it sent on was refused at the return address"
DEAD_END: Final = "where it sends on to, nothing answers; that has to be %s"
"""With its return address."""
OR_A_HOP: Final = "if it is to send on to this relay, name it in hops"
"""Of an upstream that is perhaps meant to be one."""
