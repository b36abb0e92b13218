"""The HTTP client of the commands, on aiohttp; `relay health` alone does without.

One session, opened and closed here. Answers are taken as they are: no redirect is followed, nothing
decompressed, no cookie kept, no proxy of the environment used. Every failure is one exception type,
whose text says what happened and nothing of what was sent.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Final, Literal, Self

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    StreamReader,
)
from yarl import URL

from relay.commands import CommandError
from relay.http.grammar import LINE_LIMIT

ANSWER_SECONDS: Final = 5.0
BODY_LIMIT: Final = 64 * 1024
"""Bytes: many times a page that says who answers, or why not."""

Why = Literal["refused", "silent", "unreachable", "not HTTP"]

# What the relay says in headers of its own.
_OWN: Final = ("error", "hops", "proof")
_OF_PROBES: Final = {"Content-Type": "application/json", "X-Relay-Probe": "1"}


class NoAnswer(CommandError):
    """No complete answer came: ``why`` is a word for code, the text a sentence for users."""

    def __init__(self, url: str, why: Why) -> None:
        super().__init__(f"no answer from {url}: {why}")
        self.why = why


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP server answered."""

    status: int
    error: str
    """The relay's own name for what went wrong, as it came; empty where there is none."""
    body: bytes
    """Cut to the length that was asked for."""
    hops: str = ""
    """The hops that a probe reached, from the relay's header."""
    proof: str = ""
    """The relay's answer to a challenge (``proxy.proof``)."""


class Client:
    """Sends requests; to be made and closed on a running event loop."""

    def __init__(self) -> None:
        # No header that the call needs not; the relay's own limit on a line of an answer's.
        self._session = ClientSession(
            headers={"Accept-Encoding": "identity"},
            skip_auto_headers=("Accept", "User-Agent"),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_field_size=LINE_LIMIT,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the kept connections."""
        await self._session.close()

    async def ask(  # noqa: PLR0913  # most by name, and most calls need none of them
        self,
        method: str,
        url: str,
        *,
        seconds: float = ANSWER_SECONDS,
        token: bytes | None = None,
        probe: bytes | None = None,
        challenge: str | None = None,
        limit: int = BODY_LIMIT,
    ) -> Answer:
        """Return the answer, with the first ``limit`` bytes of its body.

        ``probe`` is a message in JSON that is to end at the relay itself (``proxy.probe``).
        Where a connection ends before the answer, aiohttp asks once more: GET and HEAD alone.

        Raises:
            NoAnswer: Nobody answers by HTTP within ``seconds``.
        """
        headers = {"Authorization": f"Bearer {token.decode()}"} if token else {}
        if probe is not None:
            headers |= _OF_PROBES
        if challenge is not None:
            headers["X-Relay-Challenge"] = challenge
        # Encoded: yarl would rewrite what stands in the path (%2F, %41).
        call = self._session.request(
            method,
            URL(url, encoded=True),
            headers=headers,
            data=probe,
            allow_redirects=False,
            timeout=ClientTimeout(total=seconds),
        )
        try:
            async with call as response:
                body = await _first(response.content, limit)
                own = (response.headers.get(f"x-relay-{name}", "") for name in _OWN)
                error, hops, proof = own
                return Answer(response.status, error, body, hops, proof)
        except (ClientError, OSError, UnicodeError) as error:
            raise NoAnswer(url, _why(error)) from error


async def _first(content: StreamReader, limit: int) -> bytes:
    """Return at most ``limit`` bytes of the body."""
    body = b""
    while piece := await content.read(limit - len(body)):
        body += piece
    return body


def json_object(data: bytes) -> dict[str, object]:
    """Return the JSON object in a body; empty where there is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _why(error: Exception) -> Why:
    cause = error.os_error if isinstance(error, ClientConnectorError) else error
    if isinstance(cause, TimeoutError):
        return "silent"
    if isinstance(cause, ConnectionRefusedError):
        return "refused"
    # A host's name that cannot be one is a UnicodeError of the resolver's.
    return "unreachable" if isinstance(cause, OSError | UnicodeError) else "not HTTP"


class BlockingClient:
    """The same for commands without an event loop: runs one while it waits."""

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        with self._runner:
            self._runner.run(self._client.close())

    async def _open(self) -> Client:
        return Client()

    def ask(self, url: str, *, seconds: float = ANSWER_SECONDS, limit: int = BODY_LIMIT) -> Answer:
        """Get a page; as `Client.ask`."""
        return self._runner.run(self._client.ask("GET", url, seconds=seconds, limit=limit))
