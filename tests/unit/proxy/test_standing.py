"""Whether an API takes a credential, by what its answers say."""

from pathlib import Path

import pytest

from relay.config import EnvSource, FileSource
from relay.credentials.credential import Credential
from relay.proxy.standing import Standing
from relay.telemetry.call import CallRecord
from relay.telemetry.usage import Meter, Usage

KEY = "sk-ant-api03-u8Qm2Lx7Vt0RcY5dWk1Zp9Hs3Nf6Bj4Gg-eA7oQw"
OAUTH = "sk-ant-oat01-Kp4Wz8Jr1Td6Xn0Lb5Vc9Mh2Sf7Qg3Ya-uE8iRt"


def usage_of(status: int, body: bytes, kind: bytes = b"application/json") -> Usage:
    """Return what an answer says of itself."""
    meter = Meter("messages", status, kind)
    meter.feed(body, 0)
    return meter.finish("clean", 0)


def answered(status: int, body: bytes = b"", kind: bytes = b"application/json") -> CallRecord:
    """Return a call that is over, with this answer."""
    return CallRecord(code=status, first_byte=1.0, usage=usage_of(status, body, kind))


def error(kind: str, message: str = "", code: str = "") -> bytes:
    """Return an error as the APIs write it."""
    return f'{{"error": {{"type": "{kind}", "message": "{message}", "code": "{code}"}}}}'.encode()


def cause(standing: Standing) -> str | None:
    """Return what refuses the credential, if anything does."""
    return standing.refusal.cause if standing.refusal is not None else None


@pytest.fixture
def credential() -> Credential:
    """A key that looks right."""
    credential = Credential("anthropic", (EnvSource(env="A_KEY"),), {"A_KEY": KEY})
    assert credential.ready
    return credential


LOW = "Your credit balance is too low to access the Anthropic API."
STREAM = b"event: error\ndata: " + error("authentication_error") + b"\n\n"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (answered(401), "401"),
        (answered(401, error("authentication_error")), "401"),
        (answered(403, error("permission_error")), "403"),
        (answered(402), "billing"),
        (answered(402, error("billing_error")), "billing"),
        (answered(400, error("billing_error")), "billing"),
        (answered(403, error("billing_error")), "billing"),
        (answered(400, error("invalid_request_error", LOW)), "billing"),
        (answered(429, error("insufficient_quota", code="insufficient_quota")), "billing"),
        (answered(429, error("x", code="billing_not_active")), "billing"),
        (answered(502, error("authentication_error")), "authentication_error"),
        (answered(200, STREAM, b"text/event-stream"), "authentication_error"),
        (CallRecord(code=401, first_byte=1.0), "401"),
    ],
)
def test_answer_that_refuses_the_credential(
    credential: Credential, record: CallRecord, expected: str
) -> None:
    """By its status or by what it says, and until another takes it."""
    standing = Standing(credential)
    standing.judge(credential.version, record)
    assert cause(standing) == expected
    text = standing.explain()
    assert text.startswith(f"the API refuses the credential anthropic ({expected}) since ")
    assert KEY[6:] not in text
    standing.judge(credential.version, answered(200))
    assert cause(standing) is None
    assert standing.explain() == ""
    assert standing.recovery == "the API takes the credential anthropic again"


@pytest.mark.parametrize(
    "record",
    [
        *(answered(200), answered(204), answered(404), answered(413)),
        answered(400, error("invalid_request_error", "messages: at least one is required")),
        answered(429, error("rate_limit_error")),
    ],
)
def test_answer_that_takes_the_credential(credential: Credential, record: CallRecord) -> None:
    """Whatever else it complains of, it knew who asked."""
    standing = Standing(credential)
    standing.judge(credential.version, answered(401))
    standing.judge(credential.version, record)
    assert cause(standing) is None


@pytest.mark.parametrize(
    "record",
    [CallRecord(), answered(500), answered(502, error("api_error")), answered(503), answered(529)],
)
def test_answer_that_says_nothing_of_the_credential(
    credential: Credential, record: CallRecord
) -> None:
    """None at all, or one that the API may never have seen."""
    standing = Standing(credential)
    standing.judge(credential.version, record)
    assert cause(standing) is None
    standing.judge(credential.version, answered(401))
    first = standing.refusal
    standing.judge(credential.version, record)
    assert standing.refusal is first


def test_last_answer_is_the_one_that_began_last(credential: Credential) -> None:
    """A stream that began while the key was good ends long after it was revoked."""
    standing = Standing(credential)
    stream, refusal, later = answered(200), answered(401), answered(200)
    refusal.first_byte, later.first_byte = 2.0, 3.0
    standing.judge(credential.version, refusal)
    standing.judge(credential.version, stream)
    assert cause(standing) == "401"
    standing.judge(credential.version, later)
    standing.judge(credential.version, refusal)
    assert cause(standing) is None


def test_refusal_begins_with_the_first(credential: Credential) -> None:
    """Further ones of its kind are no news; one of another kind is."""
    standing = Standing(credential)
    standing.judge(credential.version, answered(401))
    first = standing.refusal
    standing.judge(credential.version, answered(401))
    assert standing.refusal is first
    standing.judge(credential.version, answered(403))
    assert cause(standing) == "403"


def test_value_that_was_replaced_condemns_none_after_it(tmp_path: Path) -> None:
    """Calls with the old one end after the new one is there; and it is said that it is new."""
    file = tmp_path / "key"
    file.write_text(KEY)
    credential = Credential("anthropic", (FileSource(file=str(file)),), {})
    assert credential.ready
    standing, old = Standing(credential), credential.version
    standing.judge(old, answered(401))
    assert cause(standing) == "401"
    file.write_text(KEY + "2")
    assert cause(standing) is None
    recovery = "the credential anthropic, which the API refused, has another value now"
    assert standing.recovery == recovery
    standing.judge(old, answered(401))
    assert cause(standing) is None
    standing.judge(credential.version, answered(401))
    assert cause(standing) == "401"
    standing.judge(old, answered(200))
    assert cause(standing) == "401"


def test_value_that_is_read_again_is_the_same(tmp_path: Path) -> None:
    """As after every 401; nor does a file that was gone for a while make another of it."""
    file = tmp_path / "key"
    file.write_text(KEY)
    credential = Credential("anthropic", (FileSource(file=str(file)),), {})
    assert credential.ready
    version = credential.version
    credential.refused()
    assert credential.value() == KEY.encode()
    file.unlink()
    assert credential.value() is None
    file.write_text(f"{KEY}\n")
    assert credential.value() == KEY.encode()
    assert credential.version == version


@pytest.mark.parametrize(
    ("value", "status", "remedy"),
    [
        (KEY, 401, "put another where this one is from: $A_KEY"),
        (OAUTH, 401, "it is a subscription's token: use grants: [claude]"),
        (KEY, 403, "it may not do what was asked, or something in between refuses"),
        (KEY, 402, "see to the account's balance or limits where the API is paid for"),
    ],
)
def test_remedy_is_said(value: str, status: int, remedy: str) -> None:
    """By the cause, where the value's looks do not tell more."""
    credential = Credential("anthropic", (EnvSource(env="A_KEY"),), {"A_KEY": value})
    assert credential.ready
    standing = Standing(credential)
    standing.judge(credential.version, answered(status))
    assert standing.explain().endswith(f" UTC; {remedy}")
