"""The log: one line for each call, for people on a terminal and as JSON elsewhere.

A line holds no header value, no query and no body. What an agent chose (its path and
method) is shown with control characters escaped, so that it can forge no line. The lines of
calls are written together, a moment later, and before anything else that is logged: one
write for each of them would be a fair part of what a call costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

from relay.exchange import UNKNOWN, CallFields, Exchange

FORMATS: Final = ("text", "json")
# Who watches does not notice; and of a relay that is killed, no more than this is lost.
DELAY_SECONDS: Final = 0.01
# For a loop that has no time for its timers, or is closed: whatever comes next writes.
_LATEST_SECONDS: Final = 0.04
# Lines. All together usually stay below what a pipe holds (64 KiB), so that a write need not
# wait for the reader within.
_MOST_LINES: Final = 32

log = logging.getLogger("relay")


def call_fields(exchange: Exchange) -> CallFields:
    """Return what a call's line says; what is not known is absent.

    Once the call is over it is put together no more than once, and must not be changed.
    """
    if exchange.summary is not None:
        return exchange.summary
    reading = exchange.reading
    usage = reading or exchange.meter
    fields: dict[str, str | int | float | Mapping[str, int] | None] = {
        "relay": _known(exchange.relay),
        "client": _known(exchange.client),
        "method": exchange.method or None,
        "path": exchange.path or None,
        "operation": exchange.operation,
        "status": exchange.status,
        "outcome": exchange.outcome,
        "reason": exchange.rejection,
        "duration": _rounded(exchange.duration),
        "first_byte": _rounded(exchange.time_to_first_byte),
        "first_token": _rounded(exchange.time_to_first_token),
        "max_gap": _rounded(reading.max_gap) if reading else None,
        "model": usage.model if usage else None,
        "tokens": (usage.tokens or None) if usage else None,
        "request_id": exchange.request_id or None,
        "session_id": exchange.session_id or None,
        "agent_id": exchange.agent_id or None,
        "request_bytes": exchange.request_bytes,
        "response_bytes": exchange.response_bytes,
    }
    known = {key: value for key, value in fields.items() if value is not None}
    if exchange.finished is not None:
        exchange.summary = known
    return known


def _known(label: str) -> str | None:
    return None if label == UNKNOWN else label


def _rounded(seconds: float | None) -> float | None:
    """Return whole microseconds, as seconds; round() takes four times as long."""
    return None if seconds is None else int(seconds * 1e6 + 0.5) / 1e6


def log_call(exchange: Exchange) -> None:
    """Have the line of a call that is over written."""
    if log.isEnabledFor(logging.INFO):
        for handler in (*log.handlers, *log.root.handlers):
            if isinstance(handler, CallHandler):
                handler.take_call(exchange)


class CallHandler(logging.Handler, ABC):
    """A handler that takes calls as well, without a record made of each."""

    @abstractmethod
    def take_call(self, exchange: Exchange) -> None:
        """Take a call that is over."""


class CallFormatter(logging.Formatter, ABC):
    """A formatter of calls, too."""

    @abstractmethod
    def format_call(self, fields: CallFields, now: int) -> str:
        """Return a call's line; ``now`` is in nanoseconds of Unix time."""


class Journal(CallHandler):
    """Writes to a stream: messages at once, and before them the calls that wait."""

    def __init__(self, stream: TextIO, formatter: CallFormatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._format_call = formatter.format_call
        self._stream = stream
        self._lines: list[str] = []
        self._oldest = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  # whatever it is, the caller goes on, as with any handler
            self.handleError(record)
        else:
            self._write(line)

    def take_call(self, exchange: Exchange) -> None:
        """Have a call's line written soon, or with what comes next."""
        lines = self._lines
        lines.append(self._format_call(call_fields(exchange), time.time_ns()))
        now = time.monotonic()
        if len(lines) == 1:
            self._oldest = now
            self._flush_soon()
        elif len(lines) >= _MOST_LINES or now - self._oldest > _LATEST_SECONDS:
            self.flush()

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
        else:
            loop.call_later(DELAY_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what waits; at the end of the process, logging asks for it."""
        if self._lines:
            self._write()

    def _write(self, *messages: str) -> None:
        self.acquire()
        try:
            waiting = self._lines[:]
            del self._lines[: len(waiting)]  # another thread may have added to them
            # Where nobody reads the log any more, there is nobody to tell.
            with contextlib.suppress(OSError, ValueError):
                self._stream.write("\n".join([*waiting, *messages, ""]))
                self._stream.flush()
        finally:
            self.release()


class TextFormatter(CallFormatter):
    """``12:00:01 INFO  POST /v1/messages 200 ok 1.234s …``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, or more only for an exception of our own."""
        text = _escaped(record.getMessage())
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return _text_line(record.created, record.levelname, text)

    def format_call(self, fields: CallFields, now: int) -> str:
        """Return the call in the order one reads it."""
        return _text_line(now / 1e9, "INFO", _call_text(fields))


def _text_line(seconds: float, level: str, text: str) -> str:
    moment = datetime.fromtimestamp(seconds, UTC).astimezone()
    return f"{moment:%H:%M:%S} {level:<7} {text}"


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
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class JsonFormatter(CallFormatter):
    """One JSON object on one line."""

    def __init__(self) -> None:
        super().__init__()
        self._encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
        self._second = 0
        self._call_start = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return a message: its ``event`` is "log"."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": "log",
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return self._encode(line)

    def format_call(self, fields: CallFields, now: int) -> str:
        """Return a call: its ``event`` is "call"."""
        second, rest = divmod(now, 1_000_000_000)
        if second != self._second:
            moment = datetime.fromtimestamp(second, UTC)
            self._second, self._call_start = second, f'{{"time":"{moment:%Y-%m-%dT%H:%M:%S}.'
        members = self._encode(fields)[1:]
        return f'{self._call_start}{rest // 1_000_000:03}Z","level":"info","event":"call",{members}'


def set_up(style: str | None, stream: TextIO = sys.stderr) -> None:
    """Send the log to a stream, as ``text`` or ``json``; by default as the stream is."""
    if style not in FORMATS:
        style = "text" if stream.isatty() else "json"
    root = logging.getLogger()
    root.handlers[:] = [Journal(stream, TextFormatter() if style == "text" else JsonFormatter())]
    root.setLevel(logging.WARNING)
    log.setLevel(logging.INFO)
