"""Calls that a hop gets in its tests: as from a relay, with a pass and the id of the call."""

from tests.harness.raw_client import Response, ask
from tests.headroom import Headroom

PASS = "sk-ant-api03-a-pass"
CALL = {"anthropic-version": "2023-06-01", "x-api-key": PASS, "x-relay-call": "id-of-the-call"}
STREAM = b'{"model":"claude-test","stream": true}'
MESSAGE = b'{"model":"claude-test","messages":[]}'


async def send(
    hop: Headroom, body: bytes = MESSAGE, mode: str = "", arguments: str = ""
) -> Response:
    """Send a message to a hop."""
    steering = {"x-standin-mode": mode, "x-standin-args": arguments}
    headers = CALL | {name: value for name, value in steering.items() if value}
    return await ask(hop, "/v1/messages?beta=true", headers, body)
