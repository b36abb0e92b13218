"""What is remembered of the lines that peers say; what a line may be is in test_framing."""

from __future__ import annotations

import sys

import pytest

from relay import lines
from relay.headers import Crossing
from relay.lines import Field, NoField, read_fields


def test_a_line_said_again_is_the_same_field() -> None:
    """It is read once."""
    line = b"X-Said-Again: %d" % id(read_fields)
    assert read_fields([line])[0] is read_fields([line, b"X-Other: 1"])[0]


def test_a_line_that_is_no_field_is_never_remembered() -> None:
    """It is refused each time, also between good ones."""
    for _ in range(2):
        with pytest.raises(NoField):
            read_fields([b"X-Good: 1", b"X-Bad : 1"])


def test_memory_of_lines_is_bounded() -> None:
    """However many lines a peer makes up, and however long."""
    known = lines._known_fields
    for number in range(5_000):
        read_fields([b"X-%d: %b" % (number, b"v" * 200)])
        assert len(known) <= 1024
    long = b"X-Long: " + b"v" * 300
    read_fields([long])
    assert long not in known
    kept = sum(sys.getsizeof(line) + 4 * sys.getsizeof(line) for line in known)
    assert kept < 2 * 1024 * 1024


def test_memory_of_names_is_bounded() -> None:
    """The same for what may cross."""
    asked: list[bytes] = []

    def rule(key: bytes) -> bool:
        asked.append(key)
        return True

    crossing = Crossing(rule)
    assert crossing[b"x-once"]
    assert crossing[b"x-once"]
    assert asked == [b"x-once"]
    for number in range(5_000):
        assert crossing[b"x-%d" % number]
        assert len(crossing) <= 1024
    assert crossing[b"x" * 100]
    assert b"x" * 100 not in crossing


def test_a_field_shows_its_name_alone() -> None:
    """Its value may be a credential."""
    secret = b"sk-ant-api03-u8Qm2Lx7Vt0RcY5d"
    assert repr(Field(b"X-Api-Key", b"x-api-key", secret)) == "<Field b'X-Api-Key'>"
