"""The agent's request body on its way to the upstream: as it arrives, and within its limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from relay.downstream.server_connection import Request
from relay.errors import BodyTooLarge, MalformedRequest, RequestStalled
from relay.telemetry.call import CallRecord


class AgentBody:
    """The agent's request body, as it arrives."""

    def __init__(
        self,
        request: Request,
        record: CallRecord,
        *,
        stall_seconds: float,
        max_body: int | None,
    ) -> None:
        self.chunked = request.head is not None and request.head.chunked
        self._request = request
        self._body = request.body
        self._record = record
        self._stall_seconds = stall_seconds
        self._max_body = max_body

    def whole(self) -> bytes | None:
        """Return all of the body if it is here already, else None."""
        if not self._body.complete:
            return None
        body = self._body.take()
        self._check_end()
        self._account(body)
        return body

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            RequestStalled: Nothing came for the limit's time.
            MalformedRequest: It ended wrongly.
            BodyTooLarge: It is over the relay's limit.
        """
        piece = await self._next()
        while piece:
            self._account(piece)
            yield piece
            piece = await self._next()
        self._check_end()

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._stall_seconds):
                return await self._body.next()
        except TimeoutError:
            raise RequestStalled from None

    def _account(self, piece: bytes) -> None:
        self._record.request_bytes += len(piece)
        if self._max_body is not None and self._record.request_bytes > self._max_body:
            raise BodyTooLarge

    def _check_end(self) -> None:
        if self._request.broken:
            raise MalformedRequest
