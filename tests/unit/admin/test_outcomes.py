"""How a call ended, in words, and that the docs say more."""

from __future__ import annotations

import re
import tomllib

import pytest

from relay import DOCS, __version__
from relay.admin.outcomes import OUTCOMES, REASONS, described
from relay.errors import RelayError
from relay.proxy.problems import Subject
from relay.telemetry.call import CallFields
from relay.telemetry.metrics.catalogue import REJECTIONS
from tests.harness import ROOT


def anchors() -> set[str]:
    """Return the headings of the page on troubleshooting, as links name them."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


def anchor(fields: CallFields) -> str:
    """Return the heading that a call is said to be explained under."""
    return described(fields).get("help", "").rpartition("#")[2]


def errors(kind: type[RelayError] = RelayError) -> list[type[RelayError]]:
    """Return the relay's own failures."""
    return [kind, *(each for child in kind.__subclasses__() for each in errors(child))]


def test_every_outcome_and_reason_has_words() -> None:
    """Of the relay's own failures, and of what metrics know."""
    assert {error.outcome for error in errors()} <= OUTCOMES.keys()
    assert set(REJECTIONS) <= REASONS.keys()
    assert {error.rejection for error in errors()} - {None} <= REASONS.keys()


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("status", [200, 400, 401, 402, 403, 429, 502, 504, 529])
def test_every_link_leads_to_an_entry(outcome: str, status: int) -> None:
    """Whatever the status."""
    assert anchor({"outcome": outcome, "status": status}) in anchors() | {""}


@pytest.mark.parametrize("reason", REASONS)
def test_every_refusal_leads_to_an_entry(reason: str) -> None:
    """By its reason."""
    assert anchor({"outcome": "rejected", "reason": reason}) in anchors()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"outcome": "ok", "status": 200}, {"said": "answered"}),
        ({"outcome": "client_abort"}, {"said": "the agent left"}),
        ({"outcome": "something_new"}, {"said": "something new"}),
    ],
)
def test_a_good_end_needs_no_link(fields: CallFields, expected: dict[str, str]) -> None:
    """Nor does one that nobody has heard of yet."""
    assert described(fields) == expected


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"outcome": "upstream_error", "status": 200}, "an-answer-that-is-none"),
        ({"outcome": "upstream_error", "status": 502}, "no-valid-answer"),
        (
            {"outcome": "upstream_error", "status": 502, "error_type": "api_error"},
            "answers-of-headrooms-and-of-the-api",
        ),
        ({"outcome": "upstream_error", "status": 401}, "the-credential-is-refused"),
        ({"outcome": "timeout", "status": 504}, "upstream-too-slow"),
        ({"outcome": "timeout", "status": 200}, "an-answer-falls-silent"),
        ({"outcome": "rejected", "reason": "token", "status": 401}, "token-not-accepted"),
        ({"outcome": "rejected", "reason": "limit", "status": 402}, "a-limit-is-reached"),
        ({"outcome": "rejected", "reason": "limit", "status": 400}, "a-limit-is-reached"),
        ({"outcome": "rejected", "reason": "limit", "status": 429}, "too-many-calls-at-once"),
        ({"outcome": "rejected", "reason": "limit", "status": 403}, "batches-under-a-limit"),
    ],
)
def test_the_status_tells_ends_of_one_outcome_apart(fields: CallFields, where: str) -> None:
    """Where the docs have an entry for each."""
    assert anchor(fields) == where


def test_problems_lead_to_the_docs_as_well() -> None:
    """Where nothing closer is named, to the lines of the log."""
    assert Subject("", "", "").entry in anchors()


def test_the_docs_are_those_of_this_version() -> None:
    """By the one address that the package names."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    assert urls["Documentation"] == DOCS
    assert f"v{__version__}" in DOCS
