"""The relay with a raw upstream behind it, and what is true after every case.

Whatever was sent: no secret is in an answer, the log or the metrics, the relay has no fault
to report, and the next good call works.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.harness import FUSE_SECONDS
from tests.harness.configuration import Config
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import (
    BODY_SECRET,
    CREDENTIALS,
    CUSTOM_KEY,
    KEY,
    OAUTH,
    OPENAI_KEY,
    QUERY_SECRET,
    SECRETS,
    TOKEN,
)
from tests.harness.silence import refusing
from tests.wire.agent import RawAgent, connect
from tests.wire.strict import Response
from tests.wire.upstream import RawUpstream

GOOD: Final = (
    b"POST /relay/anthropic/v1/messages?q=%b HTTP/1.1\r\nHost: relay.test\r\nx-api-key: %b\r\n"
    b"Content-Length: %d\r\n\r\n%b"
) % (QUERY_SECRET.encode(), TOKEN.encode(), len(BODY_SECRET), BODY_SECRET.encode())
STALL_SECONDS: Final = 1.0
"""The relay's configured time limits; the head's ten seconds are fixed."""


def configuration(port: int, unused_port: int) -> Config:
    """Return a configuration with a relay of every kind."""
    url = f"http://127.0.0.1:{port}"
    source = {"anthropic": "key", "claude": "oauth", "openai": "openai_key"}
    custom: Config = {
        "name": "corp",
        "source": {"file": "custom_key"},
        "header": "X-Corp-Key",
        "format": "Key {}",
        "remove": ["x-corp-user"],
        "add": {"x-corp-team": "agents"},
    }
    keyless = {"name": "keyless", "source": {"file": "not-there"}, "header": "X-Key"}
    known: list[Config] = [{"name": name, "source": {"file": f}} for name, f in source.items()]
    return {
        "grants": [*known, custom, keyless],
        "relays": {
            "anthropic": {"url": url, "grant": "anthropic"},
            "claude": {"url": url, "grant": "claude"},
            "openai": {"url": url, "grant": "openai"},
            "corp": {"url": url, "grant": "corp", "allow": ["/v1/messages"]},
            "prefixed": {"url": f"{url}/up/stream", "grant": "anthropic"},
            "limited": {"url": url, "grant": "anthropic", "max_body": 10},
            "keyless": {"url": url, "grant": "keyless"},
            "away": {"url": f"http://127.0.0.1:{unused_port}", "grant": "anthropic"},
        },
        "listen": ["127.0.0.1:0"],
        "admin": "127.0.0.1:0",
        "clients": [
            {"name": "agent", "token": {"file": "token"}},
            {"name": "other", "token": {"file": "other_token"}},
        ],
        "timeouts": {
            "connect": STALL_SECONDS,
            "headers": STALL_SECONDS,
            "idle": STALL_SECONDS,
            "request_body": STALL_SECONDS,
        },
    }


CREDENTIAL_LINES: Final = {
    b"anthropic": (b"x-api-key", KEY.encode()),
    b"prefixed": (b"x-api-key", KEY.encode()),
    b"limited": (b"x-api-key", KEY.encode()),
    b"claude": (b"authorization", b"Bearer " + OAUTH.encode()),
    b"openai": (b"authorization", b"Bearer " + OPENAI_KEY.encode()),
    b"corp": (b"x-corp-key", b"Key " + CUSTOM_KEY.encode()),
}


class Ends:
    """The relay, what is behind it, and agents in front of it."""

    def __init__(self, relay: LocalRelay, upstream: RawUpstream) -> None:
        self.relay = relay
        self.upstream = upstream
        self.good = GOOD
        """What works after every case."""
        self.rejections: Counter[str] = Counter()
        """By reason, as the metrics will have to show them."""
        self._agents: list[RawAgent] = []

    async def agent(self) -> RawAgent:
        """Connect an agent."""
        agent = await connect(self.relay.port)
        self._agents.append(agent)
        return agent

    def begin(self) -> None:
        """Forget what came of earlier cases, and drop their agents."""
        self.drop_agents()
        self.upstream.forget()
        self.relay.app._recorder.flush()
        self.relay.log.text.clear()

    def drop_agents(self) -> None:
        """Drop the agents that are still there."""
        for agent in self._agents:
            agent.transport.abort()
        self._agents.clear()

    async def logged(self, count: int) -> list[dict[str, Any]]:
        """Return the lines of so many calls, once they are there; no line may show a secret."""
        log = self.relay.log
        async with asyncio.timeout(FUSE_SECONDS):
            while len(calls := [line for line in log.lines if line["event"] == "call"]) < count:
                await log.more()
        for line in log.text:
            assert not any(secret in line for secret in SECRETS), line
            assert "Traceback" not in line, line
            assert "a fault of the relay" not in line, line
        return calls

    async def quiet(self) -> None:
        """Wait until no request to the upstream is on its way: those cut are cut at once."""
        changed = asyncio.Event()
        self.upstream.on_change = changed.set
        async with asyncio.timeout(FUSE_SECONDS):
            while self.upstream.pending:
                changed.clear()
                await changed.wait()

    async def call_well(self, agent: RawAgent | None = None) -> None:
        """See that a good call works, on a kept connection or a new one."""
        own = agent or await self.agent()
        start = len(own.received)
        before = len(self.upstream.requests)
        await own.send(self.good)
        await own.until(lambda: own.received.endswith(b"ok", start))
        answer = bytes(own.received[start:])
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
        assert self.upstream.requests[before].body == BODY_SECRET.encode()
        assert len(self.upstream.requests) == before + 1
        if agent is None:
            own.transport.close()

    async def check_metrics(self) -> None:
        """Scrape, and see that no secret is there and every refusal is counted by its reason."""
        text = (await self.relay.page("/metrics")).body.decode()
        assert "relay_requests_total" in text
        assert not any(secret in text for secret in SECRETS)
        counted = await self.relay.samples("relay_rejections_total", "reason")
        assert {reason: count for (reason,), count in counted.items()} == dict(self.rejections)


def check_answer(answer: Response) -> None:
    """See that an answer gives nothing away: no credential, no token, no name of software."""
    text = repr(answer)
    assert not any(secret in text for secret in SECRETS), text
    if answer.outcome:
        assert not any(word in text.lower() for word in ("python", "aiohttp", "uvloop", "127.0.0."))
        assert not answer.values(b"server")
        assert not any(name.lower().startswith(b"access-control-") for name, _ in answer.fields)
        if answer.body:
            assert set(json.loads(answer.body)) <= {"type", "error"}


def count_credentials(fields: list[tuple[bytes, bytes]]) -> int:
    """Return how many fields hold a configured credential."""
    return sum(any(secret.encode() in value for secret in CREDENTIALS) for _, value in fields)


@asynccontextmanager
async def running_ends(folder: Path, changes: Config | None = None) -> AsyncIterator[Ends]:
    """Run both for the length of the context; at its end look at the metrics."""
    upstream = RawUpstream()
    async with AsyncExitStack() as stack:
        await upstream.start()
        stack.push_async_callback(upstream.stop)
        config = configuration(upstream.port, stack.enter_context(refusing())) | (changes or {})
        ends = Ends(await stack.enter_async_context(running_relay(folder, config)), upstream)
        stack.callback(ends.drop_agents)
        yield ends
        await ends.check_metrics()
