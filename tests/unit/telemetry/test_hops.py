"""What a call did at each hop: its times, and what the log and `/calls` say of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from relay.telemetry.access_log import JsonFormatter, TextFormatter, call_fields
from relay.telemetry.call import CallRecord
from relay.telemetry.hops import HopFields, HopRecord
from tests.unit.telemetry.chains import chained, hop

NOW = 1_800_000_000_000_000_000
PASSED = {
    "name": "headroom",
    "outcome": "passed",
    "seconds": 0.033,
    "bytes_in": 1000,
    "bytes_out": 500,
}


@pytest.mark.parametrize(
    ("record", "request_overhead", "response_overhead"),
    [
        (HopRecord("x", sent_at=1.0, returned_at=1.5), 0.5, None),
        (HopRecord("x", sent_at=1.0, returned_at=0.5), 0.0, None),
        (HopRecord("x", sent_at=1.0), None, None),
        (HopRecord("x", beyond_at=2.0, first_byte=2.25), None, 0.25),
        (HopRecord("x", beyond_at=2.0, first_byte=1.0), None, 0.0),
        (HopRecord("x", first_byte=1.0), None, None),
    ],
)
def test_overhead_is_known_where_both_of_its_ends_are(
    record: HopRecord, request_overhead: float | None, response_overhead: float | None
) -> None:
    """A return that began before the leg's head was out took no time."""
    assert record.request_overhead == request_overhead
    assert record.response_overhead == response_overhead
    assert record.overhead == (response_overhead if request_overhead is None else request_overhead)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (hop(), PASSED),
        (
            replace(hop(outcome="answered"), returned_at=None, beyond_at=None, bytes_out=None),
            {"name": "headroom", "outcome": "answered", "bytes_in": 1000},
        ),
        (
            HopRecord("headroom", "skipped"),
            {"name": "headroom", "outcome": "skipped", "bytes_in": 0},
        ),
        (HopRecord("headroom"), {"name": "headroom", "bytes_in": 0}),
    ],
)
def test_what_is_not_known_of_a_hop_is_absent(record: HopRecord, expected: HopFields) -> None:
    """As in the rest of the line."""
    assert call_fields(chained(hops=[record]))["hops"] == [expected]


def test_line_says_how_many_legs_and_what_each_hop_did() -> None:
    """In the chain's order, and by the attempts on the last leg."""
    second = replace(hop("litellm"), bytes_out=700)
    fields = call_fields(chained(CallRecord(), CallRecord(), hops=[hop(), second]))
    assert fields["legs"] == 2
    assert fields["hops"] == [PASSED, PASSED | {"name": "litellm", "bytes_out": 700}]


def test_call_without_a_chain_says_nothing_of_one() -> None:
    """Neither key is there."""
    assert not {"legs", "hops"} & call_fields(CallRecord()).keys()


def test_json_has_the_hops_as_objects() -> None:
    """Which is what those who query logs can use."""
    line = json.loads(JsonFormatter().format_call(call_fields(chained(hops=[hop()])), NOW))
    assert (line["legs"], line["hops"]) == (0, [PASSED])


@pytest.mark.parametrize(
    ("hops", "expected"),
    [
        ([hop()], " legs=1 hops=headroom:passed:0.033s"),
        ([hop(), hop("litellm")], " hops=headroom:passed:0.033s,litellm:passed:0.033s"),
        ([HopRecord("headroom", "skipped")], " hops=headroom:skipped"),
        ([HopRecord("headroom")], " hops=headroom:-"),
    ],
)
def test_text_has_the_hops_in_a_few_letters(hops: list[HopRecord], expected: str) -> None:
    """Their bytes are for machines."""
    fields = call_fields(chained(CallRecord(), hops=hops))
    assert TextFormatter().format_call(fields, NOW).endswith(expected)
    assert isinstance(fields["hops"], list)
