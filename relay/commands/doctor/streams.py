"""Tests whether an event stream comes through unbuffered, by a call that costs a little.

No API streams for free, so this is only done when asked for. It asks the cheapest model for a short
answer. A buffer shows by all events coming together, after a time in which they could have come one
by one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from relay.commands.doctor.calls import MESSAGES, Caller, TimedAnswer
from relay.commands.doctor.findings import Finding, fail, note, ok, quote, warn
from relay.config import RelaySettings
from relay.errors import RelayError, UpstreamError
from relay.http.sse import EventReader

MAX_TOKENS: Final = 100
"""Enough that the fastest models take a while; a twentieth of a cent with the cheapest ones."""
_PROMPT: Final = "Count from 1 to 60 in words."
# Cheap, and known to answer at once rather than to think first; the first that fits.
_CHEAP: Final = ("haiku", "4.1-nano", "4o-mini", "4.1-mini", "nano", "flash", "mini")
_NO_CHAT: Final = re.compile(
    r"audio|embed|image|instruct|moderation|realtime|research|search|transcribe|tts|whisper"
)
# Events that lie so far apart were not kept back. Models write 10 to 500 tokens a second.
_SPREAD_SECONDS: Final = 0.05
# An upstream that is done so soon is a stand-in: then only the cut of the pieces can tell.
_INSTANT_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Whether to send the call, and with which model."""

    wanted: bool = False
    model: str | None = None


async def examine(
    relay: RelaySettings, caller: Caller, models: TimedAnswer, options: StreamOptions
) -> Finding:
    """Examine whether a stream comes through unbuffered, if that is wanted."""
    if not options.wanted:
        text = f"not checked: it costs up to {MAX_TOKENS} tokens"
        return note("stream", text, "relay doctor --stream")
    model = choose(models_of(models) or [], options.model)
    if model is None:
        return note("stream", "not checked: no model is listed", "relay doctor --stream --model M")
    body = {
        "model": model,
        "max_tokens": MAX_TOKENS,
        "stream": True,
        "messages": [{"role": "user", "content": _PROMPT}],
    }
    try:
        answer = await caller.ask("POST", MESSAGES[relay.api], json.dumps(body).encode())
    except RelayError as error:
        fate = "broke off" if isinstance(error, UpstreamError) else "failed"
        return fail("stream", f"the stream {fate} before its end", "look at the upstream's log")
    return judge(relay, quote(model), answer)


def models_of(answer: TimedAnswer) -> list[str] | None:
    """Return the names in a list of models, or None if this is none (both APIs' are alike)."""
    data = answer.json().get("data")
    if not isinstance(data, list):
        return None
    names = (model.get("id") for model in data if isinstance(model, dict))
    return [name for name in names if isinstance(name, str)]


def choose(listed: list[str], wanted: str | None) -> str | None:
    """Return the wanted model, unless others are listed; else a cheap one that chats."""
    if wanted is not None and (wanted in listed or not listed):
        return wanted
    fit = [name for name in listed if not _NO_CHAT.search(name)]
    cheap = (name for mark in _CHEAP for name in fit if mark in name)
    return next(cheap, fit[0] if fit else None)


def judge(relay: RelaySettings, model: str, answer: TimedAnswer) -> Finding:
    """Return a finding about when the events came."""
    if answer.status != 200:
        return _refused(relay, model, answer)
    if answer.content_type != "text/event-stream":
        kind = quote(answer.content_type) or "nothing"
        text = f"a stream was asked of {model}, and {kind} came"
        return fail("stream", text, "look for what is in between: it waits for the whole answer")
    times = event_times(answer)
    if not times:
        return fail("stream", f"not an event came of {model}", "look at the upstream's log")
    return _judge_times(model, times)


def _refused(relay: RelaySettings, model: str, answer: TimedAnswer) -> Finding:
    if relay.grant.name == "claude" and answer.status in (400, 403, 429):
        text = f"not checked: {answer.status}; a subscription's token is for Claude Code"
        return note("stream", text, "watch an answer in Claude Code")
    remedy = "name another with --model" if answer.status in (400, 404) else "try again later"
    return warn("stream", f"not checked: {model} was refused with {answer.status}", remedy)


def event_times(answer: TimedAnswer) -> list[float]:
    """Return when each event was whole, in seconds from the sending; pings are none."""
    reader = EventReader()
    return [
        seconds
        for seconds, piece in answer.pieces
        for event in reader.feed(piece)
        if event.name != b"ping"
    ]


def _judge_times(model: str, times: list[float]) -> Finding:
    first, last, moments = times[0], times[-1], len(set(times))
    spread = last - first
    if (spread >= _SPREAD_SECONDS or last < _INSTANT_SECONDS) and moments > 2:
        text = f"comes through as it is written: {len(times)} events of {model}, "
        return ok("stream", text + f"the first after {first:.2f} s, the last after {last:.2f} s")
    text = f"is BUFFERED: all {len(times)} events of {model} came at once, after {first:.2f} s"
    return fail(
        "stream", text, "something in between waits for the whole answer (nginx: proxy_buffering)"
    )
