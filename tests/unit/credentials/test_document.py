"""What is taken of JSON: the value, what goes with it, when it ends, and nothing else."""

import json

import pytest

from relay.config import CommandSource, FileSource
from relay.credentials.document import VALUE, read_document
from relay.credentials.reading import Reading
from tests.unit.credentials.test_ends import web_token

VALUE_TEXT = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"
REFRESH = "sk-ant-ort01-Kp4Wz8Jr1Td6Xn0Lb5Vc9Mh2Sf7Qg3Ya-uE8iRt"
ACCOUNT = "9f8b7c6d-5e4f-3a2b-1c0d-9e8f7a6b5c4d"
END = 1_800_000_000.0
SAID = "2027-01-15T08:00:00Z"
LASTING = Reading(VALUE_TEXT, expires_at=END)

KNOWN: dict[str, dict[str, object]] = {
    "plain": {"value": VALUE_TEXT, "expires_at": SAID, "note": "x"},
    "plain in seconds": {"value": VALUE_TEXT, "expires_at": 1_800_000_000},
    "AWS": {
        "Version": 1,
        "AccessKeyId": "AKIAIOSFODNN7EXAMPLE",
        "SecretAccessKey": "x",
        "SessionToken": VALUE_TEXT,
        "Expiration": SAID,
    },
    "kubectl": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": VALUE_TEXT, "expirationTimestamp": SAID},
    },
    "Claude Code": {
        "claudeAiOauth": {
            "accessToken": VALUE_TEXT,
            "refreshToken": REFRESH,
            "expiresAt": 1_800_000_000_000,
        },
        "mcpOAuth": {},
    },
}
SOURCES = (FileSource(file="/x"), CommandSource(command=("x",)))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("indent", [None, 2])
def test_forms_that_are_known_need_no_path(
    name: str, source: FileSource | CommandSource, indent: int | None
) -> None:
    """On one line or on many."""
    text = json.dumps(KNOWN[name], indent=indent)
    assert read_document(text, source) == LASTING


@pytest.mark.parametrize(
    ("data", "json_path", "expires", "end"),
    [
        ({"status": {"token": VALUE_TEXT, "until": SAID}}, "status.token", "status.until", END),
        ({"a": VALUE_TEXT, "life": {"end": 1_800_000_000}}, "a", "life.end", END),
        ({"a": {"b": VALUE_TEXT, "Expiration": SAID}}, "a.b", None, END),
        ({"a": {"b": VALUE_TEXT}, "expires_at": SAID}, "a.b", None, None),
        ({"value": VALUE_TEXT, "until": SAID}, None, "until", END),
        ({"value": VALUE_TEXT, "expires_at": 5, "until": SAID}, None, "until", END),
    ],
)
def test_other_fields_are_named(
    data: object, json_path: str | None, expires: str | None, end: float | None
) -> None:
    """By paths from the top of the document."""
    source = CommandSource(command=("x",), json_path=json_path, expires=expires)
    assert read_document(json.dumps(data), source) == Reading(VALUE_TEXT, expires_at=end)


@pytest.mark.parametrize("stated", ["soon", None, True, -1])
def test_an_end_that_was_named_and_is_none_is_said(stated: object) -> None:
    """The value is used all the same."""
    source = FileSource(file="/x", json_path="a", expires="b")
    reading = read_document(json.dumps({"a": VALUE_TEXT, "b": stated}), source)
    assert reading == Reading(VALUE_TEXT, end_is_unread=True)


def test_a_web_token_needs_no_end_beside_it() -> None:
    """What stands beside it goes before what it says itself."""
    token = web_token({"exp": END})
    assert read_document(token, SOURCES[0]) == Reading(token, expires_at=END)
    beside = json.dumps({"value": token, "expires_at": END - 60})
    assert read_document(beside, SOURCES[0]) == Reading(token, expires_at=END - 60)


TOKENS = {
    "tokens": {"access_token": VALUE_TEXT, "refresh_token": REFRESH, "account_id": ACCOUNT},
    "expires_at": SAID,
}
BOTH = ("access_token", "account_id")


