"""A pretend agent: streams one call through the relay and prints the answer as it arrives.

It holds no credential: only the relay's address, and a token that is worthless elsewhere.
Standard library only, so that it runs in any Python image.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ATTEMPTS = 30
# Agents send what they have read, such as tables; of their spaces a proxy can save some.
QUESTION = """Who are you, and how did this call reach you? This is what I know:

    STEP    WHO          WHAT IT HOLDS
    1       I            a token, worthless elsewhere
    2       relay        the key
    3       Headroom     a pass, worthless when the call is over
    4       relay        the key, which it puts in only now
    5       you          the key, to compare
"""


def call(base_url: str, token: str) -> http.client.HTTPResponse:
    """Send one streaming Messages request; return the response."""
    address = urlsplit(base_url)
    if address.hostname is None:
        raise SystemExit("ANTHROPIC_BASE_URL names no host")
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    question = {"role": "user", "content": QUESTION}
    body = {"model": "claude-sonnet-4-5", "max_tokens": 256, "stream": True, "messages": [question]}
    connection.request(
        "POST",
        f"{address.path}/v1/messages",
        body=json.dumps(body),
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
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
    answer, tokens = "", {}
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


def first_answer(base_url: str, token: str) -> http.client.HTTPResponse:
    """Call until the relay and what is behind it are both up."""
    for _ in range(ATTEMPTS):
        response = call(base_url, token)
        if response.status not in (502, 503):
            return response
        time.sleep(1)
    return response


def main() -> int:
    """Make the call; return 0 if an answer came."""
    base_url = os.environ["ANTHROPIC_BASE_URL"]
    token = Path(os.environ["ANTHROPIC_AUTH_TOKEN_FILE"]).read_text(encoding="ascii").strip()
    started = time.monotonic()
    response = first_answer(base_url, token)
    if response.status != 200:
        sys.stderr.write(f"{response.status}: {response.read().decode()}\n")
        return 1
    say("an answer streams through the relay; no key is in this container")
    tokens = read_aloud(response, started)
    say(f"the API counted {taken_in(tokens)} tokens in, {tokens['output_tokens']} out")
    if saved := response.headers["x-headroom-tokens-saved"]:
        before = response.headers["x-headroom-tokens-before"]
        say(f"Headroom took {saved} of {before} tokens off the prompt, and never held the key")
    return 0


if __name__ == "__main__":
    sys.exit(main())
