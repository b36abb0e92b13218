"""What is remembered of the lines that peers say; what a line may be is in test_framing."""

from __future__ import annotations

import pytest

from relay.http import grammar
from relay.http.grammar import Field, NoField, read_fields


def test_a_line_said_again_is_the_same_field() -> None:
    """It is read once."""
    line = b"X-Said-Again: %d" % id(read_fields)
    assert read_fields([line])[0] is read_fields([line, b"X-Other: 1"])[0]


def test_a_line_that_is_no_field_is_never_remembered() -> None:
    """It is refused each time, also between good ones."""
    for _ in range(2):
        with pytest.raises(NoField):
            read_fields([b"X-Good: 1", b"X-Bad : 1"])


@pytest.mark.parametrize(
    "name", ["X-Api-Key", "authorization", "Cookie", "x-goog-api-key", "X-Relay-Call"]
)
def test_what_may_be_a_credential_is_not_remembered(name: str) -> None:
    """The agent's token is thrown away, and so is a key that it should not have."""
    line = f"{name}: sk-ant-api03-u8Qm2Lx7Vt0RcY5d".encode()
    assert read_fields([line])[0].value.startswith(b"sk-ant")
    assert line not in grammar._fields


def test_a_field_shows_its_name_alone() -> None:
    """Its value may be a credential."""
    secret = b"sk-ant-api03-u8Qm2Lx7Vt0RcY5d"
    assert repr(Field(b"X-Api-Key", b"x-api-key", secret)) == "<Field b'X-Api-Key'>"
