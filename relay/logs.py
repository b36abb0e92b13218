"""The log: one line for each call, for people on a terminal and as JSON elsewhere.

A line holds no header value, no query and no body. What an agent chose (its path and
method) is shown with control characters escaped, so that it can forge no line.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

from relay.exchange import UNKNOWN, Exchange

FORMATS: Final = ("text", "json")

log = logging.getLogger("relay")


CallFields = dict[str, str | int | float | dict[str, int]]


def call_fields(exchange: Exchange) -> CallFields:
    """Return what a call's line says; what is not known is absent."""
    reading = exchange.reading
    known = reading or exchange.meter
    fields: dict[str, str | int | float | dict[str, int] | None] = {
        "relay": _known(exchange.relay),
        "client": _known(exchange.client),
        "method": exchange.method or None,
        "path": exchange.path or None,
        "operation": exchange.operation,
        "status": exchange.status,
        "outcome": exchange.outcome,
        "reason": exchange.rejection,
        "duration": round(exchange.duration, 6),
        "first_byte": _rounded(exchange.time_to_first_byte),
        "first_token": _rounded(exchange.time_to_first_token),
        "max_gap": _rounded(reading.max_gap) if reading else None,
        "model": known.model if known else None,
        "tokens": (dict(known.tokens) or None) if known else None,
        "request_id": exchange.request_id or None,
        "session_id": exchange.session_id or None,
        "agent_id": exchange.agent_id or None,
        "request_bytes": exchange.request_bytes,
        "response_bytes": exchange.response_bytes,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _known(label: str) -> str | None:
    return None if label == UNKNOWN else label


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def log_call(exchange: Exchange) -> None:
    """Write the line of a call that is over."""
    if log.isEnabledFor(logging.INFO):
        log.info("call", extra={"call": call_fields(exchange)})


class TextFormatter(logging.Formatter):
    """``12:00:01 INFO  POST /v1/messages 200 ok 1.234s …``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, or more only for an exception of our own."""
        moment = datetime.fromtimestamp(record.created, UTC).astimezone()
        fields: CallFields | None = getattr(record, "call", None)
        text = _call_text(fields) if fields is not None else _escaped(record.getMessage())
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return f"{moment:%H:%M:%S} {record.levelname:<7} {text}"


def _call_text(fields: CallFields) -> str:
    call = dict(fields)
    method, path = call.pop("method", "-"), call.pop("path", "-")
    status, outcome = call.pop("status", "-"), call.pop("outcome")
    tokens = call.pop("tokens", None)
    if isinstance(tokens, dict):
        call |= tokens
    rest = " ".join(f"{key}={value}" for key, value in call.items())
    return _escaped(f"{method} {path} {status} {outcome} {rest}")


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class JsonFormatter(logging.Formatter):
    """One JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object; calls have ``event`` "call", all else "log" and a message."""
        fields: CallFields | None = getattr(record, "call", None)
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": "log" if fields is None else "call",
        }
        line |= {"message": record.getMessage()} if fields is None else fields
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"))


def set_up(style: str | None, stream: TextIO = sys.stderr) -> None:
    """Send the log to a stream, as ``text`` or ``json``; by default as the stream is."""
    if style not in FORMATS:
        style = "text" if stream.isatty() else "json"
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if style == "text" else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    log.setLevel(logging.INFO)
