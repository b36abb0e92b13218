"""What agents are told of the relay's own failures: a contract, row by row."""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from relay import errors
from relay.errors import RelayError


class Row(NamedTuple):
    """One failure as agents and metrics see it."""

    error: type[RelayError]
    status: int
    error_type: str
    outcome: str
    rejection: str | None = None
    retry: bool = False
    closes: bool = False


INVALID = "invalid_request_error"
TABLE = [
    Row(errors.MalformedRequest, 400, INVALID, "rejected", "framing", closes=True),
    Row(errors.BadTarget, 400, INVALID, "rejected", "target", closes=True),
    Row(errors.BadHost, 400, INVALID, "rejected", "host", closes=True),
    Row(errors.TokenRefused, 401, "authentication_error", "rejected", "token"),
    Row(errors.PathRefused, 403, "permission_error", "rejected", "path"),
    Row(errors.OriginRefused, 403, "permission_error", "rejected", "origin"),
    Row(errors.UnknownRelay, 404, "not_found_error", "rejected", "relay"),
    Row(errors.MethodRefused, 405, INVALID, "rejected", "target", closes=True),
    Row(
        errors.RequestStalled, 408, "timeout_error", "rejected", "framing", retry=True, closes=True
    ),
    Row(errors.BodyTooLarge, 413, "request_too_large", "rejected", "too_large", closes=True),
    Row(errors.TargetTooLong, 414, INVALID, "rejected", "framing", closes=True),
    Row(errors.ForeignHost, 421, INVALID, "rejected", "host"),
    Row(errors.UpgradeRefused, 426, INVALID, "rejected", "target"),
    Row(errors.HeadersTooLarge, 431, INVALID, "rejected", "framing", closes=True),
    Row(errors.VersionNotSupported, 505, INVALID, "rejected", "framing", closes=True),
    Row(errors.PassRefused, 401, "authentication_error", "rejected", "pass"),
    Row(errors.LegRefused, 403, "permission_error", "rejected", "leg"),
    Row(errors.LimitReached, 402, "billing_error", "rejected", "limit"),
    Row(errors.OpenAiLimitReached, 400, "billing_error", "rejected", "limit"),
    Row(errors.TooManyAtOnce, 429, "rate_limit_error", "rejected", "limit", retry=True),
    Row(errors.BatchRefused, 403, "permission_error", "rejected", "limit"),
    Row(errors.HopBypassed, 502, "api_error", "hop_bypass"),
    Row(errors.Draining, 503, "overloaded_error", "rejected", "draining", retry=True, closes=True),
    Row(errors.CredentialMissing, 503, "api_error", "no_credential"),
    Row(errors.RelayFault, 500, "api_error", "internal_error", retry=True),
    Row(errors.UpstreamUnreachable, 502, "api_error", "connect_error", retry=True),
    Row(errors.EgressFailed, 502, "api_error", "connect_error", retry=True),
    Row(errors.EgressRefused, 502, "api_error", "connect_error"),
    Row(errors.UpstreamMalformed, 502, "api_error", "upstream_error", retry=True),
    Row(errors.UpstreamRedirected, 502, "api_error", "upstream_error", retry=True),
    Row(errors.UpstreamUpgraded, 502, "api_error", "upstream_error", retry=True),
    Row(errors.UpstreamTimeout, 504, "timeout_error", "timeout", retry=True),
    Row(errors.UpstreamConnectTimeout, 504, "timeout_error", "timeout", retry=True),
    Row(errors.UpstreamTruncated, 502, "api_error", "truncated", retry=True),
    Row(errors.UpstreamStalled, 502, "api_error", "timeout", retry=True),
]
IDS = [row.error.__name__ for row in TABLE]
LEAKS = re.compile(
    r"localhost|loopback|\d+\.\d+\.\d+|::|:\d|\bport\b|https?://|headroom|api\.anthropic|openai"
    r"|python|aiohttp|errno|exception|traceback|invalid x-api-key|sk-",
    re.IGNORECASE,
)


