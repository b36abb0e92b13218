"""The page docs/troubleshooting.md: each answer in it is provoked, and stands there word for word.

Relays in processes of their own; what they say is compared with the page as an agent and a
reader of the log see it. No failure that the relay knows may lack an entry.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from errno import ECONNREFUSED
from pathlib import Path
from typing import Final

import anthropic
import pytest
import pytest_asyncio

from relay import errors
from relay.errors import RelayError
from relay.telemetry.access_log import DROPPED
from tests.harness import ROOT
from tests.harness.configuration import Config, configuration, write_configuration
from tests.harness.messages import CHUNKED, MESSAGES, OK, PIECE, chunk, request
from tests.harness.peer import Answer
from tests.harness.relay import RelayProcess, begin_stream, relay_process, update_configuration
from tests.harness.secrets import KEY, TOKEN
from tests.harness.upstream import Upstream, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE: Final = (ROOT / "docs" / "troubleshooting.md").read_text()
BREAKING: Final = "from relay.proxy import routing\nrouting.find_relay = None\n"
"""Makes every call a fault of the relay, in place of what finds the route."""


def entry(text: str) -> str:
    """Return the entry of the page that shows this text on lines of its own."""
    found = [part for part in PAGE.split("\n### ")[1:] if f"```\n{text}\n```" in part]
    assert len(found) == 1, f"{len(found)} entries for: {text}"
    assert "\n**Do:** " in found[0]
    return found[0]


def lines_of(answer: Answer) -> str:
    """Return an answer of the relay's own as the page shows it."""
    first = f"{answer.status} {answer.error['type']}, x-relay-error: {answer.outcome}"
    return f"{first}\n{answer.error['message']}"


@dataclass(frozen=True)
class Case:
    """What provokes a failure: a request, and what the upstream answers to it."""

    fault: type[RelayError]
    sent: bytes = request()
    answered: bytes = OK
    relay: str = "patient"

    @property
    def name(self) -> str:
        """The failure's name, for the test's."""
        return f"{self.fault.__name__} {self.relay}"


def to(name: str, path: str = "/v1/messages") -> bytes:
    """Return a request for that relay."""
    return request(f"/relay/{name}{path}")


CASES: Final = [
    Case(errors.MalformedRequest, request(MESSAGES, "Content-Length: +2")),
    Case(errors.BadTarget, request("/relay/anthropic/../v1/messages")),
    Case(errors.MethodRefused, request("relay.test:443", method="CONNECT", body=None)),
    Case(errors.BadHost, request(MESSAGES, "Host: other.test")),
    Case(errors.VersionNotSupported, request(version="2.0")),
    Case(errors.TargetTooLong, request("/" + "a" * 17_000)),
    Case(errors.HeadersTooLarge, request(MESSAGES, *(["X-Many: 1"] * 130))),
    Case(errors.RequestStalled, request(body=b"{}")[:-1], relay="hurried"),
    Case(errors.BodyTooLarge, to("small")),
    Case(errors.ForeignHost, relay="open"),
    Case(errors.OriginRefused, request(MESSAGES, "Origin: https://evil.test")),
    Case(errors.UnknownRelay, to("nobody")),
    Case(errors.UpgradeRefused, request(MESSAGES, "Upgrade: websocket", "Connection: upgrade")),
    Case(errors.TokenRefused, request(token="worn-out")),
    Case(errors.PathRefused, to("anthropic", "/stats")),
    Case(errors.CredentialMissing, to("keyless")),
    Case(errors.UpstreamUnreachable, to("away")),
    Case(errors.UpstreamTimeout, answered=b"", relay="hurried"),
    Case(errors.UpstreamConnectTimeout, to("full"), relay="hurried"),
    Case(errors.UpstreamMalformed, answered=b"what?\r\n\r\n"),
    Case(errors.UpstreamRedirected, answered=OK.replace(b"200 OK", b"307 Moved")),
    Case(errors.UpstreamUpgraded, answered=OK.replace(b"200 OK", b"101 Switching")),
    Case(errors.RelayFault, relay="broken"),
]
ELSEWHERE: Final = {errors.Draining, errors.UpstreamTruncated, errors.UpstreamStalled}
"""Those with a test of their own."""
OF_CHAINS: Final = {errors.HopBypassed, errors.PassRefused, errors.LegRefused}
"""Those of LLM proxies on the way, in ``test_troubleshooting_chains``."""

OF_EGRESS: Final = {errors.EgressFailed, errors.EgressRefused}
"""Those of proxies on the way out, in ``test_troubleshooting_egress``."""
OF_LIMITS: Final = {
    *(errors.LimitReached, errors.OpenAiLimitReached, errors.TooManyAtOnce, errors.BatchRefused)
}
"""Those of limits, in ``test_troubleshooting_limits``."""

