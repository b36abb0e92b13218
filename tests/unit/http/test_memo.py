"""What was read of bytes that agents repeat, within bounds."""

from __future__ import annotations

import pytest

from relay.http.memo import COUNT_LIMIT, LENGTH_LIMIT, Memo


def test_it_is_read_once() -> None:
    """And then known."""
    asked: list[bytes] = []

    def read(data: bytes) -> int:
        asked.append(data)
        return len(data)

    lengths = Memo(read)
    assert [lengths[b"four"], lengths[b"four"], lengths[b"x"]] == [4, 4, 1]
    assert asked == [b"four", b"x"]


def test_what_is_raised_is_raised_again() -> None:
    """A refusal is no reading."""

    def read(_: bytes) -> int:
        raise ValueError

    lengths = Memo(read)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^$"):
            lengths[b"x"]
    assert len(lengths) == 0


def test_memory_is_bounded() -> None:
    """However many there are, and however long."""
    lengths = Memo(len)
    for number in range(5 * COUNT_LIMIT):
        assert lengths[b"%d" % number] == len(str(number))
        assert len(lengths) <= COUNT_LIMIT
    for length in (LENGTH_LIMIT, LENGTH_LIMIT + 1, 16_384):
        assert lengths[b"x" * length] == length
        assert (b"x" * length in lengths) is (length == LENGTH_LIMIT)


def test_what_is_not_to_be_kept_is_read_anew() -> None:
    """And a representation shows nothing of what is."""
    texts = Memo(bytes.decode, lambda text: not text.startswith("sk-"))
    assert texts[b"sk-ant-api03-u8Qm2Lx7Vt0RcY5d"].startswith("sk-")
    assert texts[b"open"] == "open"
    assert [*texts] == [b"open"]
    assert repr(texts) == "<Memo 1>"
