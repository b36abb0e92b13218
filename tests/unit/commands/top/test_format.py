"""Figures as people read them."""

import pytest

from relay.commands.top import format as words


class TestWords:
    """Figures as people read them."""

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (None, "–"),
            (0, "0.00 s"),
            (0.994, "0.99 s"),
            (0.996, "1.0 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min"),
            (83, "1 min 23 s"),
            (3599.7, "1 h"),
            (7800, "2 h 10 min"),
            (86400, "1 d"),
            (3.2 * 86400, "3 d 4 h"),
        ],
    )
    def test_duration(self, seconds: float | None, text: str) -> None:
        """Two units at most, and none that is zero or carries over."""
        assert words.duration(seconds) == text

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, "–"),
            (0, "0"),
            (999, "999"),
            (999.6, "1k"),
            (1234, "1.2k"),
            (45_400, "45k"),
            (999_600, "1M"),
            (2_150_000_000, "2.1G"),
            (5e13, "50000G"),
        ],
    )
    def test_amount(self, value: float | None, text: str) -> None:
        """Three digits at most, as far as units go."""
        assert words.amount(value) == text

    def test_percent_rounds_neither_to_all_nor_to_nothing(self) -> None:
        """What is nearly spent is not spent."""
        shares = [None, 0, 0.001, 0.58, 0.999, 1]
        assert [words.percent(share) for share in shares] == [
            "–", "0 %", "<1 %", "58 %", ">99 %", "100 %",
        ]  # fmt: skip

    def test_reset(self) -> None:
        """In human words, and silent where nothing is known."""
        assert [words.reset(seconds) for seconds in (None, 0, 0.2, 7800)] == [
            "", "resets now", "resets in 1 s", "resets in 2 h 10 min",
        ]  # fmt: skip

    def test_ago(self) -> None:
        """In whole seconds; clocks that differ make no future."""
        assert [words.ago(seconds) for seconds in (-3, 1.4, 7805)] == [
            "0 s ago", "1 s ago", "2 h 10 min ago",
        ]  # fmt: skip

    def test_rate(self) -> None:
        """Small rates have a digit after the point."""
        assert [words.rate(value) for value in (0, 3.42, 9.99, 1200)] == ["0", "3.4", "10", "1.2k"]
