"""Calls as the page shows them: names cut to what fits, figures as they are.

Nothing is escaped here: the page puts all of it in as text. Knows nothing of secrets, for the
log's own fields are all that it has of a call.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from relay.admin.outcomes import described
from relay.telemetry.access_log import call_fields
from relay.telemetry.call import CallFields, CallRecord
from relay.telemetry.ledger.size import CHARACTERS_PER_TOKEN
from relay.telemetry.timeline import timeline

JsonObject = dict[str, object]

TEXT_LIMIT: Final = 256
"""Characters of a name that an agent or an upstream chose; a path may have 16,000."""
# Bytes of an event stream for each token, for an estimate where its text is not counted: an event
# holds a few tokens, and is mostly JSON around them. Right within a factor of two; the API states
# the number at the end.
_BYTES_PER_TOKEN: Final[Mapping[str, int]] = {
    "messages": 35,
    "chat_completions": 200,
    "responses": 120,
}


def running_row(record: CallRecord) -> JsonObject:
    """Return a call in flight."""
    now = time.perf_counter()
    fields = _cut(call_fields(record))
    del fields["outcome"], fields["duration"]
    fields["key"] = _key(record)
    fields["age"] = now - record.started
    fields["silence"] = _longest_silence(record, now)
    fields |= _tokens(fields)
    output = _output_estimate(record)
    stated = fields["output"]
    if isinstance(stated, int) and output > stated:
        fields |= {"output": output, "estimated": True}
    return fields


def ended_row(record: CallRecord) -> JsonObject:
    """Return a call that is over."""
    fields = call_fields(record)
    row = _cut(fields)
    row["key"] = _key(record)
    row["finished"] = record.ended
    row["timeline"] = [(moment.what, moment.at) for moment in timeline(record)]
    return row | _tokens(row) | described(fields)


def _key(record: CallRecord) -> str:
    """Return what tells a call from others, from its beginning to its end."""
    return f"{record.started:.6f}"


def _cut(fields: CallFields) -> JsonObject:
    return {key: _short(value) for key, value in fields.items()}


def _short(value: object) -> object:
    if isinstance(value, str) and len(value) > TEXT_LIMIT:
        return f"{value[:TEXT_LIMIT]}…"
    return value


def _tokens(fields: JsonObject) -> JsonObject:
    """Return what went in, cache included, what of it was read from there, and what came out."""
    tokens = fields.pop("tokens", None)
    if not isinstance(tokens, Mapping):
        return {"input": None, "cache_read": None, "output": 0}
    output = tokens.get("output", 0)
    return {
        "input": sum(tokens.values()) - output,
        "cache_read": tokens.get("cache_read", 0),
        "output": output,
    }


def _output_estimate(record: CallRecord) -> int:
    """Return about how many tokens a stream holds: as limits count them, where there are any."""
    per_token, meter = _BYTES_PER_TOKEN.get(record.operation), record.meter
    if per_token is None or meter is None or not meter.streams:
        return 0
    if meter.text_size is not None:
        return meter.text_size // CHARACTERS_PER_TOKEN
    return record.response_bytes // per_token


def _longest_silence(record: CallRecord, now: float) -> float:
    """Return the longest time in which the upstream said nothing; the one that lasts counts."""
    silence = record.meter.silence(now) if record.meter is not None else None
    if silence is None:  # nothing has come yet
        return now - (record.first_byte or record.sent_at or record.started)
    return silence
