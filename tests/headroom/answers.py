"""What Headroom answers when all is well, page by page, with the headers it sends.

An answer is a value: status, headers, and the pieces of its body, one for each event of a
stream. How it reaches the client, whole or in some broken way, is decided in `modes`.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from itertools import cycle, islice

from . import anthropic, openai
from .compression import Tokens
from .misrouting import OPENAI_PATHS, path_of
from .record import Exchange
from .wire import Header, response_head

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"
GREETING = (
    "Hello! I am a stand-in for a model: what you said came through the relay, "
    "and this is sent back one word at a time. If you can watch the words arrive, "
    "everything between us works."
)
WORDS = tuple(word + " " for word in GREETING.split())

# On every answer of Headroom, whoever wrote it.
GUARDING_HEADERS: tuple[Header, ...] = (
    ("vary", "Origin"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
)


@dataclass(frozen=True)
class Answer:
    """A response before it is framed: `streamed` in chunks, or with its length."""

    status: int
    reason: str
    headers: tuple[Header, ...]
    pieces: tuple[bytes, ...]
    streamed: bool = False

    @property
    def length(self) -> int:
        """Return the length of the body in bytes."""
        return sum(len(piece) for piece in self.pieces)

    def as_bytes(self, *, close: bool) -> bytes:
        """Return the whole response with its length, for those that no mode plays."""
        connection = (("connection", "close"),) if close else ()
        fields = (*self.headers, ("content-length", str(self.length)), *connection)
        return response_head(self.status, self.reason, fields) + b"".join(self.pieces)


def own_answer(
    status: int,
    reason: str,
    content_type: str,
    body: bytes,
    *,
    headers: Iterable[Header] = (),
    streamed: bool = False,
) -> Answer:
    """Return an answer that Headroom gives by itself, without asking its upstream."""
    fields = (*uvicorn_headers(), ("content-type", content_type), *headers, *GUARDING_HEADERS)
    return Answer(status, reason, fields, (body,), streamed)


def relayed_answer(
    exchange: Exchange,
    status: int,
    reason: str,
    content_type: str,
    pieces: Iterable[bytes],
    *,
    headers: Iterable[Header] = (),
) -> Answer:
    """Return an answer of Headroom's upstream, with the headers of both."""
    provider = _openai_headers if speaks_openai(exchange) else _anthropic_headers
    fields = (
        *uvicorn_headers(),
        ("date", formatdate(usegmt=True)),
        ("content-type", content_type),
        *provider(exchange.id),
        *headers,
        *headroom_headers(exchange, Tokens(before=40, after=25)),
    )
    return Answer(status, reason, fields, tuple(pieces), content_type == EVENT_STREAM)


def error_answer(
    exchange: Exchange,
    status: int,
    reason: str,
    kind: str,
    text: str,
    *,
    headers: Iterable[Header] = (),
) -> Answer:
    """Return an error of the upstream, in the shape of the API that was called."""
    if speaks_openai(exchange):
        body = openai.error(kind, text)
    else:
        body = anthropic.error(kind, text, exchange.id)
    return relayed_answer(exchange, status, reason, JSON, (body,), headers=headers)


def too_large(exchange: Exchange) -> Answer:
    """Return the refusal of a body over the limit."""
    kind, text = "request_too_large", "Request exceeds the maximum size"
    return error_answer(exchange, 413, "Payload Too Large", kind, text)


def malformed() -> Answer:
    """Return what uvicorn answers to bytes that are no request."""
    text = b"Invalid HTTP request received."
    return own_answer(400, "Bad Request", "text/plain; charset=utf-8", text)


def usual_answer(exchange: Exchange, words: Sequence[str]) -> Answer:
    """Return what Headroom answers when all is well."""
    path = path_of(exchange.target)
    if exchange.kind == "health":
        return health_answer()
    if exchange.kind == "admin":
        page = {"stand-in": "headroom", "admin page": path}
        return own_answer(200, "OK", JSON, json.dumps(page).encode())
    if path == "/v1/messages" and exchange.body.model == anthropic.RETIRED_MODEL:
        text = f"model: {exchange.body.model}"
        return error_answer(exchange, 404, "Not Found", "not_found_error", text)
    if exchange.body.wants_stream and (events := _events(exchange, path, words)):
        return relayed_answer(exchange, 200, "OK", EVENT_STREAM, events)
    if (body := _document(exchange, path, words)) is not None:
        return relayed_answer(exchange, 200, "OK", JSON, (body,))
    return error_answer(exchange, 404, "Not Found", "not_found_error", f"Not found: {path}")


