"""Which operation of an API a path is."""

import pytest

from relay.telemetry.operations import OPERATIONS_BY_API, operation_of


@pytest.mark.parametrize(
    ("rest", "operation"),
    [
        (b"/v1/messages", "messages"),
        (b"/v1/messages/", "messages"),
        (b"/v1/messages/count_tokens", "count_tokens"),
        (b"/v1/messages/count_tokensx", "messages"),
        (b"/v1/messages/batches", "batches"),
        (b"/v1/messages/batches/b1/results", "batches"),
        (b"/v1/models", "models"),
        (b"/v1/models/claude-test", "models"),
        (b"/v1/files/f1", "files"),
        (b"/v1/chat/completions", "chat_completions"),
        (b"/v1/responses/r1", "responses"),
        (b"/v1/embeddings", "embeddings"),
        (b"/responses", "responses"),
        (b"/responses/compact", "responses"),
        (b"/responsesx", "other"),
        (b"/v1/complete", "other"),
        (b"/v1/messagesx", "other"),
        (b"/v1", "other"),
        (b"", "other"),
        (b"/V1/messages", "other"),
    ],
)
def test_operation_is_told_by_the_path(rest: bytes, operation: str) -> None:
    """The longest match counts; what is not known is ``other``."""
    assert operation_of(rest) == operation


def test_operations_are_a_closed_set() -> None:
    """They are the label values that dashboards know."""
    assert {name for names in OPERATIONS_BY_API.values() for name in names} == {
        "messages",
        "count_tokens",
        "batches",
        "models",
        "files",
        "chat_completions",
        "responses",
        "embeddings",
        "other",
    }
