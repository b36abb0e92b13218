"""The log: one line for each call, for people on a terminal and as JSON elsewhere.

A line holds no header value, no query and no body. What an agent chose (its path and
method) is shown with control characters escaped, so that it can forge no line. Calls are
handed in many at a time, and written by one write; no call waits for that.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final, TextIO

import orjson

from relay.telemetry.attempts import known_of, request_id_of
from relay.telemetry.call import UNKNOWN, CallFields, CallRecord
from relay.telemetry.hops import HopFields
from relay.telemetry.line_writer import LineWriter

# How long a relay that stops waits for whoever reads its log to take what is left.
EXIT_SECONDS: Final = 2.0
DROPPED: Final = "dropped %d lines of the log, which nobody took in time"
FORMATS: Final = ("text", "json")

log = logging.getLogger("relay")


def call_fields(record: CallRecord) -> CallFields:
    """Return what a call's line says; what is not known is absent.

    Once the call is over it is put together no more than once, and must not be changed.
    """
    if record.summary is not None:
        return record.summary
    usage, chain = record.usage, record.chain
    known_usage = usage or (record.meter if chain is None else known_of(chain.attempts))
    fields: dict[str, str | int | float | Mapping[str, int] | list[HopFields] | None] = {
        "relay": _known(record.relay),
        "client": _known(record.client),
        "method": record.method or None,
        "path": record.path or None,
        "operation": record.operation,
        "status": record.status,
        "outcome": record.outcome,
        "reason": record.rejection,
        "error_type": usage.error_type if usage else None,
        "duration": rounded(record.duration),
        "first_byte": rounded(record.time_to_first_byte),
        "first_token": rounded(record.time_to_first_token),
        "max_gap": rounded(usage.max_gap) if usage else None,
        "model": known_usage.model if known_usage else None,
        "tokens": (known_usage.tokens or None) if known_usage else None,
        "tier": usage.tier if usage else None,
        "request_id": record.request_id or None,
        "session_id": record.session_id or None,
        "agent_id": record.agent_id or None,
        "parent_agent_id": record.parent_agent_id or None,
        "trace_id": None if record.trace is None else record.trace.name,
        "grant": record.grant or None,
        "request_bytes": record.request_bytes,
        "response_bytes": record.response_bytes,
    }
    if chain is not None:
        fields["request_id"] = request_id_of(chain.attempts) or None
        fields["legs"] = len(chain.attempts)
        fields["hops"] = [each.fields() for each in chain.hops]
    known = {key: value for key, value in fields.items() if value is not None}
    if record.finished is not None:
        record.summary = known
    return known


def _known(label: str) -> str | None:
    return None if label == UNKNOWN else label


def rounded(seconds: float | None) -> float | None:
    """Return whole microseconds, as seconds; round() takes four times as long."""
    return None if seconds is None else int(seconds * 1e6 + 0.5) / 1e6


def log_calls(records: Iterable[CallRecord]) -> None:
    """Write the lines of calls that are over."""
    if log.isEnabledFor(logging.INFO):
        for handler in _call_handlers():
            handler.take_calls(records)


def announce_messages(prepare: Callable[[], None]) -> None:
    """Have a function called before each message: what happened earlier is logged earlier."""
    for handler in _call_handlers():
        handler.prepare = prepare


def take_dropped() -> int:
    """Return how many lines nobody took in time, since this was last asked."""
    return sum(handler.take_dropped() for handler in _call_handlers())


def _call_handlers() -> Iterable[CallHandler]:
    handlers = (*log.handlers, *log.root.handlers)
    return (handler for handler in handlers if isinstance(handler, CallHandler))


class CallHandler(logging.Handler, ABC):
    """A handler that takes calls as well, without a record made of each."""

    prepare: Callable[[], None]
    """Is called before anything but calls is logged, and at the end of the process."""

    def __init__(self) -> None:
        super().__init__()
        self.prepare = lambda: None

    @abstractmethod
    def take_calls(self, records: Iterable[CallRecord]) -> None:
        """Take calls that are over."""

    def take_dropped(self) -> int:
        """Return how many lines were dropped since this was last asked."""
        return 0

    def flush(self) -> None:
        """Have the last calls handed in; at the end of the process, logging asks for it."""
        self.prepare()


class CallFormatter(logging.Formatter, ABC):
    """A formatter of calls, too."""

    @abstractmethod
    def format_call(self, fields: CallFields, now: int) -> str:
        """Return a call's line; ``now`` is in nanoseconds of Unix time."""


class Journal(CallHandler):
    """Hands lines to their writer."""

    def __init__(self, writer: LineWriter, formatter: CallFormatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._format_call = formatter.format_call
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message."""
        self.prepare()
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  # whatever it is, the caller goes on, as with any handler
            line = traceback.format_exc().rstrip()
        self._write([line])

    def take_calls(self, records: Iterable[CallRecord]) -> None:
        """Write the lines of calls."""
        self._write(
            [self._format_call(call_fields(each), int(each.ended * 1e9)) for each in records]
        )

    def _write(self, lines: list[str]) -> None:
        self._writer.put("\n".join([*lines, ""]))

    def take_dropped(self) -> int:
        """Return how many lines were dropped since this was last asked."""
        return self._writer.take_dropped()

    def flush(self) -> None:
        """Have everything written that is known by now, if anybody takes it."""
        super().flush()
        self._writer.flush(EXIT_SECONDS)

    def close(self) -> None:
        """Take nothing more."""
        self._writer.close()
        super().close()


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
    if isinstance(hops := call.get("hops"), list):
        call["hops"] = ",".join(_hop_text(each) for each in hops)
    rest = " ".join(f"{key}={value}" for key, value in call.items())
    return _escaped(f"{method} {path} {status} {outcome} {rest}")


def _hop_text(hop: HopFields) -> str:
    """Return a hop as ``headroom:passed:0.033s``."""
    seconds = hop.get("seconds")
    known = (hop["name"], hop.get("outcome", "-"), None if seconds is None else f"{seconds}s")
    return ":".join(str(each) for each in known if each is not None)


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
        members = self._encode_quickly(fields)[1:]
        return f'{self._call_start}{rest // 1_000_000:03}Z","level":"info","event":"call",{members}'

    def _encode_quickly(self, fields: CallFields) -> str:
        """Return the same as ``_encode``, which escapes what not every terminal or stream takes."""
        try:
            text = orjson.dumps(fields).decode()
        except orjson.JSONEncodeError:  # a lone surrogate
            return self._encode(fields)
        return text if text.isascii() and text.isprintable() else self._encode(fields)


def _tell_dropped(formatter: CallFormatter, count: int) -> str:
    """Return the line that says where lines are missing."""
    record = logging.LogRecord(log.name, logging.WARNING, "", 0, DROPPED, (count,), None)
    return formatter.format(record) + "\n"


def set_up(style: str | None, stream: TextIO = sys.stderr) -> None:
    """Send the log to a stream, as ``text`` or ``json``; by default as the stream is."""
    if style not in FORMATS:
        style = "text" if stream.isatty() else "json"
    formatter = TextFormatter() if style == "text" else JsonFormatter()
    writer = LineWriter(stream, partial(_tell_dropped, formatter))
    root = logging.getLogger()
    root.handlers[:] = [Journal(writer, formatter)]
    root.setLevel(logging.WARNING)
    log.setLevel(logging.INFO)
