"""Rate limits and quotas: what headers state, and until when it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.http.grammar import Field
from relay.telemetry.rate_limits import (
    KIND_LIMIT,
    WITHOUT_RESET_SECONDS,
    Book,
    Names,
    RateLimitState,
    clock_lead,
    read_limits,
)

NOW = 1_800_000_000.0
DAY = 86_400.0


def fields(*pairs: tuple[str, str]) -> list[Field]:
    """Return header fields, each name with its prefix."""
    names = [(f"Anthropic-RateLimit-{name}".encode(), value) for name, value in pairs]
    return [Field(name, name.lower(), value.encode("latin-1")) for name, value in names]


def names(book: Book, now: float) -> list[str]:
    """Return what a book shows at that time."""
    return [reading.name for reading in book.current(now)]


# RateLimitState


def test_limits_are_read_by_kind() -> None:
    """With the dashes of the header's name as underscores."""
    limits, quotas = read_limits(
        fields(
            ("requests-limit", "4000"),
            ("requests-remaining", "3999"),
            ("requests-reset", "2026-01-01T00:00:00Z"),
            ("input-tokens-limit", "2000000"),
            ("input-tokens-remaining", "0"),
        )
    )
    assert limits == [
        RateLimitState("requests", limit=4000, remaining=3999, reset=1_767_225_600),
        RateLimitState("input_tokens", limit=2_000_000, remaining=0),
    ]
    assert quotas == []


def test_quotas_are_read_by_window() -> None:
    """Named as in the header."""
    limits, quotas = read_limits(
        fields(
            ("unified-5h-utilization", "0.42"),
            ("unified-5h-reset", "1767225600"),
            ("unified-7d-utilization", "1.07"),
            ("unified-7d_opus-utilization", "0"),
            ("unified-weekly-max-utilization", "0.5"),
        )
    )
    assert limits == []
    assert quotas == [
        RateLimitState("5h", utilization=0.42, reset=1_767_225_600),
        RateLimitState("7d", utilization=1.07),
        RateLimitState("7d_opus", utilization=0),
        RateLimitState("weekly-max", utilization=0.5),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("unified-status", "unified-reset", "unified-5h-status", "unified-representative-claim"),
        *("unified-fallback-percentage", "unified-5h-limit", "unified--utilization", "-limit"),
        *("limit", "requests", "requests-limit-", "requests--limit"),
        *("requests-used", "re.quests-limit"),
    ],
)
def test_other_headers_of_the_family_are_not_read(name: str) -> None:
    """Only what has a kind or a window, and a value that is shown."""
    assert read_limits(fields((name, "1"))) == ([], [])


def test_headers_of_other_families_are_not_read() -> None:
    """Whatever they are about."""
    names = (b"x-ratelimit-requests-limit", b"anthropic-organization-id", b"retry-after")
    assert read_limits([Field(name, name, b"7") for name in names]) == ([], [])


@pytest.mark.parametrize(
    "value", ["", "many", "-1", "nan", "inf", "-inf", "1e400", "0x10", "1,000", "\xb2", "1 2"]
)
@pytest.mark.parametrize("part", ["limit", "remaining", "reset"])
def test_value_that_is_no_number_is_left_out(part: str, value: str) -> None:
    """And takes nothing along with it."""
    (reading,), _ = read_limits(fields(("requests-limit", "5"), (f"requests-{part}", value)))
    assert reading == RateLimitState("requests", limit=5)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-01T00:00:00Z", 1_767_225_600),
        ("2026-01-01T01:30:00+01:30", 1_767_225_600),
        ("2026-01-01T00:00:00.500Z", 1_767_225_600.5),
        ("1767225600", 1_767_225_600),
        ("1767225600.25", 1_767_225_600.25),
        ("2026-01-01T00:00:00", None),
        ("2026-01-01", None),
        ("2026-13-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("60ms", None),
        ("Thu, 01 Jan 2026 00:00:00 GMT", None),
    ],
)
def test_reset_is_a_time_with_its_zone_or_seconds(value: str, expected: float | None) -> None:
    """A time without a zone could be anyone's."""
    limits, _ = read_limits(fields(("requests-limit", "1"), ("requests-reset", value)))
    assert limits[0].reset == expected


def test_time_is_no_value_of_anything_else() -> None:
    """A limit that is a date is none."""
    assert read_limits(fields(("requests-limit", "2026-01-01T00:00:00Z"))) == ([], [])


@given(st.lists(st.tuples(st.text("abu-nifedlmt5h_rs.", max_size=30), st.binary(max_size=30))))
def test_nothing_in_a_header_makes_it_raise(pairs: list[tuple[str, bytes]]) -> None:
    """Whatever its name and value; and every number is one that can be shown."""
    found = [
        Field(b"", b"anthropic-ratelimit-" + name.encode(), value)
        for text, value in pairs
        for name in (text, f"{text}-limit", f"unified-{text}-reset")
    ]
    for readings in read_limits(found):
        for reading in readings:
            assert all(0 <= value < float("inf") for value in reading.stated().values())


def test_reading_states_only_what_it_knows() -> None:
    """What was not there is not 0."""
    reading = RateLimitState("requests", limit=4, remaining=0, reset=NOW)
    assert reading.stated() == {"limit": 4, "remaining": 0, "reset": NOW}
    assert RateLimitState("5h", utilization=0.5).stated() == {"utilization": 0.5}


# Keeping


