"""What an upstream says of its own upstream: quoted in the log, with no secret, and seldom."""

import logging

import pytest

from relay.proxy import upstream_words
from relay.proxy.upstream_words import UpstreamWords, shown
from relay.telemetry.call import CallRecord
from relay.telemetry.usage import Meter
from tests.harness.clock import SetClock

KEY = "sk-ant-api03-u8Qm2Lx7Vt0RcY5dWk1Zp9Hs3Nf6Bj4Gg-eA7oQw"
TOKEN = "corp-token-without-a-known-prefix"
UNREACHABLE = "Failed to connect to upstream API: no route"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """The clock that is looked at."""
    clock = SetClock(1000.0)
    monkeypatch.setattr(upstream_words, "time", clock)
    return clock


def answered(status: int, body: str, kind: bytes = b"application/json") -> CallRecord:
    """Return a call that is over, with this answer."""
    meter = Meter("messages", status, kind)
    meter.feed(body.encode(), 0)
    return CallRecord(code=status, usage=meter.finish("clean", 0))


def error(message: str) -> str:
    """Return an error that says this."""
    return f'{{"type": "error", "error": {{"type": "connection_error", "message": "{message}"}}}}'


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (502, error(UNREACHABLE), b"application/json"),
        (504, error(UNREACHABLE), b"application/json"),
        (502, f"event: error\ndata: {error(UNREACHABLE)}\n\n", b"text/event-stream"),
    ],
)
def test_gateways_words_are_quoted(
    caplog: pytest.LogCaptureFixture, clock: SetClock, status: int, body: str, kind: bytes
) -> None:
    """As JSON, and as an event in an answer that is an error already."""
    UpstreamWords("anthropic", tuple).hear(answered(status, body, kind))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"relay anthropic: its upstream answers {status}: '{UNREACHABLE}'; "
        "see to its way to the API, and to its log"
    )


def test_words_are_quoted_once_a_minute(caplog: pytest.LogCaptureFixture, clock: SetClock) -> None:
    """Agents retry all the while, each of them; each relay has its own minute."""
    words = UpstreamWords("anthropic", tuple)
    for seconds in (0, 1, 58, 60, 61):
        clock.now = 1000.0 + seconds
        words.hear(answered(502, error(f"after {seconds}")))
    UpstreamWords("openai", tuple).hear(answered(502, error("another")))
    quoted = [record.getMessage().split("'")[1] for record in caplog.records]
    assert quoted == ["after 0", "after 60", "another"]


@pytest.mark.parametrize(
    "record",
    [
        CallRecord(),
        CallRecord(code=502),
        answered(502, ""),
        answered(502, "<html>Bad Gateway</html>"),
        answered(200, error("x")),
        answered(400, error("messages: what the user wrote")),
        answered(500, error("x")),
        answered(529, error("x")),
    ],
)
def test_nothing_else_is_quoted(
    caplog: pytest.LogCaptureFixture, clock: SetClock, record: CallRecord
) -> None:
    """An API's own errors are for the agent, and may hold what it sent."""
    words = UpstreamWords("anthropic", tuple)
    words.hear(record)
    assert caplog.records == []
    words.hear(answered(502, error("x")))
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("no route", "'no route'"),
        ("line\nof\x1b[31m its own\u2028", r"'line\nof\x1b[31m its own\u2028'"),
        ("caf\xe9", r"'caf\xe9'"),
        (f"key {KEY} refused", "'key [redacted] refused'"),
        (f"token {TOKEN}", "'token [redacted]'"),
        ("key sk-proj-Tn5Bv9Ck2Mz7Xj4Lh8Gf of another", "'key [redacted] of another'"),
        ("x" * 200, "'" + "x" * 200 + "'"),
        ("x" * 201, "'" + "x" * 200 + "...'"),
        ("x" * 190 + KEY + "y", "'" + "x" * 190 + "[redacted]...'"),
        ("x" * 1990 + KEY, "'" + "x" * 200 + "...'"),
    ],
)
def test_message_is_shown_without_secrets_on_one_line_and_cut(message: str, text: str) -> None:
    """Secrets go first, so that no part of one is left where it is cut."""
    assert shown(message, [KEY.encode(), TOKEN.encode()]) == text


def test_message_is_in_no_repr_of_a_call() -> None:
    """It may hold what the agent sent."""
    record = answered(502, error("what was sent"))
    assert "what was sent" not in repr(record)


def test_a_secret_that_begins_another_leaves_nothing_of_it() -> None:
    """As a proxy's password may, or one of a grant's further values."""
    secrets = (TOKEN.encode(), f"{TOKEN}-of-mine".encode())
    assert shown(f"bad {TOKEN}-of-mine", secrets) == "'bad [redacted]'"
