"""Sends one call to an upstream by the relay's own code, so that the doctor sees what a call sees.

The credential is put in as always. A call that must not carry one uses a grant whose only header
names the caller.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from relay import __version__
from relay.commands.client import json_object
from relay.config import GrantSettings, RelaySettings, Timeouts
from relay.credentials.credential import Credential
from relay.errors import Api, UpstreamTimeout
from relay.http.headers import field as header
from relay.http.message import RequestHead, ResponseHead
from relay.proxy.forward import Forwarder
from relay.proxy.routing import Target
from relay.telemetry.call import CallRecord
from relay.upstream.egress import egress_of

MODELS: Final = "/v1/models"
MESSAGES: Final[dict[Api, str]] = {
    "anthropic": "/v1/messages",
    "openai": "/v1/chat/completions",
}
ANSWER_SECONDS: Final = 20.0
"""How long to wait for an answer; the configured limits allow for models that think."""
# More than any list of models; of what comes beyond, nothing is kept.
_BODY_LIMIT: Final = 4 * 1024 * 1024
_AGENT: Final = f"relay-doctor/{__version__}".encode()


@dataclass
class TimedAnswer:
    """An upstream's answer, with when each piece of its body came, in seconds from the sending."""

    head: ResponseHead
    seconds: float
    pieces: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The status code."""
        return self.head.status

    @property
    def body(self) -> bytes:
        """What was kept of the body."""
        return b"".join(piece for _, piece in self.pieces)

    @property
    def content_type(self) -> str:
        """The media type, without its parameters."""
        value = b"".join(self.head.values(b"content-type")[:1])
        return value.partition(b";")[0].strip().lower().decode("latin-1")

    def json(self) -> dict[str, object]:
        """Return the JSON object in the body; empty where there is none."""
        return json_object(self.body)


@dataclass(frozen=True, slots=True)
class _Whole:
    """A request body that is complete."""

    data: bytes
    chunked: bool = False

    def whole(self) -> bytes:
        return self.data

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self.data


class Caller:
    """Makes calls for one relay."""

    def __init__(self, relay: RelaySettings, credential: Credential, timeouts: Timeouts) -> None:
        self._relay = relay
        limits = {name: min(value, ANSWER_SECONDS) for name, value in timeouts.model_dump().items()}
        self._forwarder = Forwarder(
            relay, credential, timeouts.model_copy(update=limits), egress_of(relay)
        )

    async def ask(self, method: str, path: str, data: bytes = b"") -> TimedAnswer:
        """Make a call and return the whole answer.

        Raises:
            RelayError: There is no credential, or no whole answer.
        """
        credential = await self._forwarder.take_credential()
        return await self._ask(credential, method, path, data)

    async def _ask(
        self, credential: Sequence[bytes], method: str, path: str, data: bytes
    ) -> TimedAnswer:
        fields = [header(b"content-type", b"application/json")] if data else []
        head = RequestHead(
            method=method.encode(),
            target=path.encode(),
            minor=1,
            fields=(header(b"accept", b"*/*"), *fields),
            length=len(data) if data else None,
            chunked=False,
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._exchange(head, credential, data)
        except TimeoutError:
            raise UpstreamTimeout from None

    async def _exchange(
        self, head: RequestHead, credential: Sequence[bytes], data: bytes
    ) -> TimedAnswer:
        target = Target(self._relay.name, head.target, b"")
        begun = time.perf_counter()
        reply = await self._forwarder.forward(head, target, credential, _Whole(data), CallRecord())
        answer = TimedAnswer(reply.head, time.perf_counter() - begun)
        size = 0

        def keep(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if piece and size <= _BODY_LIMIT:
                answer.pieces.append((time.perf_counter() - begun, piece))

        try:
            keep(reply.attach(keep))
            await reply.ended()
        finally:
            reply.close()
        return answer

    def close(self) -> None:
        """Close the kept connections."""
        self._forwarder.close()


class Stranger(Caller):
    """Makes calls to one relay's upstream without any secret, at the root of its paths."""

    def __init__(self, relay: RelaySettings, timeouts: Timeouts, *add: tuple[bytes, bytes]) -> None:
        grant = GrantSettings("none", (), b"User-Agent", add=add)
        root = replace(relay.upstream, prefix=b"")
        plain = replace(relay, upstream=root, grant=grant, api="openai", headers=())
        super().__init__(plain, Credential("none", ()), timeouts)

    async def ask(self, method: str, path: str, data: bytes = b"") -> TimedAnswer:
        """Make a call that carries no credential, and return the whole answer."""
        return await self._ask((_AGENT,), method, path, data)
