"""What spans are called and say: OpenTelemetry's conventions, and names of the relay's own.

Of one pinned version, for names of the GenAI conventions still change:
https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai. What a message or a
header holds is in none of them, nor is a path or a query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from relay.telemetry.call import GOOD_OUTCOMES, UNKNOWN
from relay.telemetry.traces.trace import LegSpan
from relay.telemetry.usage import CACHE_WRITES

if TYPE_CHECKING:
    from relay.telemetry.call import CallRecord

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.41.0"

Value = str | int | float | bool | tuple[str, ...]
Attributes = dict[str, Value]

_OPERATIONS: Final[Mapping[str, str]] = {
    "messages": "chat",
    "chat_completions": "chat",
    "responses": "chat",
    "embeddings": "embeddings",
}


def is_failure(record: CallRecord) -> bool:
    """Whether what became of it is an error."""
    return record.outcome not in GOOD_OUTCOMES


def name_of_call(record: CallRecord) -> str:
    """Return a server span's name."""
    return f"{record.method or 'HTTP'} {record.operation}"


def name_of_leg(leg: LegSpan) -> str:
    """Return a client span's name: of one to the API, what the model was asked for."""
    operation = _OPERATIONS.get(leg.record.operation)
    if leg.hop is not None or operation is None:
        return name_of_call(leg.record)
    usage = leg.record.usage
    return f"{operation} {usage.model}" if usage is not None and usage.model else operation


def attributes_of_call(record: CallRecord) -> Attributes:
    """Return what the server span says: tokens are its legs', and would be counted twice."""
    found = _common(record, record.status)
    if record.client != UNKNOWN:
        found["relay.client"] = record.client
    if record.session_id:
        found["gen_ai.conversation.id"] = record.session_id
    if record.agent_id:
        found["gen_ai.agent.id"] = record.agent_id
    return found


def attributes_of_leg(leg: LegSpan) -> Attributes:
    """Return what a client span says: where it went, and what the API used for it."""
    found = _common(leg.record, leg.record.code)
    found["server.address"], found["server.port"] = leg.host, leg.port
    if leg.hop is not None:
        return found | {"relay.hop": leg.hop}
    return found | _said(leg.record)


def _common(record: CallRecord, status: int | None) -> Attributes:
    found: Attributes = {
        "http.request.method": record.method or "_OTHER",
        "relay.name": record.relay,
        "relay.operation": record.operation,
        "relay.outcome": record.outcome,
    }
    if status is not None:
        found["http.response.status_code"] = status
    if is_failure(record):
        error = record.usage.error_type if record.usage is not None else None
        found["error.type"] = error or record.outcome
    return found


def _said(record: CallRecord) -> Attributes:
    """Return what the API said of model and tokens."""
    operation = _OPERATIONS.get(record.operation)
    if operation is None:
        return {}
    found: Attributes = {"gen_ai.operation.name": operation, "gen_ai.provider.name": record.api}
    usage = record.usage
    if usage is None:
        return found
    if usage.model:
        found["gen_ai.response.model"] = usage.model
    if usage.stop_reason:
        found["gen_ai.response.finish_reasons"] = (usage.stop_reason,)
    return found | _tokens(usage.tokens)


def _tokens(tokens: Mapping[str, int]) -> Attributes:
    """Return the tokens; the convention's input has what the cache had, and took, in it."""
    if not tokens:
        return {}
    read = tokens.get("cache_read", 0)
    written = sum(tokens.get(kind, 0) for kind in CACHE_WRITES)
    found: Attributes = {
        "gen_ai.usage.input_tokens": tokens.get("input", 0) + read + written,
        "gen_ai.usage.output_tokens": tokens.get("output", 0),
    }
    if read:
        found["gen_ai.usage.cache_read.input_tokens"] = read
    if written:
        found["gen_ai.usage.cache_creation.input_tokens"] = written
    return found
