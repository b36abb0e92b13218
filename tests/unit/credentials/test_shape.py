"""What is said of a value by its looks: its remedy, and no part of it."""

import time

import pytest

from relay.credentials.reading import Reading
from relay.credentials.shape import Remark, is_weak, remark, remarks, why_refused

# Made up, and of the shape of real ones.
API_KEY = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"
OAUTH = "sk-ant-oat01-Kp4Wz8Jr1Td6Xn0Lb5Vc9Mh2Sf7Qg3Ya-uE8iRt"
REFRESH = "sk-ant-ort01-Kp4Wz8Jr1Td6Xn0Lb5Vc9Mh2Sf7Qg3Ya-uE8iRt"
ADMIN = "sk-ant-admin01-Kp4Wz8Jr1Td6Xn0Lb5Vc9Mh2Sf7Qg3Ya-uE8iRt"
SESSION = "sk-ant-sid01-Kp4Wz8Jr1Td6Xn0Lb5Vc9Mh2Sf7Qg3Ya-uE8iRt"
NEWER = "sk-ant-new01-Kp4Wz8Jr1Td6Xn0Lb5Vc9Mh2Sf7Qg3Ya-uE8iRt"
OPENAI = "sk-proj-Tn5Bv9Ck2Mz7Xj4Lh8Gf1Dp6Sq3Wr0Ye-aU2oPs"
OPENAI_ADMIN = "sk-admin-Tn5Bv9Ck2Mz7Xj4Lh8Gf1Dp6Sq3Wr0Ye-aU2oPs"
SERVICE = "sk-svcacct-Tn5Bv9Ck2Mz7Xj4Lh8Gf1Dp6Sq3Wr0Ye-aU2oPs"
GATEWAY = "gw_live_9fK2mV7xQ4tB8nR1cZ6yH3wL5dJ0pS"
TOKEN = "relay-Zk3Nw8Qx5Tb1Lm7Vc4Rj9Hd2Gf6Ys0Pa_Eu-oIiUuYt"

GRANTS = ("anthropic", "claude", "openai", "corp", None)
"""The known ones, one's own, and a client's token."""
RIGHT = {
    "anthropic": (API_KEY, NEWER, GATEWAY, "sk-1234567890abcdefghij", TOKEN),
    "claude": (OAUTH, NEWER, GATEWAY),
    "openai": (OPENAI, SERVICE, GATEWAY, "AIzaSyD4u8Qm2Lx7Vt0RcY5dWk1Zp9Hs3Nf6Bj4"),
    "corp": (
        *(API_KEY, OAUTH, OPENAI, ADMIN, OPENAI_ADMIN, SESSION, GATEWAY, TOKEN),
        *("Bearer abcdef0", "Token token=9fK2mV7x", "me@corp.example 9fK2", "QUJDREVGRw=="),
        *("9f8b7c6d5e4f3a2b", "name:9fK2mV7xQ4tB", "$2b$12$u8Qm2Lx7Vt0RcY5d", "/9j/4AAQSkZJRg=="),
    ),
    None: (TOKEN, GATEWAY, "f3b07c2e81d4a65b0f7d2c9e4a18369d", "correct-horse-battery-staple"),
}


@pytest.mark.parametrize("grant", GRANTS)
def test_nothing_is_said_of_what_may_be_right(grant: str | None) -> None:
    """An issuer's own, a gateway's, and whatever one's own grant holds."""
    for value in RIGHT[grant]:
        assert remark(value, grant) is None


ANYWHERE = [
    (f'"{API_KEY}"', "has quotes around it, which would be sent too"),
    (f"'{API_KEY}'", "has quotes around it, which would be sent too"),
    (f"`{API_KEY}`", "has quotes around it, which would be sent too"),
    ("9fK2" * 2049, "is longer than servers take in a header"),
    (f'{API_KEY}"', "has quotes around it, which would be sent too"),
    (f"ANTHROPIC_API_KEY={API_KEY}", "begins with NAME=, which would be sent too"),
    (f"export OPENAI_API_KEY={OPENAI}", "begins with NAME=, which would be sent too"),
    ('{"claudeAiOauth": {"accessToken": "x"}}', "is JSON"),
    ("sk-ant-...", "is shortened, as in examples and in lists of keys"),
    ("sk-ant-api03-R2D...igAA", "is shortened, as in examples and in lists of keys"),
    ("sk-proj-********", "is shortened, as in examples and in lists of keys"),
    ("$ANTHROPIC_API_KEY", "is a reference that nothing has replaced"),
    ("${ANTHROPIC_API_KEY}", "is a reference that nothing has replaced"),
    ("${ANTHROPIC_API_KEY:-}", "is a reference that nothing has replaced"),
    ("$(cat key)", "is a reference that nothing has replaced"),
    ("%ANTHROPIC_API_KEY%", "is a reference that nothing has replaced"),
    ("{{ anthropic.key }}", "is a reference that nothing has replaced"),
    ("<your-api-key>", "is a reference that nothing has replaced"),
    ("op://vault/anthropic/key", "is a reference that nothing has replaced"),
    ("/run/secrets/anthropic_api_key", "is a path"),
    ("~/.anthropic/key", "is a path"),
    ("./key", "is a path"),
]
PLACEHOLDERS = [
    *("changeme", "CHANGE_ME", "change-me", "dummy", "dummy-key", "fake", "test", "test-token"),
    *("proxy-managed", "your-api-key", "YOUR_API_KEY", "your_anthropic_api_key_here", "yourapikey"),
    *("sk-ant-api03-your-key-here", "sk-ant-xxxxxxxxxxxxxxxx", "sk-xxxx", "sk-ant-", "sk-1234"),
    *("placeholder", "not-needed", "no-key-required", "none", "null", "undefined", "EMPTY", "x"),
    *(
        "000000000000",
        "unused",
        "secret",
        "insert-key",
        "replace_me",
        "todo",
        "my-secret-token",
        "-",
    ),
]


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize(
    ("value", "problem"), [*ANYWHERE, *((each, "is a placeholder") for each in PLACEHOLDERS)]
)
def test_what_is_no_value_at_all_is_said_of_every_grant_and_token(
    value: str, problem: str, grant: str | None
) -> None:
    """How it was pasted, and what stands in its place; never the value, not even a part."""
    found = remark(value, grant)
    assert found is not None
    assert found.problem == problem
    assert found.remedy
    assert not any(secret[8:] in str(found) for secret in (API_KEY, OPENAI))