Processes = dict[str, RelayProcess]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    """What the relays forward to."""
    async with running_upstream() as running:
        yield running


def several(upstream: Upstream, closed_port: int, full_port: int) -> Config:
    """Return a configuration with relays that fail in ways of their own."""
    there = f"http://127.0.0.1:{upstream.port}"
    known = {"name": "anthropic", "source": {"file": "key"}}
    unset = {"name": "keyless", "source": {"file": "nothing"}, "header": "x-key"}
    relays = {
        "small": {"url": there, "grant": "anthropic", "max_body": 1},
        "keyless": {"url": there, "grant": "keyless"},
        "away": {"url": f"http://127.0.0.1:{closed_port}", "grant": "anthropic"},
        "full": {"url": f"http://127.0.0.1:{full_port}", "grant": "anthropic"},
    }
    return configuration(upstream.port, grants=[known, unset], relays=relays)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def processes(
    upstream: Upstream,
    closed_port: int,
    full_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Processes]:
    """Relays that are patient, hurried, open to whoever is on this host, and broken."""
    config = several(upstream, closed_port, full_port)
    limits = {"connect": 1, "headers": 1, "idle": 0.3, "request_body": 0.3}
    configs = {
        "patient": config,
        "hurried": config | {"timeouts": limits},
        "open": config | {"clients": []},
        "broken": config,
    }
    folders = {name: tmp_path_factory.mktemp(name) for name in configs}
    (folders["open"] / "relay_token").unlink(missing_ok=True)
    (folders["broken"] / "sitecustomize.py").write_text(BREAKING)
    paths = {"PYTHONPATH": f"{folders['broken']}{os.pathsep}{ROOT}"}
    async with AsyncExitStack() as stack:
        running = {
            name: await stack.enter_async_context(
                relay_process(folders[name], each, paths if name == "broken" else None)
            )
            for name, each in configs.items()
        }
        yield running
        # A traceback is what the log is to have of a fault; none may be in any other.
        running["broken"].log.text.clear()


async def test_every_failure_is_provoked() -> None:
    """What ``errors`` knows, save for the classes that only others are made of."""
    known = {
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, RelayError)
    }
    kinds = {errors.RelayError, errors.ClientError, errors.UpstreamError}
    elsewhere = ELSEWHERE | OF_CHAINS | OF_LIMITS | OF_EGRESS
    assert known - kinds == {case.fault for case in CASES} | elsewhere


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_answer_of_the_relays(
    processes: Processes, upstream: Upstream, case: Case
) -> None:
    """Its status, type, outcome and message are those of an entry."""
    upstream.forget()
    upstream.answer_with(case.answered)
    answer = await processes[case.relay].ask(case.sent)
    assert answer.error["message"] == case.fault.message
    assert entry(lines_of(answer))


async def test_stopping(upstream: Upstream, tmp_path: Path) -> None:
    """A request that comes behind one in flight, when the relay has been told to stop."""
    upstream.forget()
    async with relay_process(tmp_path, configuration(upstream.port)) as process:
        agent = await process.agent()
        await agent.send(request() * 2)
        caller, _ = await upstream.called()
        await caller.send(CHUNKED + chunk(PIECE))
        answer = await agent.head()
        process.signal(signal.SIGTERM)
        await process.log.says("^stopping")
        await caller.send(chunk(b""))
        await agent.finish(answer)
        refused = await agent.answer()
        agent.leave()
        assert refused.error["message"] == errors.Draining.message
        assert entry(lines_of(refused))
        assert await process.exit_status() == 0


async def test_connection_refused(closed_port: int) -> None:
    """What the system says where nobody listens."""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", closed_port)
    assert entry(os.strerror(ECONNREFUSED))


async def test_an_answer_that_breaks_off(processes: Processes, upstream: Upstream) -> None:
    """The SDK says it in these words, and the log ``truncated``."""
    relay = processes["patient"]
    upstream.forget()
    url = f"http://127.0.0.1:{relay.port}/relay/anthropic"

    def ask() -> None:
        with anthropic.Anthropic(base_url=url, api_key=TOKEN, max_retries=0) as client:
            client.get("/v1/models", cast_to=object)

    await relay.forget_calls()
    asking = asyncio.create_task(asyncio.to_thread(ask))
    caller, _ = await upstream.called()
    await caller.send(CHUNKED + chunk(PIECE))
    caller.leave()
    with pytest.raises(anthropic.APIConnectionError) as failed:
        await asking
    (call,) = await relay.log.calls()
    assert f"`{call['outcome']}`" in entry(str(failed.value.__cause__))


