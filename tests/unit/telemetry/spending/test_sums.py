"""Sums by period: as a time zone cuts them, and whatever the clock does."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.schema import Per
from relay.telemetry.spending import sums as module
from relay.telemetry.spending.sums import NOTHING, Calendar, Spent, Sums
from tests.harness.clock import at

BERLIN = ZoneInfo("Europe/Berlin")
KATHMANDU = ZoneInfo("Asia/Kathmandu")


@pytest.mark.parametrize(
    ("per", "zone", "before", "after"),
    [
        ("hour", BERLIN, "2026-11-26 22:59:59", "2026-11-26 23:00:00"),
        ("day", BERLIN, "2026-11-26 22:59:59", "2026-11-26 23:00:00"),
        ("day", KATHMANDU, "2026-11-26 18:14:59", "2026-11-26 18:15:00"),
        ("week", BERLIN, "2026-11-29 22:59:59", "2026-11-29 23:00:00"),
        ("month", BERLIN, "2026-11-30 22:59:59", "2026-11-30 23:00:00"),
        ("day", BERLIN, "2026-03-29 21:59:59", "2026-03-29 22:00:00"),
    ],
)
def test_periods_end_as_the_zone_has_it(per: Per, zone: ZoneInfo, before: str, after: str) -> None:
    """Days at midnight there, weeks on Monday; an hour is one of UTC."""
    calendar = Calendar(zone)
    assert calendar.keys(at(before))[per] != calendar.keys(at(after))[per]
    assert calendar.end(per, at(before)) == at(after)


def test_a_session_has_no_end() -> None:
    """It ends when the agent says so."""
    assert Calendar().end("session", at("2026-11-26 22:59:59")) is None


@given(st.floats(0, 4e9), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]))
def test_a_period_ends_where_the_next_begins(moment: float, zone: str) -> None:
    """Whenever that is; and all of them begin no earlier than the earliest."""
    calendar = Calendar(ZoneInfo(zone))
    periods: list[Per] = ["hour", "day", "week", "month"]
    for per in periods:
        end = calendar.end(per, moment)
        assert end is not None
        assert end > moment
        assert calendar.keys(end - 0.001)[per] == calendar.keys(moment)[per]
        assert calendar.keys(end)[per] != calendar.keys(moment)[per]
        assert calendar.keys(calendar.earliest(moment) - 900)[per] != calendar.keys(moment)[per]


def test_a_clock_that_goes_forward_and_back_finds_its_sums() -> None:
    """None is ever reset."""
    calendar, sums = Calendar(BERLIN), Sums()
    today, next_year = at("2026-11-26 12:00:00"), at("2027-11-26 12:00:00")
    for moment in (today, next_year, today):
        sums.add("agent", calendar.keys(moment), Spent(10, 1))
    assert sums.of("agent", calendar.keys(today)["day"]) == Spent(20, 2)
    assert sums.of("agent", calendar.keys(next_year)["day"]) == Spent(10, 1)
    assert sums.of("other", calendar.keys(today)["day"]) == NOTHING


def test_what_was_used_last_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A month that began long ago is the month of each of its hours."""
    monkeypatch.setattr(module, "_PERIODS_KEPT", 10)
    calendar, sums = Calendar(), Sums()
    moments = [at("2026-11-01 00:00:00") + 3600 * hour for hour in range(24 * 20)]
    for moment in moments:
        sums.add("agent", calendar.keys(moment), Spent(1, 0))
    assert sums.of("agent", calendar.keys(moments[0])["month"]) == Spent(len(moments), 0)
    assert sums.of("agent", calendar.keys(moments[0])["hour"]) == NOTHING


def test_whoever_has_not_called_for_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of clients that come and go."""
    monkeypatch.setattr(module, "_CLIENTS_KEPT", 2)
    keys, sums = Calendar().keys(0), Sums()
    for client in ("a", "b", "a", "c"):
        sums.add(client, keys, Spent(1, 1))
    assert [sums.of(client, keys["day"]).micro for client in "abc"] == [2, 0, 1]