@pytest.mark.parametrize("grant", ["anthropic", "claude", "openai", None])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (f"Bearer {GATEWAY}", "begins with its header's name or scheme"),
        (f"x-api-key: {GATEWAY}", "begins with its header's name or scheme"),
        (f"Authorization:{GATEWAY}", "begins with its header's name or scheme"),
        (f"{GATEWAY} # mine", "has a blank in it"),
    ],
)
def test_what_goes_around_a_value_is_said_where_the_relay_adds_it(
    value: str, problem: str, grant: str | None
) -> None:
    """A grant of one's own may want it so."""
    found = remark(value, grant)
    assert found is not None
    assert found.problem == problem
    assert remark(value, "corp") is None


HELD = "is an API's credential, and agents would hold it"


@pytest.mark.parametrize(
    ("grant", "value", "text"),
    [
        ("anthropic", OAUTH, "is a subscription's token: use grants: [claude]"),
        ("claude", API_KEY, "is an API key: use grants: [anthropic]"),
        ("openai", API_KEY, "is Anthropic's, not OpenAI's: put a key of OpenAI's there"),
        ("openai", OAUTH, "is Anthropic's, not OpenAI's: put a key of OpenAI's there"),
        ("openai", NEWER, "is Anthropic's, not OpenAI's: put a key of OpenAI's there"),
        ("openai", ADMIN, "is Anthropic's, not OpenAI's: put a key of OpenAI's there"),
        ("anthropic", OPENAI, "is OpenAI's: use grants: [openai]"),
        ("anthropic", SERVICE, "is OpenAI's: use grants: [openai]"),
        ("claude", OPENAI, "is OpenAI's: use grants: [openai]"),
        ("anthropic", ADMIN, "is an Admin API key, which makes no calls: make an API key"),
        (
            "openai",
            OPENAI_ADMIN,
            "is an admin key of OpenAI's, which makes no calls: make an API key",
        ),
        (
            "claude",
            REFRESH,
            "is a login's refresh token: take its access token, by json: beside file",
        ),
        (
            "anthropic",
            SESSION,
            "is a browser's session: make an API key, or run claude setup-token",
        ),
        (None, API_KEY, f"{HELD}: make another token, with relay token"),
        (None, OAUTH, f"{HELD}: make another token, with relay token"),
        (None, OPENAI, f"{HELD}: make another token, with relay token"),
        (None, ADMIN, f"{HELD}: make another token, with relay token"),
    ],
)
def test_credential_of_another_kind_is_told_by_its_prefix(
    grant: str | None, value: str, text: str
) -> None:
    """Calls would get 401; or, of a token, the key would be where it must not be."""
    found = remark(value, grant)
    assert found is not None
    assert str(found) == text


def test_login_past_its_end_is_said() -> None:
    """With when that was, and who renews it; it comes before what its looks say."""
    ended = Reading(OAUTH, expires_at=1_700_000_000)
    problem = "expired at 2023-11-14 22:13:20 UTC"
    login = Remark(problem, "run claude where its login is, which renews it")
    assert remarks(ended, "claude") == [login]
    assert why_refused(ended, "corp") == Remark(problem, "have it renewed by what it is from")
    lasting = Reading(OAUTH, expires_at=time.time() + 3600)
    assert remarks(lasting, "claude") == []


def test_end_that_is_not_where_it_was_named_is_said() -> None:
    """The value is used all the same."""
    unread = Remark("has no moment at its path expires", "correct that path")
    assert remarks(Reading(API_KEY, end_is_unread=True), "anthropic") == [unread]


def test_file_that_others_can_read_is_said_of_a_credential() -> None:
    """Beside what else is wrong; a token is the agents' as well. No API refuses it for that."""
    open_to_all = Reading(API_KEY, readable_by_all=True)
    mode = Remark("can be read by everybody on this host", "chmod 600 its file")
    assert remarks(open_to_all, "anthropic") == [mode]
    assert [each.problem for each in remarks(open_to_all, "claude")] == [
        "is an API key",
        mode.problem,
    ]
    assert remarks(Reading(TOKEN, readable_by_all=True), None) == []
    assert why_refused(open_to_all, "anthropic") is None


def test_nothing_is_said_where_there_is_no_value() -> None:
    """That has words of its own."""
    assert remarks(Reading(problem="is not set"), "anthropic") == []


@pytest.mark.parametrize(
    ("token", "weak"),
    [
        ("f" * 31, True),
        ("f" * 32, False),
        ("z" * 21, True),
        ("z" * 22, False),
        ("relay-" + "z" * 21, True),
        ("relay-" + "z" * 22, False),
        ("changeme", True),
    ],
)
def test_a_token_of_fewer_than_128_bits_is_weak(token: str, weak: bool) -> None:
    """By its length, four bits to a hexadecimal digit and six to a letter."""
    assert is_weak(token) is weak
