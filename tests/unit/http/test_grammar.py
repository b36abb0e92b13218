"""What is remembered of the lines that agents say; what a line may be is in test_parser."""

from __future__ import annotations

import pytest

from relay.http.grammar import Field, NoField, agents_fields, read_field
from relay.http.parser import RequestHeadReader, ResponseHeadReader


def test_a_line_said_again_is_the_same_field() -> None:
    """It is read once."""
    line = b"User-Agent: %d" % id(agents_fields)
    assert agents_fields[line] is agents_fields[line]


def test_a_line_that_is_no_field_is_never_remembered() -> None:
    """It is refused each time."""
    for _ in range(2):
        with pytest.raises(NoField):
            agents_fields[b"User-Agent : 1"]


@pytest.mark.parametrize(
    "name",
    [
        *("X-Api-Key", "authorization", "Cookie", "Set-Cookie", "x-goog-api-key", "X-Relay-Call"),
        *("Proxy-Authorization", "X-Nobody-Has-Heard-Of", "Referer", "X-Claude-Code-Session-Id"),
        *("Content-Length", "request-id"),
    ],
)
def test_only_lines_that_hold_nothing_of_anybody_are_remembered(name: str) -> None:
    """No token, no key in a header of its own, and nothing that is another each time."""
    line = f"{name}: sk-ant-api03-u8Qm2Lx7Vt0RcY5d".encode()
    assert agents_fields[line].value.startswith(b"sk-ant")
    assert line not in agents_fields


def test_only_lines_of_requests_are_remembered() -> None:
    """An answer's are not, whatever they are called."""
    lines = [b"Content-Type: text/%d" % number for number in (id(agents_fields), id(read_field))]
    assert RequestHeadReader().feed(b"GET / HTTP/1.1\r\n" + lines[0] + b"\r\n\r\n")
    assert ResponseHeadReader().feed(b"HTTP/1.1 200 OK\r\n" + lines[1] + b"\r\n\r\n")
    assert [line in agents_fields for line in lines] == [True, False]


def test_a_field_shows_its_name_alone() -> None:
    """Its value may be a credential."""
    secret = b"sk-ant-api03-u8Qm2Lx7Vt0RcY5d"
    assert repr(Field(b"X-Api-Key", b"x-api-key", secret)) == "<Field b'X-Api-Key'>"
