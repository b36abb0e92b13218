"""Pages of a relay, and what is made of them."""

import io
import json

from rich.console import Console

from relay.commands.top.figures import Figures, compute, to_json
from relay.commands.top.layout import View, draw
from relay.commands.top.page import read_snapshot

NOW = 1_790_000_000.0
EMPTY = {"time": NOW, "in_flight": [], "recent": [], "relays": {}}
NO_TOKENS = {
    "input": 0,
    "cache_read": 0,
    "cache_write_5m": 0,
    "cache_write_1h": 0,
    "cache_write_unknown": 0,
    "output": 0,
}
HOSTILE = "/[bold red]x[/]\x1b[2J\x1b]0;title\x07\r\n\x9b1m\u202e\ud800:smile:"

Json = dict[str, object]


CALL: Json = {
    "relay": "anthropic",
    "client": "agent",
    "method": "POST",
    "path": "/v1/messages",
    "operation": "messages",
}


def finished(seconds_ago: float, **more: object) -> Json:
    """Return a finished call as the page has it."""
    end = {"status": 200, "outcome": "ok", "duration": 2.0, "finished": NOW - seconds_ago}
    return CALL | end | more


def running(age: float, **more: object) -> Json:
    """Return a call in flight as the page has it."""
    return CALL | {"age": age} | more


def page(**parts: object) -> str:
    """Return a page with these parts."""
    return json.dumps(EMPTY | parts)


def figures_of(text: str) -> Figures:
    """Return the figures of a page, by its own clock."""
    return compute(read_snapshot(text), NOW)


def relay_json(text: str, name: str = "anthropic") -> Json:
    """Return what `--json` says of one relay."""
    relays = to_json(figures_of(text))["relays"]
    assert isinstance(relays, dict)
    relay: Json = relays[name]
    return relay


def picture(
    text: str, *, width: int = 80, height: int = 24, fill: bool = False, lost: str | None = None
) -> str:
    """Return what is drawn of a page, without colours."""
    console = Console(width=width, height=height, file=io.StringIO(), record=True)
    view = View("127.0.0.1:9484", figures_of(text), lost)
    console.print(draw(view, console, fill=fill))
    return console.export_text()


BUSY = page(
    in_flight=[
        running(83.2, model="claude-opus-4-5", first_byte=0.5, first_token=1.7,
                tokens={"input": 4000, "cache_read": 40_000, "output": 3200}),
        running(12, client="other", first_byte=0.5),
        running(0.3, client="none", method="GET", path="/v1/models"),
    ],
    recent=[
        finished(30, first_token=1.0, model="claude-haiku-4-5",
                 tokens={"input": 250, "cache_read": 750, "output": 1234}),
        finished(20, outcome="upstream_error", status=529),
        finished(10, relay="none", client="none", outcome="rejected", status=401,
                 reason="token"),
    ],
    relays={
        "anthropic": {
            "upstream": "up",
            "credential": True,
            "quotas": [{"window": "5h", "utilization": 0.42, "reset": NOW + 7800}],
            "limits": [
                {"kind": "input_tokens", "limit": 2e6, "remaining": 1.64e6, "reset": NOW + 42}
            ],
        },
        "openai": {"upstream": "down", "credential": False},
    },
)  # fmt: skip
