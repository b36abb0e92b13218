"""The characters that a model wrote, by an answer's events: whatever it is cut into."""

from __future__ import annotations

import pytest

from relay.telemetry.usage import Meter
from tests.harness.model_answers import (
    BLOCK_START,
    JSON,
    MESSAGE_STREAM,
    STREAM,
    event,
    message_start,
    plain_event,
    text_delta,
)

TEXTS = ("Hel", 'lo "text":"x" ', "wörld\n\\", "😀" * 3, "")
LENGTH = sum(map(len, TEXTS))


def size(operation: str, *pieces: bytes, content_type: str = STREAM, sizes: bool = True) -> int:
    """Return what a meter counts in an answer that was left."""
    meter = Meter(operation, 200, content_type.encode(), sizes=sizes)
    for piece in pieces:
        meter.feed(piece, 1.0)
    return meter.finish("aborted", 2.0).text_size


def blocks(*deltas: dict[str, str]) -> bytes:
    """Return pieces of a message of each of these kinds."""
    return b"".join(event("content_block_delta", index=0, delta=delta) for delta in deltas)


MESSAGE = (
    message_start()
    + BLOCK_START
    + b"".join(map(text_delta, TEXTS))
    + blocks(
        {"type": "thinking_delta", "thinking": "hmm"},
        {"type": "signature_delta", "signature": "EqQBCgIYAhIM"},
        {"type": "input_json_delta", "partial_json": '{"a": "b"}'},
    )
)
CHAT = b"".join(
    plain_event(model="gpt-5.2", choices=[{"index": 0, "delta": delta, "finish_reason": None}])
    for delta in (
        {"role": "assistant", "content": ""},
        *({"content": text} for text in TEXTS),
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": "b"}'}}]},
    )
)
RESPONSE = event("response.created", response={"id": "resp_1", "model": "gpt-5.2"}) + b"".join(
    event("response.output_text.delta", item_id="i", delta=text) for text in TEXTS
)


@pytest.mark.parametrize(
    ("operation", "stream", "expected"),
    [
        ("messages", MESSAGE, LENGTH + 3 + 10),
        ("chat_completions", CHAT, LENGTH + 10),
        ("responses", RESPONSE, LENGTH),
        ("responses", RESPONSE + event("response.output_text.done", text="".join(TEXTS)), LENGTH),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 100, 100_000])
def test_text_thinking_and_arguments_count(
    operation: str, stream: bytes, expected: int, step: int
) -> None:
    """In characters, and nothing around them; whatever pieces they come in."""
    pieces = [stream[start : start + step] for start in range(0, len(stream), step)]
    assert size(operation, *pieces) == expected


def test_each_event_by_itself_counts_the_same() -> None:
    """As they mostly come: pieces that need no closer look otherwise."""
    assert size("messages", *MESSAGE_STREAM.pieces) == len("Hello, wörld")
    assert size("messages", *MESSAGE_STREAM.pieces, sizes=False) == 0


def test_of_json_all_counts() -> None:
    """And of a body that is none of the operation's."""
    assert size("messages", b'{"content"', b": []}", content_type=JSON) == 15
    assert size("other", b"12345", content_type="text/plain") == 5
    assert size("other", b"12345", content_type="text/plain", sizes=False) == 0


def test_what_cannot_be_decoded_counts_as_it_came() -> None:
    """Nothing is free for being unreadable."""
    for coding in (b"gzip", b"unheard-of"):
        meter = Meter("messages", 200, b"application/json", coding, sizes=True)
        meter.feed(b"no gzip at all", 1.0)
        meter.feed(b"more", 1.0)
        usage = meter.finish("clean", 2.0)
        assert usage.missing == "encoding"
        assert usage.text_size >= 4


def test_an_error_counts_nothing() -> None:
    """It is not billed."""
    meter = Meter("messages", 500, b"text/plain", sizes=True)
    meter.feed(b"x" * 100, 1.0)
    assert meter.finish("clean", 2.0).text_size == 0
