"""Which operation of an API a path is: the ``operation`` label of metrics and log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from relay.errors import Api
from relay.http.target import has_segments

_PATHS: Final = (
    (b"/v1/messages/count_tokens", "count_tokens"),
    (b"/v1/messages/batches", "batches"),
    (b"/v1/messages", "messages"),
    (b"/v1/models", "models"),
    (b"/v1/files", "files"),
    (b"/v1/chat/completions", "chat_completions"),
    (b"/v1/responses", "responses"),
    (b"/responses", "responses"),  # of ChatGPT's backend, which Codex calls with a login
    (b"/v1/embeddings", "embeddings"),
)
_ENDPOINTS: Final = frozenset(path for path, _ in _PATHS)
OPERATIONS_BY_API: Final[Mapping[Api, tuple[str, ...]]] = {
    "anthropic": ("messages", "count_tokens", "batches", "models", "files", "other"),
    "openai": ("models", "files", "chat_completions", "responses", "embeddings", "other"),
}
# Counting tokens is free; a completion that is changed (its metadata) was paid for when made.
_FREE: Final = re.compile(rb"(?:/v1)?/responses/input_tokens|/v1/chat/completions/[^/]+")
# Of either API.
_BATCHES: Final = re.compile(rb"/+v1/+(?:messages/+)?batches(?![a-z0-9_-])")
FREE_OPERATIONS: Final = frozenset({"count_tokens", "models", "files"})
"""What is asked for there costs nothing."""


def operation_of(path: bytes) -> str:
    """Return the operation at or below whose path this one is, or ``other``."""
    return next((name for prefix, name in _PATHS if has_segments(path, prefix)), "other")


def is_endpoint(path: bytes) -> bool:
    """Whether the path is an operation's own, and not one below it."""
    return path in _ENDPOINTS


def creates_batch(path: bytes) -> bool:
    """Whether a POST there may create a batch, in whatever spelling a server may take for it."""
    plain = unquote_to_bytes(path).lower()
    return _BATCHES.match(plain) is not None and not plain.endswith(b"/cancel")


def is_billed(path: bytes) -> bool:
    """Whether a POST there may use tokens, if its operation does."""
    return not _FREE.fullmatch(path)