@pytest.mark.parametrize(
    ("json_path", "fields", "end"),
    [
        ("tokens", BOTH, None),
        (None, ("tokens.access_token", "tokens.account_id"), END),
        ("tokens.access_token", ("", "account_id"), None),
        ("tokens.access_token", BOTH, None),
    ],
)
def test_several_fields_come_of_one_reading(
    json_path: str | None, fields: tuple[str, ...], end: float | None
) -> None:
    """By paths from where the source's leads: an object, or what is beside a text."""
    source = FileSource(file="/x", json_path=json_path)
    reading = read_document(json.dumps(TOKENS), source, fields)
    assert reading == Reading(VALUE_TEXT, further=(ACCOUNT,), expires_at=end)
    assert REFRESH not in str([getattr(reading, each) for each in Reading.__slots__])


@pytest.mark.parametrize("name", KNOWN)
def test_forms_that_are_known_can_have_more(name: str) -> None:
    """Beside the value as it is understood, by paths from the top."""
    text = json.dumps(KNOWN[name] | {"account": ACCOUNT})
    assert read_document(text, SOURCES[0], ("", "account")).further == (ACCOUNT,)


@pytest.mark.parametrize(
    ("text", "json_path", "fields", "problem"),
    [
        ("{", "a", VALUE, "is not valid JSON"),
        (VALUE_TEXT, "a", VALUE, "is not valid JSON"),
        (VALUE_TEXT, None, BOTH, "is not valid JSON"),
        ('{"a": 1}', "a", VALUE, "has no text at that path"),
        ('{"a": {}}', "a", BOTH, "has no text at access_token"),
        ('{"a": {"access_token": "x"}}', "a", BOTH, "has no text at account_id"),
        ('{"a": {"access_token": "x", "account_id": 5}}', "a", BOTH, "has no text at account_id"),
        (
            '{"access_token": "x", "account_id": "\\n"}',
            None,
            BOTH,
            "has no usable value at account_id",
        ),
        ('{"a": "\\n"}', "a", VALUE, "has no usable value at that path"),
    ],
)
def test_what_is_not_there_is_said(
    text: str, json_path: str | None, fields: tuple[str, ...], problem: str
) -> None:
    """Of files and of commands, without a word of what is."""
    file = FileSource(file="/x", json_path=json_path)
    command = CommandSource(command=("x",), json_path=json_path)
    assert read_document(text, file, fields) == Reading(problem=problem)
    printed = problem.replace("has no", "printed no").replace("is not valid", "printed no valid")
    assert read_document(text, command, fields) == Reading(problem=printed)


@pytest.mark.parametrize(
    "text", [f'{{"key": "{VALUE_TEXT}"}}', '{"value": 5}', f'{{"x": {VALUE_TEXT}}}', "{not: json}"]
)
def test_json_of_no_known_form_is_the_value_itself(text: str) -> None:
    """As before: what its looks say of it is another matter."""
    assert read_document(text, SOURCES[0]) == Reading(text)


def test_an_end_alone_does_not_say_where_the_value_is() -> None:
    """Of a form that nobody knows."""
    source = FileSource(file="/x", expires="b")
    reading = read_document(json.dumps({"a": VALUE_TEXT, "b": SAID}), source)
    assert reading == Reading(problem="has no text at a place that is known")


def test_no_secret_is_in_a_repr() -> None:
    """Neither the value nor what goes with it."""
    source = FileSource(file="/x", json_path="tokens")
    shown = repr(read_document(json.dumps(TOKENS), source, BOTH))
    assert not any(secret in shown for secret in (VALUE_TEXT, ACCOUNT, REFRESH))


@pytest.mark.parametrize("source", SOURCES)
def test_plain_text_goes_into_each_header(source: FileSource | CommandSource) -> None:
    """Where none of them names a field."""
    assert read_document(f"{VALUE_TEXT}\n", source, ("", "")) == Reading(
        VALUE_TEXT, further=(VALUE_TEXT,)
    )