def health_answer(*, ready: bool = True) -> Answer:
    """Return what Headroom's health pages answer."""
    state = {"service": "headroom-proxy", "status": "healthy" if ready else "unhealthy"}
    body = json.dumps(state | {"ready": ready, "version": "0.42.0"}).encode()
    status, reason = (200, "OK") if ready else (503, "Service Unavailable")
    return own_answer(status, reason, JSON, body)


def words_of(count: int) -> tuple[str, ...]:
    """Return `count` words, the greeting over and over."""
    return tuple(islice(cycle(WORDS), count))


def speaks_openai(exchange: Exchange) -> bool:
    """Tell whether the client called a page of OpenAI's API."""
    path = path_of(exchange.target)
    if path in ("/v1/models", "/") or path.startswith("/v1/models/"):
        return exchange.routed_to == "openai"
    return path in OPENAI_PATHS


def model_of(exchange: Exchange) -> str:
    """Return the model the client asked for, or a default."""
    default = openai.DEFAULT_MODEL if speaks_openai(exchange) else anthropic.DEFAULT_MODEL
    return exchange.body.model or default


def _events(exchange: Exchange, path: str, words: Sequence[str]) -> tuple[bytes, ...]:
    model, number = model_of(exchange), exchange.id
    if path == "/v1/messages":
        cache = anthropic.cached(exchange.body.text)
        return tuple(anthropic.message_events(words, model, number, cache))
    if path == "/v1/chat/completions":
        usage = exchange.body.wants_usage
        return tuple(openai.chat_events(words, model, number, usage=usage))
    if path == "/v1/responses":
        return tuple(openai.response_events(words, model, number))
    return ()


def _document(exchange: Exchange, path: str, words: Sequence[str]) -> bytes | None:
    model, number = model_of(exchange), exchange.id
    if path.startswith("/v1/models/"):
        return _model_details(exchange, path.removeprefix("/v1/models/"))
    pages: dict[str, Callable[[], bytes]] = {
        "/v1/models": openai.model_list if speaks_openai(exchange) else anthropic.model_list,
        "/v1/messages": lambda: anthropic.message(
            words, model, number, anthropic.cached(exchange.body.text)
        ),
        "/v1/messages/count_tokens": anthropic.token_count,
        "/v1/complete": lambda: anthropic.completion(words, model, number),
        "/v1/files": anthropic.file_list,
        "/v1/chat/completions": lambda: openai.chat(words, model, number),
        "/v1/responses": lambda: openai.response(words, model, number),
        "/v1/embeddings": lambda: openai.embedding(model),
    }
    return pages[path]() if path in pages else None


def _model_details(exchange: Exchange, name: str) -> bytes:
    if speaks_openai(exchange):
        return openai.model_details(name)
    return anthropic.model_details(name)


def headroom_headers(exchange: Exchange, tokens: Tokens) -> tuple[Header, ...]:
    """Return what Headroom adds to every answer of its upstream."""
    return (
        ("x-headroom-tokens-before", str(tokens.before)),
        ("x-headroom-tokens-after", str(tokens.after)),
        ("x-headroom-tokens-saved", str(tokens.saved)),
        ("x-headroom-model", model_of(exchange)),
        *GUARDING_HEADERS,
    )


def uvicorn_headers() -> tuple[Header, ...]:
    """Return what the server under Headroom adds to every answer."""
    return (("date", formatdate(usegmt=True)), ("server", "uvicorn"))


def _anthropic_headers(number: int) -> tuple[Header, ...]:
    in_a_minute = datetime.now(UTC) + timedelta(minutes=1)
    return (
        ("anthropic-ratelimit-requests-limit", "4000"),
        ("anthropic-ratelimit-requests-remaining", "3999"),
        ("anthropic-ratelimit-requests-reset", f"{in_a_minute:%Y-%m-%dT%H:%M:%SZ}"),
        ("anthropic-ratelimit-input-tokens-limit", "2000000"),
        ("anthropic-ratelimit-input-tokens-remaining", "1999000"),
        ("anthropic-ratelimit-output-tokens-limit", "400000"),
        ("anthropic-ratelimit-output-tokens-remaining", "399000"),
        ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
        ("request-id", anthropic.request_id(number)),
    )


def _openai_headers(number: int) -> tuple[Header, ...]:
    return (
        ("x-ratelimit-limit-requests", "4000"),
        ("x-ratelimit-remaining-requests", "3999"),
        ("x-ratelimit-reset-requests", "60ms"),
        ("openai-processing-ms", "12"),
        ("x-request-id", anthropic.request_id(number)),
    )
