"""An imitation of the Anthropic API at the end of the line, which takes nothing but the real key.

A test plans what is answered to the messages, one reply after another, and finds every call on
record. What no test may overlook is a fault: a credential that is not the real one, a client's
token anywhere in a call, a call that nobody planned, or a reply that nobody fetched. Knows
nothing of the relay.
"""

from .calls import Call
from .replies import Plan, Reply, Usage, breaking, fails, held, late, says, uses
from .server import Api, running_api

__all__ = [
    "Api",
    "Call",
    "Plan",
    "Reply",
    "Usage",
    "breaking",
    "fails",
    "held",
    "late",
    "running_api",
    "says",
    "uses",
]