def every_error(kind: type[RelayError] = RelayError) -> Iterator[type[RelayError]]:
    """Yield every class there is."""
    yield kind
    for subclass in kind.__subclasses__():
        yield from every_error(subclass)


@pytest.mark.parametrize("row", TABLE, ids=IDS)
def test_each_failure_has_its_status_type_and_outcome(row: Row) -> None:
    """Status, error.type, outcome and rejection reason are those of the table."""
    error = row.error
    assert (error.status, error.error_type) == (row.status, row.error_type)
    assert (error.outcome, error.rejection) == (row.outcome, row.rejection)


@pytest.mark.parametrize("row", TABLE, ids=IDS)
def test_each_failure_says_whether_to_retry(row: Row) -> None:
    """What a retry cannot mend says so; what it can mend says nothing against it."""
    forbidden = (b"x-should-retry", b"false") in row.error.headers
    assert forbidden is not row.retry


@pytest.mark.parametrize("row", TABLE, ids=IDS)
def test_each_failure_closes_the_connection_or_keeps_it(row: Row) -> None:
    """Whatever leaves the place in the byte stream in doubt closes the connection."""
    assert row.error.closes is row.closes


def test_no_failure_is_missing_from_the_table() -> None:
    """A new class needs a row, so that its contract is written down."""
    families = {RelayError, errors.ClientError, errors.UpstreamError}
    assert set(every_error()) - families == {row.error for row in TABLE}


def test_draining_says_when_to_come_back() -> None:
    """A restart takes a second, and agents honour retry-after."""
    assert errors.Draining.headers == ((b"retry-after", b"1"),)


def test_refused_upgrade_names_the_protocol_to_use() -> None:
    """RFC 9110 wants an Upgrade header in a 426."""
    assert (b"upgrade", b"HTTP/1.1") in errors.UpgradeRefused.headers
    assert (b"connection", b"upgrade") in errors.UpgradeRefused.headers


@pytest.mark.parametrize("row", TABLE, ids=IDS)
def test_anthropic_bodies_have_the_shape_of_the_anthropic_api(row: Row) -> None:
    """The SDK reads error.type and error.message below a type of "error"."""
    assert json.loads(row.error().body("anthropic")) == {
        "type": "error",
        "error": {"type": row.error_type, "message": row.error.message},
    }


@pytest.mark.parametrize("row", TABLE, ids=IDS)
def test_openai_bodies_have_the_shape_of_the_openai_api(row: Row) -> None:
    """The SDK reads message, type, param and code below "error"."""
    assert json.loads(row.error().body("openai")) == {
        "error": {
            "type": row.error_type,
            "message": row.error.message,
            "param": None,
            "code": None,
        }
    }


@pytest.mark.parametrize("row", TABLE, ids=IDS)
def test_no_message_tells_of_hosts_ports_or_software(row: Row) -> None:
    """Messages reach the agent: they name no host, port, exception or credential."""
    error = row.error(302)
    shown = b"".join([error.body("anthropic"), error.body("openai"), *sum(error.headers, ())])
    assert not LEAKS.search(error.message)
    assert b"localhost" not in shown
    assert b"invalid x-api-key" not in shown.lower()


def test_a_limit_is_told_in_figures() -> None:
    """Which one it is and when it ends: nothing else of the relay's own depends on the call."""
    error = errors.LimitReached("The limit of $5.00 per day is reached.")
    assert json.loads(error.body("anthropic"))["error"]["message"] == error.text
    assert error.text == "The limit of $5.00 per day is reached."
    assert {row.error().name for row in TABLE if row.rejection == "limit"} == {"limit"}


def test_who_calls_too_often_is_told_when_to_try_again() -> None:
    """Agents honour retry-after, and the next second may have a place."""
    assert errors.TooManyAtOnce.headers == ((b"retry-after", b"1"),)


def test_message_is_the_same_whatever_happened() -> None:
    """The status of an upstream is kept for the metrics, not for the body."""
    error = errors.UpstreamRedirected(307)
    assert error.upstream_status == 307
    assert error.body("anthropic") == errors.UpstreamRedirected().body("anthropic")
    assert b"307" not in error.body("anthropic")
