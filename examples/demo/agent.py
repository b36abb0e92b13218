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
from urllib.parse import urlsplit

ATTEMPTS = 30


def call(base_url: str, token: str) -> http.client.HTTPResponse:
    """Send one streaming Messages request; return the response."""
    address = urlsplit(base_url)
    if address.hostname is None:
        raise SystemExit("ANTHROPIC_BASE_URL names no host")
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    question = {"role": "user", "content": "Who are you, and how did this call reach you?"}
    body = {"model": "claude-sonnet-4-5", "max_tokens": 256, "stream": True, "messages": [question]}
    connection.request(
        "POST",
        f"{address.path}/v1/messages",
        body=json.dumps(body),
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
    )
    return connection.getresponse()


def texts(response: http.client.HTTPResponse) -> Iterator[str]:
    """Yield the pieces of text in an event stream as they arrive."""
    for line in response:
        if line.startswith(b"data:"):
            event = json.loads(line.removeprefix(b"data:"))
            if event["type"] == "content_block_delta":
                yield event["delta"].get("text", "")


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
    sys.stdout.write("an answer streams through the relay; no key is in this container\n")
    answer = ""
    for text in texts(response):
        # Docker shows whole lines only, so each piece gets one, with its time of arrival.
        sys.stdout.write(f"{time.monotonic() - started:6.2f} s  {text}\n")
        sys.stdout.flush()
        answer += text
    sys.stdout.write(f"the whole answer: {answer}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
