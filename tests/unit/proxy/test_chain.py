"""What a call may ask for on its legs, and what its passes look like."""

from __future__ import annotations

from itertools import product

import pytest

from relay.proxy.answer_ids import REMEMBERED, AnswerIds, answer_id
from relay.proxy.chain import may_ask, may_use
from relay.proxy.passes import HopPlace, Passes, is_strong, new_id, new_pass
from relay.telemetry.call import CallRecord
from relay.telemetry.operations import OPERATIONS_BY_API
from tests.harness.messages import response_head

ANSWERING = ("messages", "chat_completions", "responses")
HARMLESS = ("count_tokens", "models")

OPERATIONS = sorted({name for names in OPERATIONS_BY_API.values() for name in names})


@pytest.mark.parametrize(("call", "leg"), [*product(OPERATIONS, OPERATIONS)])
def test_a_leg_is_its_calls_or_harmless_or_a_translation(call: str, leg: str) -> None:
    """All pairs there are."""
    translates = call in ANSWERING and leg in ANSWERING
    assert may_ask(call, leg) == (call == leg or leg in HARMLESS or translates)


@pytest.mark.parametrize(
    ("call", "leg", "may"),
    [
        ("POST messages", "POST messages", True),
        ("POST messages", "POST responses", True),
        ("POST messages", "POST count_tokens", True),
        ("POST messages", "GET models", True),
        ("POST messages", "HEAD models", True),
        ("GET models", "POST count_tokens", True),
        ("GET responses", "GET responses", True),
        ("DELETE responses", "DELETE responses", True),
        ("DELETE models", "DELETE models", True),
        ("POST messages", "GET messages", False),
        ("POST messages", "DELETE messages", False),
        ("POST messages", "GET responses", False),
        ("POST messages", "DELETE models", False),
        ("POST messages", "POST models", False),
        ("POST messages", "DELETE count_tokens", False),
        ("POST responses", "GET responses", False),
        ("POST responses", "DELETE responses", False),
        ("GET responses", "POST responses", False),
        ("GET responses", "POST messages", False),
        ("GET responses", "GET chat_completions", False),
        ("DELETE responses", "DELETE chat_completions", False),
        ("DELETE responses", "DELETE models", False),
    ],
)
def test_a_leg_has_its_calls_method_or_a_harmless_one(call: str, leg: str, may: bool) -> None:
    """By another, what the API has stored could be listed, changed or deleted."""
    records = []
    for text in (call, leg):
        method, operation = text.split()
        records.append(CallRecord(method=method, operation=operation))
    assert may_use(*records) == may


@pytest.mark.parametrize(
    ("grant", "beginning", "length"),
    [
        ("anthropic", b"sk-ant-api03-", 56),
        ("claude", b"sk-ant-oat01-", 56),
        ("openai", b"sk-", 46),
        ("gateway", b"", 43),
    ],
)
def test_a_pass_looks_like_the_credential(grant: str, beginning: bytes, length: int) -> None:
    """Hops decide by its beginning what it is; no two are the same."""
    first, second = new_pass(grant), new_pass(grant)
    assert first.startswith(beginning)
    assert (len(first), len(second)) == (length, length)
    assert first != second


def test_an_id_is_of_128_bits() -> None:
    """In hexadecimal digits, which every header takes."""
    first, second = new_id(), new_id()
    assert first != second
    assert int(first, 16) < 2**128
    assert len(first) == 32


@pytest.mark.parametrize(
    ("value", "strong"),
    [
        (b"", False),
        (b"0123456789abcdef0123456789abcde", False),
        (b"0123456789abcdef0123456789abcdef", True),
        (b"6f1c3f0e-0b0c-4c55-9b0e-2f0f3a6a1d2b", True),
        (b"x" * 21, False),
        (b"abcdefghijklmnopqrstuv", True),
        (b"sk-litellm-master", False),
        (b"sk-pass-8Hn3Xk6Wq1Vt5Zb9Lc2Rm7Jd4Fp0Gy", True),
    ],
)
def test_a_pass_of_anothers_choice_must_hold_as_much(value: bytes, strong: bool) -> None:
    """By what its characters can hold at most."""
    assert is_strong(value) == strong


def test_a_clients_pass_is_of_a_client_a_place_and_a_grant() -> None:
    """And the same as long as the process lives."""
    passes = Passes()
    place, other = HopPlace("anthropic", "headroom"), HopPlace("anthropic", "litellm")
    mine = passes.of_client("agent", place, "anthropic")
    assert passes.of_client("agent", place, "anthropic") == mine
    others = {
        passes.of_client("other", place, "anthropic"),
        passes.of_client("agent", other, "anthropic"),
        passes.of_client("agent", place, "claude"),
    }
    assert len(others | {mine}) == 4
    assert mine.decode() not in repr(passes)


def test_the_last_answers_ids_are_remembered() -> None:
    """A cache answers with old ones; without end they are not kept."""
    ids = AnswerIds()
    ids.hear(None)
    for number in range(REMEMBERED + 1):
        ids.hear(b"req_%d" % number)
        ids.hear(b"req_1")
    assert b"req_0" not in ids
    assert b"req_1" in ids
    assert b"req_%d" % REMEMBERED in ids


@pytest.mark.parametrize(
    ("api", "name", "found"),
    [
        ("anthropic", "request-id", True),
        ("anthropic", "x-request-id", False),
        ("openai", "x-request-id", True),
        ("openai", "request-id", False),
    ],
)
def test_an_answers_id_is_where_its_api_puts_it(api: str, name: str, found: bool) -> None:
    """Hops and their servers give answers ids of their own, elsewhere."""
    head = response_head(200, (name, "req_1"))
    assert answer_id(head, api) == (b"req_1" if found else None)  # type: ignore[arg-type]  # one of both


def test_of_a_long_id_only_the_beginning_is_remembered() -> None:
    """Ten thousand as long as a header may be would take all the memory there is."""
    ids = AnswerIds()
    whole = answer_id(response_head(200, ("request-id", "r" * 16_000)), "anthropic")
    assert whole is not None
    ids.hear(whole)
    assert whole in ids
    assert len(whole) <= 128
