"""A wall clock that jumps: what Python runs first where this folder is on its path.

``SIGUSR1`` puts ``time.time`` a day on, ``SIGUSR2`` a day back, and it begins so many seconds away
from the host's as ``CLOCK_OFFSET`` says. The clocks of the event loop and
of the kernel's timers are others, and do not jump: no more do they when the host's clock is set.
"""

import os
import signal
import time
from types import FrameType

DAY_SECONDS = 86_400
_time, _time_ns = time.time, time.time_ns
_offset = float(os.environ.get("CLOCK_OFFSET", "0"))


def _jump(number: int, _frame: FrameType | None) -> None:
    global _offset  # noqa: PLW0603  # there is one clock
    _offset += DAY_SECONDS if number == signal.SIGUSR1 else -DAY_SECONDS


def _jumped() -> float:
    return _time() + _offset


def _jumped_ns() -> int:
    return _time_ns() + int(_offset * 1e9)


time.time = _jumped
time.time_ns = _jumped_ns
signal.signal(signal.SIGUSR1, _jump)
signal.signal(signal.SIGUSR2, _jump)
