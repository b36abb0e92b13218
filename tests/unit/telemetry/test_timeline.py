"""When what happened to a call, and what each of its legs took."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.telemetry.call import CallRecord
from relay.telemetry.hops import ChainRecord, HopRecord
from relay.telemetry.timeline import Leg, legs, percentile, timeline


def chained() -> CallRecord:
    """Return a call that went through a hop, was tried twice at the API, and is over."""
    first = CallRecord(started=10.2, sent_at=10.25, first_byte=10.5)
    second = CallRecord(started=10.6, sent_at=10.75, first_byte=11.75)
    hop = HopRecord("headroom", sent_at=10.125, returned_at=10.25, beyond_at=11.75, first_byte=12.0)
    chain = ChainRecord([hop], [first, second])
    return CallRecord(started=10.0, first_byte=12.5, finished=14.0, chain=chain)


def test_what_is_not_known_is_left_out() -> None:
    """A call that was refused has a beginning and an end."""
    record = CallRecord(started=5.0, finished=5.5)
    assert timeline(record) == [("admitted", 0.0), ("end", 0.5)]
    assert list(legs(record)) == []


def test_a_call_without_hops_has_one_leg_to_the_api() -> None:
    """From its head out to the answer's head in; the agent's own begins earlier."""
    record = CallRecord(started=1.0, sent_at=1.5, first_byte=2.0, finished=3.0)
    moments = [("admitted", 0.0), ("sent to the API", 0.5), ("first byte", 1.0), ("end", 2.0)]
    assert timeline(record) == moments
    assert list(legs(record)) == [Leg("agent", 1.0), Leg("API", 0.5)]


def test_a_call_through_a_hop_shows_each_leg_and_each_attempt() -> None:
    """In the order of time; what the hop added is apart from what was beyond it."""
    assert timeline(chained()) == [
        ("admitted", 0.0),
        ("sent to headroom", 0.125),
        ("back from headroom", 0.25),
        ("sent to the API", 0.25),
        ("first byte from the API", 0.5),
        ("sent to the API", 0.75),
        ("first byte from the API", 1.75),
        ("first byte from headroom", 2.0),
        ("first byte", 2.5),
        ("end", 4.0),
    ]
    assert list(legs(chained())) == [
        Leg("agent", 2.5),
        Leg("hop headroom", 1.875, 0.375),
        Leg("API", 0.25),
        Leg("API", 1.0),
    ]


def test_a_hop_that_answered_by_itself_added_nothing_that_is_known() -> None:
    """Its leg is measured all the same."""
    hop = HopRecord("cache", sent_at=0.5, first_byte=0.75)
    record = CallRecord(started=0.0, chain=ChainRecord([hop]))
    assert list(legs(record)) == [Leg("hop cache", 0.25, None)]


@given(st.lists(st.floats(0, 100), min_size=1), st.sampled_from([0.5, 0.95]))
def test_percentile_is_a_nearest_rank(values: list[float], share: float) -> None:
    """At least the share is not above it, and less than the share is below; in any order."""
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_of_no_values_there_is_no_percentile() -> None:
    """Where nothing finished yet."""
    assert percentile([], 0.5) is None
