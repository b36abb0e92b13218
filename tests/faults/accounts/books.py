"""The ledger held against the API's account: row by row, and by every report of ``relay usage``."""

from __future__ import annotations

import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from relay.commands.usage import Action, LedgerPlace, run
from relay.telemetry.ledger.report import Question
from tests.faults.accounts.plans import Plan, Tokens
from tests.harness.ledger import rows_in

_REQUEST: Final = re.compile(r"req_(\d+)_\d+")
_TYPES: Final = (
    *("input", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_unknown", "output"),
)
SHOWN: Final = 10
"""Findings of a kind; beyond these they are only counted."""

Key = tuple[str | None, ...]
_KEYS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Plan], Key]]]] = {
    "clients": (("client",), lambda plan: (plan.client,)),
    "models": (("model",), lambda plan: (plan.model,)),
    "sessions": (("session",), lambda plan: (plan.session,)),
    "agents": (("session", "agent"), lambda plan: (plan.session, plan.agent_id)),
    "monthly": (("month",), lambda _: (None,)),
}
"""By report: what its rows are called by, and how a call is."""


@dataclass
class Books:
    """What a ledger's rows and reports come to, and what is wrong with that."""

    path: Path
    plans: Mapping[int, Plan]
    stated: Mapping[int, Tokens]
    findings: list[str] = field(default_factory=list)
    missing: set[int] = field(default_factory=set)
    """Calls that a kill has cost, and may."""
    tokens: int = 0
    """What all reports came to last."""

    def compare(self, may_be_missing: set[int]) -> None:
        """Find what is not as it should be, while no relay runs."""
        recorded = self._recorded()
        for number, stated in self.stated.items():
            found = recorded.pop(number, None)
            if found is None and number in may_be_missing | self.missing:
                self.missing.add(number)
            elif found is None and +stated:
                self._find(f"{self._name(number)} is missing: {dict(+stated)}")
            elif found is not None and +found != +stated:
                self._find(f"{self._name(number)} is {dict(+found)} and was {dict(+stated)}")
        for number in recorded:
            self._find(f"call {number} was never made")
        for report in _KEYS:
            self._compare_report(report)

    def _recorded(self) -> dict[int, Tokens]:
        """Return the tokens of each call that has a row with the API's id."""
        recorded: dict[int, Tokens] = {}
        for row in rows_in(self.path):
            used = Counter({kind: row[kind] or 0 for kind in _TYPES})
            match = _REQUEST.fullmatch(row["request_id"] or "")
            if match is None:
                if +used:
                    self._find(f"a row without an id has tokens: {row}")
            elif (number := int(match[1])) in recorded:
                self._find(f"{self._name(number)} is there twice")
            else:
                recorded[number] = used
        return recorded

    def _compare_report(self, report: str) -> None:
        names, key_of = _KEYS[report]
        expected: dict[Key, Tokens] = defaultdict(Counter)
        for number, stated in self.stated.items():
            if number not in self.missing:
                expected[key_of(self.plans[number])] += _directions(stated)
        answer = self._usage(report)
        found: dict[Key, Tokens] = defaultdict(Counter)
        for row in answer["rows"]:
            key = (None,) if report == "monthly" else tuple(row[name] for name in names)
            found[key] += Counter({name: row[name] for name in _directions(Counter())})
        for key in expected.keys() | found.keys():
            if +found[key] != +expected[key]:
                self._find(f"{report}: {key} is {found[key]} and was {expected[key]}")
        total = sum(expected.values(), Counter())
        if any(answer["total"][name] != total[name] for name in total):
            self._find(f"{report}: in all {answer['total']} and was {total}")
        self.tokens = total.total()

    def _usage(self, report: str) -> Any:  # noqa: ANN401  # JSON
        out = io.StringIO()
        run(LedgerPlace(self.path, "UTC"), Action(Question(report, "2000-01-01"), "json"), out)
        return json.loads(out.getvalue())

    def _name(self, number: int) -> str:
        return f"call {number} ({self.plans[number].fate})"

    def _find(self, what: str) -> None:
        self.findings.append(what)


def _directions(used: Tokens) -> Tokens:
    """Return tokens as reports have them: the cache's lifetimes together."""
    written = sum(used[kind] for kind in _TYPES if kind.startswith("cache_write"))
    return Counter(
        input=used["input"],
        cache_read=used["cache_read"],
        cache_write=written,
        output=used["output"],
    )
