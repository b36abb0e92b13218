"""`relay top` of relays with hops: how each stands, what it adds, and what calls did there."""

from __future__ import annotations

import json

import pytest

from relay.commands.top.figures import to_json
from relay.commands.top.page import Call, Hop, read_snapshot
from tests.unit.commands.top.pages import (
    HOSTILE,
    Json,
    figures_of,
    finished,
    page,
    picture,
    relay_json,
    running,
)

HEADROOM: Json = {"name": "headroom", "state": "up", "bypassed": False}
LITELLM: Json = {"name": "litellm", "state": "down", "bypassed": False}
PASSED: Json = {"name": "headroom", "outcome": "passed", "seconds": 0.033, "bytes_in": 10}
SKIPPED: Json = {"name": "litellm", "outcome": "skipped", "bytes_in": 0}


def chain(*hops: Json, **more: object) -> str:
    """Return a page of a relay with these hops."""
    return page(
        relays={"anthropic": {"upstream": "up", "credential": True, "hops": [*hops]}}, **more
    )


@pytest.mark.parametrize(
    ("hops", "read"),
    [
        ([PASSED, SKIPPED], (Hop("headroom", "passed", 0.033), Hop("litellm", "skipped"))),
        ([{"name": "headroom"}], (Hop("headroom"),)),
        ([{}, 7, {"name": ""}, {"name": "x", "seconds": "7", "outcome": 1}], (Hop("x"),)),
        ([], ()),
        ("none", ()),
    ],
)
def test_hops_are_read_leniently(hops: object, read: tuple[Hop, ...]) -> None:
    """What has no name is passed over, and what is no time is unknown."""
    text = json.dumps({"recent": [{"legs": 2, "hops": hops}]})
    assert read_snapshot(text).recent == (Call(legs=2, hops=read),)


def test_json_has_each_hop_of_a_relay_and_its_median() -> None:
    """Over the last calls that have a time there."""
    visits = [[PASSED | {"seconds": seconds}] for seconds in (0.5, 0.1, 0.2)]
    calls = [finished(1, hops=hops) for hops in [*visits, [SKIPPED], []]]
    calls.append(finished(1, relay="openai", hops=[PASSED]))
    relay = relay_json(chain(HEADROOM, LITELLM | {"bypassed": True}, recent=calls))
    assert relay["hops"] == [
        {"name": "headroom", "state": "up", "bypassed": False, "overhead_p50": 0.2},
        {"name": "litellm", "state": "down", "bypassed": True, "overhead_p50": None},
    ]


def test_json_has_each_hop_of_a_call() -> None:
    """And how often the API was asked; of a call without a chain neither key is there."""
    text = page(in_flight=[running(2, legs=1, hops=[PASSED]), running(1)])
    calls = to_json(figures_of(text))["in_flight"]
    assert isinstance(calls, list)
    first, second = calls
    hop = {"name": "headroom", "outcome": "passed", "seconds": 0.033}
    assert (first["legs"], [*first["hops"]]) == (1, [hop])
    assert not {"legs", "hops"} & second.keys()


@pytest.mark.parametrize(
    ("hops", "line"),
    [
        ([HEADROOM], "→ headroom up, 0.03 s → API"),
        ([HEADROOM, LITELLM], "→ headroom up, 0.03 s → litellm down → API"),
        ([HEADROOM | {"bypassed": True}], "→ headroom went past the relay, 0.03 s → API"),
        ([{"name": "new"}], "→ new – → API"),
    ],
)
def test_picture_has_the_way_to_the_api(hops: list[Json], line: str) -> None:
    """In its order, with what is wrong in words."""
    text = picture(chain(*hops, recent=[finished(1, hops=[PASSED])]), width=110)
    assert f" └ anthropic: {line} " in text


@pytest.mark.parametrize(
    ("width", "hops", "cell"),
    [
        (80, [PASSED], " 0.03 s "),
        (80, [PASSED, SKIPPED], " 0.03 s, skipped "),
        (140, [PASSED], " headroom 0.03 s "),
        (140, [SKIPPED], " litellm skipped "),
        (140, [{"name": "headroom"}], " headroom – "),
        (140, [{"name": "x", "outcome": "answered", "seconds": 1}], " x answered "),
    ],
)
@pytest.mark.parametrize("when", ["in_flight", "recent"])
def test_picture_has_the_hops_of_each_call(
    width: int, hops: list[Json], cell: str, when: str
) -> None:
    """By name where there is room."""
    call = running(2, hops=hops) if when == "in_flight" else finished(2, hops=hops)
    text = picture(page(**{when: [call]}), width=width)
    assert cell in text
    assert " hops " in text


def test_picture_without_hops_has_no_column_for_them() -> None:
    """Of most relays it would be empty."""
    assert "hops" not in picture(page(recent=[finished(1)], in_flight=[running(1)]), width=140)


@pytest.mark.parametrize("width", [80, 140])
def test_foreign_names_of_hops_break_no_picture(width: int) -> None:
    """They are escaped as all else."""
    hop: Json = {"name": HOSTILE, "outcome": HOSTILE, "state": HOSTILE}
    text = picture(chain(hop, recent=[finished(1, hops=[hop])]), width=width)
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)
