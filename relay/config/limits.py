"""Settles what clients may spend: ``limits``, of each or of all together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, get_args

from relay.config.problems import Path as FieldPath
from relay.config.schema import Limit, Per
from relay.config.settings import ClientRules, LedgerSettings, LimitSettings
from relay.config.validation import Checker
from relay.config.yaml_document import Data

if TYPE_CHECKING:
    from relay.config.clients import DeclaredClients

ALL: Final = "all"
"""What all clients together are called."""
_KINDS: Final = ("usd", "tokens", "at_once")
_PERIODS: Final = ", ".join(get_args(Per)[:-1]) + f" or {get_args(Per)[-1]}"
_FORMS: Final = "{usd: 20, per: day}, {tokens: 1000000, per: session} or {at_once: 8}"
_DAYS: Final[Mapping[str | None, int]] = {"hour": 1, "day": 1, "week": 7, "month": 31}
"""For how long calls must be kept, so that the period's sum is known after a restart."""
MICRO: Final = 1_000_000
"""Of a dollar: the parts that sums are kept in, in whole numbers."""


def read_limits(checker: Checker, path: FieldPath, data: Data) -> tuple[LimitSettings, ...]:
    """Return the limits that are declared at this path."""
    limits: dict[str, LimitSettings] = {}
    for index, item in enumerate(checker.sequence(path, data)):
        here = (*path, index)
        declared = checker.model(here, Limit, item)
        limit = None if declared is None else _settings_of(checker, here, declared)
        if limit is None:
            continue
        if limit.name in limits:
            checker.complain(here, "is a second limit of one kind and period; keep one")
        limits[limit.name] = limit
    return tuple(limits.values())


def _settings_of(checker: Checker, path: FieldPath, limit: Limit) -> LimitSettings | None:
    given = [kind for kind in _KINDS if getattr(limit, kind) is not None]
    if len(given) != 1:
        checker.complain(path, f"must be one of {_FORMS}")
        return None
    if limit.at_once is not None:
        for key in sorted(limit.model_fields_set - {"at_once"}):
            checker.complain((*path, key), "does not go with at_once; leave it out")
        return LimitSettings("at_once", limit.at_once)
    if limit.per is None:
        checker.complain((*path, "per"), f"is required: {_PERIODS}")
        return None
    if limit.usd is not None:
        return LimitSettings("usd", round(limit.usd * MICRO) / MICRO, limit.per, limit.warn)
    assert limit.tokens is not None
    return LimitSettings("tokens", limit.tokens, limit.per, limit.warn)


def counts_use(limits: Iterable[LimitSettings]) -> bool:
    """Whether what calls used is counted: any limit is of dollars or tokens."""
    return any(limit.kind != "at_once" for limit in limits)


def remark_on_limits(
    checker: Checker,
    declared: DeclaredClients,
    of_all: tuple[LimitSettings, ...],
    ledger: LedgerSettings | None,
) -> None:
    """Remark on what limits do not see, and on what they forget."""
    by_place: list[tuple[FieldPath, ClientRules]] = [*declared.places]
    for path, rules in by_place:
        if rules.batches and counts_use((*rules.limits, *of_all)):
            checker.remark((*path, "batches"), "limits do not see what batches cost")
    places = [(*path, "limits") for path, rules in by_place if counts_use(rules.limits)]
    if counts_use(of_all):
        places.insert(0, ("limits",))
    if places and ledger is None:
        checker.remark(
            places[0],
            "are kept in memory alone: a restart begins them at zero; "
            "add ledger: {path: /var/lib/relay/ledger.db}",
        )
    if ledger is not None:
        limits = (*of_all, *(limit for _, rules in by_place for limit in rules.limits))
        _remark_on_age(checker, limits, ledger.keep_days)


def _remark_on_age(checker: Checker, limits: Iterable[LimitSettings], keep_days: float) -> None:
    """Remark on a ledger that keeps calls for less than the longest period of a limit."""
    periods = {limit.per for limit in limits if limit.per in _DAYS}
    longest = max(periods, key=lambda per: _DAYS[per], default=None)
    if longest is not None and keep_days < _DAYS[longest]:
        checker.remark(
            ("ledger", "keep_days"),
            f"is less than the {longest} that a limit is for: a restart forgets what is older; "
            f"make it {_DAYS[longest]}",
        )
