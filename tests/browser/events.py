"""Events that no relay would send: each name in them is as bad as somebody could make it."""

from __future__ import annotations

import time
from typing import Final

from relay import __version__

Event = dict[str, object]

# In the page, before its own scripts: what it reads instead of the relay's stream.
FAKE_STREAM: Final = """
const told = `data: ${JSON.stringify(%s)}\\n\\n`;
const real = window.fetch;
window.fetch = (address, options) => {
  if (address !== "/events") return real(address, options);
  const start = (stream) => {
    const send = () => stream.enqueue(new TextEncoder().encode(told));
    send();
    setInterval(send, 1000);
  };
  return Promise.resolve(new Response(new ReadableStream({ start })));
};
"""


def row(name: str) -> Event:
    """Return a row of what was used."""
    sums = {"calls": 1, "input": 2, "cache_read": 3, "cache_write": 4, "output": 5}
    marks = {"cost_usd": 1.5, "unpriced": 1, "estimate_usd": 0.5, "is_notional": True}
    return {"name": name, **sums, **marks}


def call(name: str) -> Event:
    """Return what calls in flight and those that are over have in common."""
    texts = ("relay", "client", "model", "method", "path", "session_id", "agent_id", "request_id")
    figures = {"input": 10, "cache_read": 5, "output": 3, "key": name + "key"}
    return dict.fromkeys(texts, name) | {"error_type": name, "tier": name} | figures


def event(name: str, calls: int = 1) -> Event:
    """Return an event with this name wherever there is one."""
    now = time.time()
    running = call(name) | {"age": 3.0, "silence": 2.0, "estimated": True}
    hop = {"name": name, "outcome": name, "seconds": 0.1, "bytes_in": 5, "bytes_out": 3}
    over = call(name) | {
        "finished": now,
        "duration": 2.0,
        "outcome": name,
        "said": name,
        "help": "javascript:window.harmed=1",
        "status": 200,
        "request_bytes": 1,
        "response_bytes": 2,
        "hops": [hop],
        "timeline": [("admitted", 0.0), (name, 1.0), ("end", 2.0)],
    }
    relay = {
        "name": name,
        "upstream": name,
        "state": "up",
        "grant": name,
        "ready": True,
        "refused": False,
        "expires_at": now + 60,
        "connections": {"idle": 1, "active": 1},
        "legs": {},
        "hops": [{"name": name, "up": True, "url": name, "bypassed": False}],
        "limits": [{"name": name, "limit": 10, "remaining": 5, "reset": now + 60}],
        "quotas": [{"name": name, "utilization": 0.5, "reset": now + 60}],
    }
    rows = [row(name)]
    tables = {"total": row(name), "models": rows, "clients": rows, "sessions": rows}
    limit = {"client": name, "session": name, "kind": "usd", "per": name, "reset": now + 60}
    limit |= {"most": 2.0, "used": 1.0, "ratio": 0.5, "warn": 0.8}
    return {
        "time": now,
        "version": __version__,
        "draining": False,
        "relays": [relay],
        "in_flight": [running | {"key": f"{name}{number}"} for number in range(calls)],
        "in_flight_count": calls,
        "ended_count": 1,
        "ended": [over],
        "wrong": [{"what": name, "text": name, "help": "javascript:window.harmed=1"}],
        "limits": [limit],
        "use": {
            "source": "ledger",
            "timezone": name,
            "priced": True,
            "is_unused": False,
            "problem": name,
            "spans": [{"name": "today", **tables}, {"name": name, **tables}],
            "days": [{"day": "2026-11-27", **row(name)}],
        },
    }
