"""The answers that the relay itself gives, as a strict reader reads them."""

import re
from email.utils import parsedate_to_datetime
from typing import get_args

import pytest

from relay import errors
from relay.errors import Api, RelayError
from relay.http.answer import CONTINUE, own_answer, plain_answer
from tests.unit.heads import names, read_response
from tests.unit.test_errors import every_error


def test_continue_is_a_whole_answer() -> None:
    """It has neither fields nor a body."""
    head, rest = read_response(CONTINUE)
    assert (head.status, head.fields, rest) == (100, (), b"")


# The relay's own answers


@pytest.mark.parametrize("error", list(every_error()))
def test_own_answer_says_what_its_error_says(error: type[RelayError]) -> None:
    """Status, outcome, headers and body, in one well-formed answer that names no software."""
    written = own_answer(error(), "openai", head_only=False, close=False)
    head, body = read_response(written)
    assert head.status == error.status
    assert head.values(b"x-relay-error") == [error().name.encode()]
    assert head.values(b"content-type") == [b"application/json"]
    assert head.length == len(body)
    assert body == error().body("openai")
    for name, value in error.headers:
        assert value in head.values(name)
    assert b"server" not in names(head)
    assert not any(name.startswith(b"access-control-") for name in names(head))
    for api in get_args(Api):
        for asked in (False, True):
            written = own_answer(error(), api, head_only=False, close=asked)
            head, _ = read_response(written)
            assert (b"close" in head.values(b"connection")) is (asked or error.closes)
            assert not re.search(b"python|aiohttp", written, re.IGNORECASE)


def test_answer_to_head_has_the_length_but_no_body() -> None:
    """RFC 9110 §9.3.2: as for GET, without the content."""
    error = errors.UnknownRelay()
    head, rest = read_response(own_answer(error, "anthropic", head_only=True, close=False))
    assert head.length == len(error.body("anthropic"))
    assert rest == b""


def test_plain_answer_is_whole_and_dated() -> None:
    """What the admin pages and the probes get."""
    headers = [(b"content-type", b"text/plain")]
    written = plain_answer(200, headers, b"fine\n", head_only=False, close=False)
    head, body = read_response(written)
    assert (head.status, head.reason, body) == (200, b"OK", b"fine\n")
    assert names(head) == [b"content-type", b"date", b"content-length"]
    (date,) = head.values(b"date")
    assert date.endswith(b"GMT")
    assert parsedate_to_datetime(date.decode()).tzinfo is not None


def test_plain_answer_may_be_empty() -> None:
    """A length of 0 says so."""
    head, body = read_response(plain_answer(200, [], b"", head_only=False, close=True))
    assert (head.length, body, head.values(b"connection")) == (0, b"", [b"close"])
