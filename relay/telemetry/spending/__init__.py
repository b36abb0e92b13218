"""What clients have spent, by period and by session: what limits look at.

``Spending`` takes what each call cost once it is over, and knows who is under which limit;
`sums` keeps the sums of periods, `sessions` those of sessions. None is ever reset.
"""

from relay.telemetry.spending.spending import Account, LimitState, Spending

__all__ = ["Account", "LimitState", "Spending"]
