"""The figures for machines."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from tests.bench.cases import WITHOUT_A_PEER, Case
from tests.bench.peers import DIRECT
from tests.bench.rounds import Sample, greatest, least, middle
from tests.bench.targets import Figures, Reached

_LIST: Final = re.compile(r"\[[^][{}]+\]")


def record(
    about: dict[str, object], cases: Sequence[Case], figures: Figures, found: Sequence[Reached]
) -> str:
    """Return JSON: the ``cases`` as they were measured, the ``targets`` and what was reached.

    A figure of a case is its median, least and greatest over the rounds.
    """
    document = about | {
        "cases": {case.name: _case(case, figures) for case in cases},
        "targets": [_target(each) for each in found],
    }
    text = json.dumps(document, indent=1, ensure_ascii=False)
    return _LIST.sub(lambda found: " ".join(found[0].split()), text) + "\n"


def _case(case: Case, figures: Figures) -> dict[str, object]:
    samples = figures.samples[case.name]
    return {
        "title": case.title,
        "unit": case.unit,
        "rounds": max(map(len, samples.values())),
        "peers": {peer: _summary(peer, rounds) for peer, rounds in samples.items()},
    }


def _summary(peer: str, rounds: Sequence[Sample]) -> dict[str, list[float]]:
    """Return median, least and greatest of each figure."""
    return {
        figure: [round(value(rounds, figure), 2) for value in (middle, least, greatest)]
        for figure in rounds[0]
        if peer != DIRECT or figure in WITHOUT_A_PEER
    }


def _target(each: Reached) -> dict[str, object]:
    return {
        "text": each.target.text,
        "unit": each.target.unit,
        "wanted": each.target.wanted,
        "verdict": each.verdict,
        "peers": {peer: round(value, 3) for peer, value in each.figures.items()},
    }
