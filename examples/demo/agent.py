"""Pretend agents: a minute of calls through the relay, as real agents make them.

The first prints its answer word by word as it arrives. Then several call at once: one goes on with
a long conversation, whose beginning the API has in its cache; one writes; one asks for a model that
no longer exists, and is refused. The first nears what its session may spend.

They hold no credential: only the relay's address, and a token that is worthless elsewhere.
Standard library only, so that it runs in any Python image.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, urlsplit

MODEL = "claude-sonnet-4-5"
RETIRED_MODEL = "claude-2.1"
ATTEMPTS = 30
ROUNDS = 4
# Agents send what they have read, such as tables; of their spaces a proxy can save some.
QUESTION = """Who are you, and how did this call reach you? This is what I know:

    STEP    WHO          WHAT IT HOLDS
    1       I            a token, worthless elsewhere
    2       relay        the key
    3       Headroom     a pass, worthless when the call is over
    4       relay        the key, which it puts in only now
    5       you          the key, to compare
"""
# What agents send anew with each call of a session: instructions, tools, files that they have read.
INSTRUCTIONS = "You are a careful reviewer. Say what the change does, then what could break. " * 80
# Those that there were: every series is there from the start.
QUERY = "sum by (outcome, code) (relay_requests_total) > 0"


@dataclass(frozen=True)
class Relay:
    """Where calls go, and by which token."""

    base_url: str
    token: str = field(repr=False)

    def call(self, session: str, body: dict[str, Any]) -> http.client.HTTPResponse:
        """Send one streaming Messages request; return the response."""
        address = urlsplit(self.base_url)
        if address.hostname is None:
            raise SystemExit("ANTHROPIC_BASE_URL names no host")
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        connection.request(
            "POST",
            f"{address.path}/v1/messages",
            body=json.dumps({"max_tokens": 256, "stream": True} | body),
            headers={
                "authorization": f"Bearer {self.token}",
                "content-type": "application/json",
                "x-claude-code-session-id": session,
            },
        )
        return connection.getresponse()


def events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream as they arrive."""
    for line in response:
        if line.startswith(b"data:"):
            yield json.loads(line.removeprefix(b"data:"))


def say(text: str) -> None:
    """Print a line, now."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def read_aloud(response: http.client.HTTPResponse, started: float) -> dict[str, int]:
    """Print the text as it arrives, then the whole; return the tokens that the API counted."""
    answer = ""
    tokens: dict[str, int] = {}
    for event in events(response):
        if event["type"] == "content_block_delta":
            text = event["delta"].get("text", "")
            # Docker shows whole lines only, so each piece gets one, with its time of arrival.
            say(f"{time.monotonic() - started:6.2f} s  {text}")
            answer += text
        tokens |= event.get("message", event).get("usage", {})
    say(f"the whole answer: {answer}")
    return tokens


def taken_in(tokens: dict[str, int]) -> int:
    """Return all tokens of the prompt, of which an API counts the cache's apart."""
    return sum(count for name, count in tokens.items() if name.endswith("input_tokens"))


def asked(text: str) -> list[dict[str, Any]]:
    """Return a question as a conversation that begins."""
    return [{"role": "user", "content": text}]


def first_answer(relay: Relay) -> http.client.HTTPResponse:
    """Call until the relay and what is behind it are both up."""
    for _ in range(ATTEMPTS):
        response = relay.call(str(uuid.uuid4()), {"model": MODEL, "messages": asked(QUESTION)})
        if response.status not in (502, 503):
            return response
        time.sleep(1)
    return response


@dataclass
class Agent:
    """An agent at work in a session of its own; says a line for each of its calls."""

    name: str
    relay: Relay
    pause_seconds: float
    model: str = MODEL
    instructions: str = ""
    session: str = field(default_factory=lambda: str(uuid.uuid4()))
    conversation: list[dict[str, Any]] = field(default_factory=list)

    def work(self) -> None:
        """Make all calls, one after the other."""
        for number in range(1, ROUNDS + 1):
            self.conversation += asked(f"Step {number}: go on.")
            say(f"{self.name:<9} {self._call()}")
            time.sleep(self.pause_seconds)

    def _call(self) -> str:
        body: dict[str, Any] = {"model": self.model, "messages": self.conversation}
        if self.instructions:
            block = {"type": "text", "text": self.instructions}
            body["system"] = [block | {"cache_control": {"type": "ephemeral"}}]
        started = time.monotonic()
        response = self.relay.call(self.session, body)
        if response.status != 200:
            error = json.loads(response.read())["error"]
            model, self.model = self.model, MODEL
            return f"{response.status} {error['type']}: {error['message']}; tries another ({model})"
        return self._read(response, started)

    def _read(self, response: http.client.HTTPResponse, started: float) -> str:
        answer, first = "", 0.0
        tokens: dict[str, int] = {}
        for event in events(response):
            if event["type"] == "content_block_delta":
                first = first or time.monotonic() - started
                answer += event["delta"].get("text", "")
            tokens |= event.get("message", event).get("usage", {})
        self.conversation.append({"role": "assistant", "content": answer})
        cached = tokens.get("cache_read_input_tokens", 0)
        of_cache = f", {cached} of them from the cache" if cached else ""
        return (
            f"{tokens['output_tokens']} tokens out, the first after {first:.2f} s, the last after "
            f"{time.monotonic() - started:.2f} s; {taken_in(tokens)} in{of_cache}"
        )


def work_together(relay: Relay, seconds: float) -> None:
    """Have several agents call at once, for about that long."""
    pause = seconds / ROUNDS
    agents = [
        Agent("reviewer:", relay, pause, instructions=INSTRUCTIONS),
        Agent("writer:", relay, pause * 0.8),
        Agent("old hand:", relay, pause * 1.1, model=RETIRED_MODEL),
    ]
    threads = [Thread(target=agent.work) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def say_where_to_look() -> None:
    """Print what there is to open now."""
    graph = f"{os.environ['PROMETHEUS']}/graph?g0.expr={quote(QUERY)}&g0.tab=0&g0.range_input=5m"
    say("")
    say("Now look, before Ctrl-C ends it all:")
    say(f"  the page            {os.environ['PAGE']}")
    say(f"  a graph of calls    {graph}")
    say("  in another terminal docker compose exec relay relay top")


def main() -> int:
    """Make the calls; return 0 if answers came."""
    token = Path(os.environ["ANTHROPIC_AUTH_TOKEN_FILE"]).read_text(encoding="ascii").strip()
    relay = Relay(os.environ["ANTHROPIC_BASE_URL"], token)
    started = time.monotonic()
    response = first_answer(relay)
    if response.status != 200:
        sys.stderr.write(f"{response.status}: {response.read().decode()}\n")
        return 1
    say("an answer streams through the relay; no key is in this container")
    say("what demo-headroom prints is the pass that it got; demo-api prints the (made-up) key")
    tokens = read_aloud(response, started)
    say(f"the API counted {taken_in(tokens)} tokens in, {tokens['output_tokens']} out")
    if saved := response.headers["x-headroom-tokens-saved"]:
        before = response.headers["x-headroom-tokens-before"]
        say(f"Headroom took {saved} of {before} tokens off the prompt, and never held the key")
    say(f"now three agents at once, while {os.environ['PAGE']} shows them")
    work_together(relay, float(os.environ["DEMO_SECONDS"]))
    say_where_to_look()
    return 0


if __name__ == "__main__":
    sys.exit(main())
