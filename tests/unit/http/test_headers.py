"""Header fields: lists, what Connection names, and lines as they are written."""

import pytest

from relay.http.headers import (
    list_items,
    merge_list,
    named_by_connection,
    serialize,
    wants_close,
)
from tests.unit.heads import fields_of, lines, request_head, response_head


def test_every_connection_line_counts() -> None:
    """Several lines are one list."""
    head = request_head(("Connection", "keep-alive, X-A"), ("connection", "X-B"))
    assert named_by_connection(head) == {b"keep-alive", b"x-a", b"x-b"}


# Lists


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (b"", []),
        (b" , ,", []),
        (b"a", [b"a"]),
        (b"a,b", [b"a", b"b"]),
        (b" a\t,, b c ", [b"a", b"b c"]),
    ],
)
def test_list_items_are_what_stands_between_commas(value: bytes, items: list[bytes]) -> None:
    """Empty elements do not count (RFC 9110 §5.6.1)."""
    assert list_items(value) == items


def test_one_line_that_lacks_nothing_stays_as_it_is() -> None:
    """Byte for byte, odd spacing included."""
    fields = [*fields_of(("A", "1"), ("Anthropic-Beta", "x ,y,oauth"))]
    assert merge_list(fields, b"anthropic-beta") == fields
    assert merge_list(fields, b"anthropic-beta", [b"oauth"]) == fields


def test_several_lines_become_one_in_the_place_of_the_first() -> None:
    """Headroom keeps only the first line; nothing of the others may be lost."""
    pairs = (("A", "1"), ("Anthropic-Beta", "x,y"), ("B", "2"), ("anthropic-beta", "z"), ("C", "3"))
    assert lines(merge_list([*fields_of(*pairs)], b"anthropic-beta")) == [
        ("A", "1"),
        ("anthropic-beta", "x,y, z"),
        ("B", "2"),
        ("C", "3"),
    ]


def test_missing_elements_are_added_once() -> None:
    """To a line that is there, or on a line of their own."""
    one = [*fields_of(("anthropic-beta", "x"), ("A", "1"))]
    assert lines(merge_list(one, b"anthropic-beta", [b"y"])) == [
        ("anthropic-beta", "x, y"),
        ("A", "1"),
    ]
    none = [*fields_of(("A", "1"))]
    assert lines(merge_list(none, b"anthropic-beta", [b"y"])) == [
        ("A", "1"),
        ("anthropic-beta", "y"),
    ]
    assert merge_list(none, b"anthropic-beta") == none


def test_element_is_present_only_as_a_whole() -> None:
    """A longer name that contains it is another one."""
    fields = [*fields_of(("anthropic-beta", "oauth-2025-04-20-extended"))]
    merged = merge_list(fields, b"anthropic-beta", [b"oauth-2025-04-20"])
    assert lines(merged) == [("anthropic-beta", "oauth-2025-04-20-extended, oauth-2025-04-20")]


def test_empty_line_leaves_no_empty_element() -> None:
    """A list that begins with a comma would puzzle a simple reader."""
    fields = [*fields_of(("anthropic-beta", ""))]
    assert lines(merge_list(fields, b"anthropic-beta", [b"y"])) == [("anthropic-beta", "y")]


def test_fields_are_serialized_as_lines() -> None:
    """Name, colon, space, value, line end."""
    assert serialize(fields_of(("A-b", "c d"), ("E", ""))) == b"A-b: c d\r\nE: \r\n"
    assert serialize([]) == b""


@pytest.mark.parametrize(
    ("connection", "minor", "closes"),
    [
        (None, 1, False),
        ("close", 1, True),
        ("Close", 1, True),
        ("keep-alive, CLOSE", 1, True),
        ("keep-alive", 1, False),
        ("closed", 1, False),
        (None, 0, True),
        ("keep-alive", 0, True),
    ],
)
def test_sender_that_ends_the_connection_is_recognised(
    connection: str | None, minor: int, *, closes: bool
) -> None:
    """``close`` says so, and HTTP/1.0 means it."""
    pairs = [("Connection", connection)] if connection else []
    assert wants_close(request_head(*pairs, minor=minor)) is closes
    assert wants_close(response_head(*pairs, minor=minor)) is closes