async def test_an_answer_that_falls_silent(processes: Processes, upstream: Upstream) -> None:
    """It is cut, and the log says ``timeout``."""
    relay = processes["hurried"]
    await relay.forget_calls()
    upstream.forget()
    upstream.answer_with(CHUNKED + chunk(PIECE))
    answer = await relay.ask(request())
    assert (answer.body, answer.complete) == (PIECE, False)
    (call,) = await relay.log.calls()
    section = PAGE.split("\n### An answer falls silent\n")[1].split("\n### ")[0]
    assert f"`{call['outcome']}`" in section


async def test_an_answer_that_is_none(processes: Processes, upstream: Upstream) -> None:
    """It passes as it is; the log says what it was."""
    relay = processes["patient"]
    await relay.forget_calls()
    upstream.forget()
    upstream.answer_with(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    answer = await relay.ask(request())
    assert (answer.status, answer.body, answer.outcome) == (200, b"", "")
    (call,) = await relay.log.calls()
    assert entry(f"POST {call['path']} {call['status']} {call['outcome']}")


LINES: Final = [
    "credential keyless: no value yet: ",
    "upstream of relay away: nothing answers at ",
    "cannot be reached: TLS failed: wrong version number; ",
    "cannot be reached: the name has no address: ",
    "cannot be reached: no connection in time; ",
    "does not exist on this host yet; it is served once it does",
    "has no address yet; waiting for it",
]
NOT_RELOADED: Final = "not reloaded, the configuration stays as it was"
NEEDS_RESTART: Final = "listen and admin changed: that needs a restart"
CUT: Final = "cutting the calls that are still in flight"


CREDENTIAL_LINES: Final = [
    "value of credential anthropic: ",
    "value of client agent's token: ",
    "its upstream answers 502: '",
    "'; see to its way to the API, and to its log",
    "the API refuses the credential anthropic (401) since ",
    "the API takes the credential anthropic again",
    "has another value now",
]


def failing(status: int) -> bytes:
    """Return an answer that is an error with words of its own."""
    body = b'{"error":{"type":"api_error","message":"no way"}}'
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


async def test_lines_about_credentials(upstream: Upstream, tmp_path: Path) -> None:
    """A quoted key, no way to the API, the key refused, taken, refused and replaced."""
    config = configuration(upstream.port)
    write_configuration(tmp_path, config)
    (tmp_path / "key").write_text(f"'{KEY}'")
    (tmp_path / "token").write_text("changeme")
    steps = [(failing(502), 3), (failing(401), 4), (OK, 5), (failing(401), 4)]
    upstream.forget()
    async with relay_process(tmp_path, config) as relay:
        for number, (answer, line) in enumerate(steps):
            upstream.forget()
            upstream.answer_with(answer)
            await relay.ask(request(token="changeme"))
            await relay.log.says(re.escape(CREDENTIAL_LINES[line]), 1 + (number == 3))
        (tmp_path / "key").write_text(KEY)
        for text in CREDENTIAL_LINES:
            await relay.log.says(re.escape(text))
    for text in CREDENTIAL_LINES:
        assert text.strip(" '") in PAGE.split("\n## Lines of the log\n")[1]


async def test_lines_of_the_log(
    upstream: Upstream, closed_port: int, full_port: int, tmp_path: Path
) -> None:
    """A relay that everything is wrong with says all of them."""
    config = several(upstream, closed_port, full_port)
    more = {
        "plain": {"url": f"https://127.0.0.1:{upstream.port}", "grant": "anthropic"},
        "lost": {"url": "http://nowhere.invalid", "grant": "anthropic"},
    }
    config["relays"] |= more
    config |= {"listen": ["127.0.0.1:0", "192.0.2.7:0", "nosuchbridge:0"]}
    config |= {"timeouts": {"connect": 1}}
    upstream.forget()
    async with relay_process(tmp_path, config) as relay:
        plain = asyncio.create_task(relay.ask(to("plain")))
        caller = await upstream.accepted()
        await caller.send(OK)  # to the first words of a handshake
        await asyncio.gather(plain, *(relay.ask(to(name)) for name in ("away", "lost", "full")))
        for line in LINES:
            await relay.log.says(line)
        relay.path.write_text("grants: 7")
        relay.signal(signal.SIGHUP)
        await relay.log.says(NOT_RELOADED)
        update_configuration(relay, config | {"listen": ["127.0.0.1:0"]})
        relay.signal(signal.SIGHUP)
        await relay.log.says(NEEDS_RESTART)
        upstream.forget()
        agent, _ = await begin_stream(relay, upstream)
        relay.signal(signal.SIGTERM)
        await relay.log.says("^stopping")
        relay.signal(signal.SIGTERM)
        await relay.log.says(CUT)
        assert await agent.gone()
    shown = [line.replace("keyless", "anthropic").replace("away", "anthropic") for line in LINES]
    for line in (*shown, NOT_RELOADED, NEEDS_RESTART, CUT, DROPPED.replace("%d", "…")):
        assert line.strip(" ;:") in PAGE.split("\n## Lines of the log\n")[1]