def test_reading_holds_until_its_reset() -> None:
    """And not an instant longer."""
    book = Book(Names())
    book.take([RateLimitState("requests", limit=1, reset=NOW + 10)], NOW)
    assert names(book, NOW + 9.9) == ["requests"]
    assert names(book, NOW + 10) == []
    assert names(book, NOW) == []


def test_reading_without_a_reset_holds_for_five_minutes() -> None:
    """From when it was last stated."""
    assert WITHOUT_RESET_SECONDS == 300
    book = Book(Names())
    book.take([RateLimitState("requests", limit=1)], NOW)
    book.take([RateLimitState("requests", limit=1)], NOW + 200)
    assert names(book, NOW + 499) == ["requests"]
    assert names(book, NOW + 500) == []


def test_reset_beyond_every_window_is_none() -> None:
    """A mistaken one would keep a value for ever."""
    book = Book(Names())
    book.take([RateLimitState("requests", limit=1, reset=NOW + 61 * DAY)], NOW)
    assert names(book, NOW + 299) == ["requests"]
    assert names(book, NOW + 301) == []
    book.take([RateLimitState("7d", utilization=0.5, reset=NOW + 7 * DAY)], NOW)
    assert names(book, NOW + 6 * DAY) == ["7d"]


def test_reset_that_is_past_shows_nothing() -> None:
    """The window has begun anew, and nobody knows how."""
    book = Book(Names())
    book.take([RateLimitState("requests", remaining=0, reset=NOW - 1)], NOW)
    assert names(book, NOW) == []


def test_latest_reading_counts() -> None:
    """Each kind by itself."""
    book = Book(Names())
    book.take([RateLimitState("requests", remaining=5), RateLimitState("tokens", remaining=9)], NOW)
    book.take([RateLimitState("requests", remaining=4, reset=NOW + 400)], NOW + 1)
    shown = {reading.name: reading.remaining for reading in book.current(NOW + 2)}
    assert shown == {"requests": 4, "tokens": 9}
    assert names(book, NOW + 399) == ["requests"]


def test_kinds_beyond_the_limit_are_dropped() -> None:
    """The known ones go on, also for another relay; no place is ever free again."""
    assert KIND_LIMIT == 32
    kinds = Names()
    book = Book(kinds)
    first = [RateLimitState(f"k{number}", limit=1, reset=NOW + 10) for number in range(40)]
    book.take(first, NOW)
    assert names(book, NOW) == [f"k{number}" for number in range(32)]
    book.take(
        [RateLimitState("k3", limit=2, reset=NOW + 20), RateLimitState("new", limit=1)], NOW + 1
    )
    shown = {reading.name: reading.limit for reading in book.current(NOW + 1)}
    assert shown["k3"] == 2
    assert "new" not in shown
    book.take([RateLimitState("new", limit=1)], NOW + 10)
    assert names(book, NOW + 10) == ["k3"]
    other = Book(kinds)
    other.take([RateLimitState("new", limit=1), RateLimitState("k5", limit=1)], NOW + 10)
    assert names(other, NOW + 10) == ["k5"]


# The API's clock


def dated(*values: str) -> list[Field]:
    """Return an answer's Date fields."""
    return [Field(b"Date", b"date", value.encode("latin-1")) for value in values]


@pytest.mark.parametrize(
    ("ahead", "lead"),
    [(0, 0), (1, 0), (-9, 0), (600, 600), (-600, -600), (86_400 * 400, 86_400 * 400)],
)
def test_the_date_tells_how_far_this_clock_is_ahead(ahead: int, lead: int) -> None:
    """Seconds are what an answer takes on its way, and what Date leaves out."""
    found = dated("Fri, 15 Jan 2027 08:00:00 GMT")
    assert clock_lead(found, NOW + ahead) == lead


@pytest.mark.parametrize("value", ["", "now", "Fri, 40 Jan 2027 08:00:00 GMT", "\xb2", "0" * 99])
def test_date_that_is_none_tells_nothing(value: str) -> None:
    """Nor does an answer without one."""
    assert clock_lead(dated(value), NOW) == clock_lead([], NOW) == 0


def test_of_several_dates_the_nearest_counts() -> None:
    """An LLM proxy adds its own to what it kept from an earlier answer."""
    assert (
        clock_lead(dated("Fri, 15 Jan 2027 07:00:00 GMT", "Fri, 15 Jan 2027 08:00:00 GMT"), NOW)
        == 0
    )


@given(st.binary(max_size=40))
def test_no_date_makes_it_raise(value: bytes) -> None:
    """Whatever stands there."""
    assert abs(clock_lead([Field(b"Date", b"date", value)], NOW)) < float("inf")


@pytest.mark.parametrize("ahead", [600, -600])
def test_resets_are_moved_to_this_clock(ahead: float) -> None:
    """So that they last as long as the API says, and no longer."""
    book = Book(Names())
    book.take([RateLimitState("requests", remaining=5, reset=NOW + 60)], NOW + ahead, ahead)
    (reading,) = book.current(NOW + ahead + 59)
    assert reading.reset == NOW + ahead + 60
    assert names(book, NOW + ahead + 60) == []


def test_book_may_change_while_it_is_read() -> None:
    """A scrape asks for one value at a time."""
    book = Book(Names())
    book.take([RateLimitState("a", limit=1), RateLimitState("b", limit=1)], NOW)
    seen = []
    for reading in book.current(NOW):
        book.take([RateLimitState(f"{reading.name}2", limit=1)], NOW)
        seen.append(reading.name)
    assert seen == ["a", "b"]
