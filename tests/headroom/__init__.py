"""A stand-in for the Headroom proxy: answers or sends on as it does, misbehaves on request.

Without an upstream it answers as an API behind Headroom would; with one it is a hop that
sends on what it gets. `Settings` says which.

It runs in a container of its own (`python -m headroom`) and inside tests
(`running_headroom`). It records all it received and sent, so that a test can say what came
through the relay, and plays one of `MODES` per request, so that a test can have any fault it wants.
It knows nothing of the relay.
"""

from .modes import MODES
from .record import Exchange, Leg, Record
from .server import Headroom, running_headroom
from .settings import Settings

__all__ = ["MODES", "Exchange", "Headroom", "Leg", "Record", "Settings", "running_headroom"]
