"""What clients have spent, by period and by session: what limits look at.

``Spending`` takes what each call cost once it is over; `in_force` knows who is under which limit;
`state` is how a limit of somebody's stands; `sums` keeps the sums of periods, `sessions` those
of sessions. None is ever reset.
"""

from relay.telemetry.spending.spending import Spending
from relay.telemetry.spending.state import Account, LimitState

__all__ = ["Account", "LimitState", "Spending"]
