"""A stand-in for the Headroom proxy: answers as it does, misbehaves on request.

It runs in a container of its own (`python -m headroom`) and inside tests
(`running_headroom`). It records all it received, so that a test can say what came through
the relay, and plays one of `MODES` per request, so that a test can have any fault it wants.
It knows nothing of the relay.
"""

from .modes import MODES
from .record import Exchange, Record
from .server import Headroom, running_headroom

__all__ = ["MODES", "Exchange", "Headroom", "Record", "running_headroom"]
