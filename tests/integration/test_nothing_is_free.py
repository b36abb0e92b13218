"""Nothing is free: each way past a limit that an answer or a path could be, tried once.

One call goes that way; what it may have cost counts, so the next one is refused. What hops ask for,
calls that are left, batches and background responses are tried in ``test_limits``.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.configuration import both_relays
from tests.harness.ledger import rows_in
from tests.harness.limits import limited, refused
from tests.harness.messages import CHAT, MESSAGES, chunk, request
from tests.harness.model_answers import (
    BLOCK_START,
    CHAT_DONE,
    CHAT_EVENTS,
    GPT,
    JSON,
    MODEL,
    STREAM,
    error_event,
    event,
    message_body,
    text_delta,
)
from tests.harness.recordings import RESPONSES, answer_head, document
from tests.harness.relay import running_relay, update_configuration
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.usefixtures("clock")

QUESTION = b"x" * 400
"""A hundred tokens, by their size."""
UNSTATED_START = event("message_start", message={"type": "message", "model": MODEL})
OPENAI = "/relay/openai/v1"


@dataclass(frozen=True)
class Way:
    """A call, and what the API answers."""

    name: str
    body: bytes = b""
    content_type: str = JSON
    path: str = MESSAGES
    coding: str = "identity"
    breaks_off: bool = False

    @property
    def answer(self) -> bytes:
        """The answer's bytes."""
        if self.breaks_off:
            return answer_head(self.content_type, self.coding) + chunk(self.body)
        head = answer_head(self.content_type, self.coding, length=len(self.body))
        return head + self.body


def message(**members: object) -> bytes:
    """Return a message with these members, as JSON."""
    whole = {"type": "message", "model": MODEL, "content": [], "stop_reason": "end_turn"}
    return json.dumps(whole | members).encode()


def completion(**members: object) -> bytes:
    """Return a completion of a chat, as JSON."""
    whole = {"object": "chat.completion", "model": GPT, "choices": []}
    return json.dumps(whole | members).encode()


USED = {"input_tokens": 90, "output_tokens": 10}
WAYS = [
    # Answers that do not say what was used
    Way("an answer without usage", message()),
    Way("usage that is null", message(usage=None)),
    Way("usage that is no object", message(usage=[90, 10])),
    Way("counts that are text", message(usage={"input_tokens": "90", "output_tokens": "10"})),
    Way("counts below zero", message(usage={"input_tokens": -90, "output_tokens": -10})),
    Way("counts beyond reason", message(usage={"input_tokens": 10**12, "output_tokens": 1})),
    Way("an answer that is no JSON", b"<html>Hello</html>", "text/html"),
    Way("half of an answer", message(usage=USED)[:-30]),
    Way("an answer that is empty"),
    Way("a coding that is none", message(usage=USED), coding="gzip"),
    Way("a coding that nobody knows", message(usage=USED), coding="x-house"),
    Way("half of a coding", gzip.compress(message(usage=USED), mtime=0)[:40], coding="gzip"),
    # Streams
    Way("a stream without usage", UNSTATED_START + text_delta("Hello"), STREAM),
    Way("a chat that did not ask for it", b"".join((*CHAT_EVENTS, CHAT_DONE)), STREAM, CHAT),
    Way("a stream that breaks off", UNSTATED_START + BLOCK_START, STREAM, breaks_off=True),
    Way("a stream that fails", UNSTATED_START + error_event("overloaded_error"), STREAM),
    Way("a stream with the label of another", UNSTATED_START + text_delta("Hi"), "text/plain"),
    # Paths
    Way("a path with a slash behind it", message(usage=USED), path=f"{MESSAGES}/"),
    Way("a path with a query", message(usage=USED), path=f"{MESSAGES}?beta=true"),
    Way("a path that nobody knows", b"{}", path="/relay/anthropic/v1/complete"),
    Way("an older path", completion(), path=f"{OPENAI}/completions"),
    Way("embeddings", completion(), path=f"{OPENAI}/embeddings"),
    Way("a picture", b'{"data":[{"b64_json":"AA=="}]}', path=f"{OPENAI}/images/generations"),
    Way("speech", bytes(200), "audio/mpeg", path=f"{OPENAI}/audio/speech"),
    Way("a response in the background", b'{"id":"r","output":[]}', path=RESPONSES),
    Way("a response made shorter", b'{"id":"r","output":[]}', path=f"{RESPONSES}/compact"),
    # Prices
    Way("a model that nobody knows", message(model="house", usage=USED)),
    Way("a model without a name", message(model=None, usage=USED)),
    Way("a name that is none", message(model="\n" * 9, usage=USED)),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_it_is_no_way_past_a_limit(upstream: Upstream, tmp_path: Path, way: Way) -> None:
    """Of dollars or of tokens; the ledger has what was counted."""
    limits = [{"tokens": 50, "per": "day"}, {"usd": 0.0001, "per": "day"}]
    changes = both_relays(upstream.port)
    changes["relays"]["openai"]["allow"] = ["/v1"]
    config = limited(upstream.port, *limits, ledger={"path": "ledger.db"}, **changes)
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        await agent.send(request(way.path, body=QUESTION))
        caller, _ = await upstream.called()
        await caller.send(way.answer)
        if way.breaks_off:
            caller.leave()
        assert (await agent.answer()).status == 200
        refused(await relay.ask(request(way.path, body=QUESTION)))
    first, *_ = rows_in(tmp_path / "ledger.db")
    assert (first["cost"] or 0) + first["estimate"] >= 100
    stated = sum(first[kind] or 0 for kind in ("input", "output"))
    assert stated + first["estimate_tokens"] >= 50


@pytest.mark.parametrize(
    ("service", "times"),
    [
        ({}, 1),
        ({"speed": "fast"}, 2),
        ({"service_tier": "priority"}, 2),
        ({"speed": "fast", "inference_geo": "us"}, 2.2),
        ({"speed": "faster"}, 2),
        ({"service_tier": "Priority!"}, 2),
        ({"service_tier": "batch"}, 0.5),
    ],
)
async def test_a_service_counts_as_what_it_costs(
    upstream: Upstream, tmp_path: Path, service: dict[str, str], times: float
) -> None:
    """One that nobody knows as the dearest."""
    body = json.loads(message_body())
    body["usage"] = {"input_tokens": 100, "output_tokens": 0} | service
    text = json.dumps(body).encode()
    upstream.answer_with(document(text))
    dollars = 100 * 5 * times / 1e6
    config = limited(upstream.port, {"usd": dollars, "per": "day"})
    async with running_relay(tmp_path, config) as relay:
        assert (await relay.ask(request())).status == 200
        refused(await relay.ask(request()))
        update_configuration(relay, limited(upstream.port, {"usd": dollars + 1e-6, "per": "day"}))
        relay.app.reload()
        await relay.log.says("^reloaded ")
        assert (await relay.ask(request())).status == 200
