"""When a value ends, in every spelling; what is no moment is none."""

import base64
import json

import pytest

from relay.credentials.ends import end_of_web_token, read_end, said

MOMENT = 1_800_000_000.0
"""2027-01-15 08:00:00 UTC."""


@pytest.mark.parametrize(
    "spelling",
    [
        *(1_800_000_000, 1_800_000_000.0, "1800000000", 1_800_000_000_000, "1800000000000"),
        *("2027-01-15T08:00:00Z", "2027-01-15t08:00:00z", "2027-01-15T08:00:00.000Z"),
        *("2027-01-15T08:00:00.0000000Z", "2027-01-15T09:30:00+01:30"),
        *("2027-01-15 03:00:00-05:00", " 2027-01-15T08:00:00+00:00\n"),
    ],
)
def test_a_moment_is_understood_in_every_spelling(spelling: object) -> None:
    """RFC 3339 with any offset, seconds, and milliseconds as JavaScript writes them."""
    assert read_end(spelling) == MOMENT


@pytest.mark.parametrize(
    "data",
    [
        *(None, True, False, 0, -1, float("nan"), float("inf"), 1e300, [], {}),
        pytest.param(10**400, id="more than a float holds"),
        *(
            "",
            "soon",
            "0",
            "-1",
            "1e9",
            "2027-01-15",
            "2027-01-15T08:00:00",
            "2027-13-45T08:00:00Z",
        ),
        *("9" * 400, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:00"),
    ],
)
def test_what_is_no_moment_is_none(data: object) -> None:
    """Without an offset nobody knows when a time of day is."""
    assert read_end(data) is None


def web_token(claims: object) -> str:
    """Return a JSON Web Token with these claims."""
    parts = (json.dumps({"alg": "RS256"}), json.dumps(claims))
    head, body = (base64.urlsafe_b64encode(each.encode()).decode().rstrip("=") for each in parts)
    return f"{head}.{body}.Zk3Nw8Qx5Tb1Lm7Vc4Rj9Hd2Gf6Ys0Pa"


@pytest.mark.parametrize(
    ("token", "end"),
    [
        (web_token({"exp": 1_800_000_000, "sub": "x"}), MOMENT),
        (web_token({"exp": 1_800_000_000, "sub": "xy"}), MOMENT),
        (web_token({"sub": "x"}), None),
        (web_token(["exp"]), None),
        (web_token({"exp": "soon"}), None),
        ("eyJhbGciOiJub25lIn0.e30", None),
        ("eyJhbGciOiJub25lIn0.!!!.x", None),
        ("eyJhbGciOiJub25lIn0.eyJ.x", None),
        ("sk-ant-api03-a.b.c", None),
    ],
)
def test_a_web_token_says_itself_when_it_ends(token: str, end: float | None) -> None:
    """Whatever it is read from; nothing else of it is looked at."""
    assert end_of_web_token(token) == end


def test_a_moment_is_said_to_the_second() -> None:
    """In UTC, whatever the host's zone."""
    assert said(MOMENT) == "2027-01-15 08:00:00 UTC"
