"""The ids that an API gave its answers lately: by them one is known that came by another way."""

from __future__ import annotations

from typing import Final

from relay.errors import Api
from relay.http.message import ResponseHead

REMEMBERED: Final = 10_000
"""A hop's cache answers with the id of the call that filled it; Headroom keeps 1,000 answers."""
_LENGTH: Final = 128
"""Bytes. Ids have 30 or so; ten thousand as long as a header may be would be 160 MB."""
_HEADERS: Final[dict[Api, bytes]] = {"anthropic": b"request-id", "openai": b"x-request-id"}


class AnswerIds:
    """The last ids that answers brought on a last leg."""

    def __init__(self) -> None:
        self._ids: dict[bytes, None] = {}

    def __contains__(self, value: bytes) -> bool:
        return value in self._ids

    def hear(self, value: bytes | None) -> None:
        """Remember an answer's id, if it has one."""
        if value is None:
            return
        self._ids.pop(value, None)
        self._ids[value] = None
        if len(self._ids) > REMEMBERED:
            del self._ids[next(iter(self._ids))]


def answer_id(head: ResponseHead, api: Api) -> bytes | None:
    """Return the id that an API gave this answer, as much of it as is remembered, or None."""
    values = head.values(_HEADERS[api])
    return values[0][:_LENGTH] if values and values[0] else None
