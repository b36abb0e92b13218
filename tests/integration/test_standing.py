"""What is said of a credential: that an API refuses it, and that its looks are wrong."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Final

import pytest

from relay.proxy.readiness import states_of
from tests.harness.configuration import both_relays, configuration, write_configuration
from tests.harness.log import Log
from tests.harness.messages import CHAT, OK, request
from tests.harness.relay import LocalRelay, relay_process, running_relay, update_configuration
from tests.harness.secrets import KEY, OAUTH, OPENAI_KEY
from tests.harness.upstream import Upstream

REFUSES: Final = r"^relay anthropic: the API refuses the credential anthropic \(%s\) since "
TAKES: Final = "^relay anthropic: the API takes the credential anthropic again$"
LOW: Final = "Your credit balance is too low to access the Anthropic API."


def answer(status: int, kind: str = "", message: str = "", *, streams: bool = False) -> bytes:
    """Return an answer's bytes, with an error as the APIs write it."""
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}})
    body = f"event: error\ndata: {body}\n\n" if streams else body
    content_type = "text/event-stream" if streams else "application/json"
    head = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", f"content-length: {len(body)}"]
    return ("\r\n".join([*head, "", ""]) + body).encode()


def warnings(log: Log) -> list[str]:
    """Return what was warned of so far."""
    return [str(each["message"]) for each in log.lines if each["level"] == "warning"]


async def refused(relay: LocalRelay) -> dict[str, bool]:
    """Return what the page of calls says of each relay's credential."""
    page = json.loads((await relay.page("/calls")).body)
    return {name: state["refused"] for name, state in page["relays"].items()}


@pytest.mark.parametrize(
    ("played", "cause"),
    [
        (answer(401, "authentication_error", "invalid x-api-key"), "401"),
        (answer(403, "permission_error"), "403"),
        (answer(402, "billing_error"), "billing"),
        (answer(400, "invalid_request_error", LOW), "billing"),
        (answer(200, "authentication_error", streams=True), "authentication_error"),
    ],
)
async def test_a_refused_credential_is_said_until_it_is_taken(
    relay: LocalRelay, upstream: Upstream, played: bytes, cause: str
) -> None:
    """Once in the log; while it lasts on the pages, none of which calls that not ready."""
    playing = [played]
    upstream.answer_with(lambda _: playing[-1])
    for _ in range(3):
        await relay.ask(request())
    await relay.log.says(REFUSES % re.escape(cause))
    status, report = await relay.readiness()
    assert (status, report["status"]) == (200, "ready")
    shown = report["relays"]["anthropic"]["credential"]
    assert shown["ready"] is True
    assert shown["refused"].startswith("the API refuses the credential anthropic")
    assert await refused(relay) == {"anthropic": True}
    assert [state.refused for state in states_of(relay.app.lifecycle.runtime)] == [True]

    playing.append(OK)
    await relay.ask(request())
    await relay.log.says(TAKES)
    assert len([each for each in warnings(relay.log) if "refuses" in each]) == 1
    _, report = await relay.readiness()
    assert report["relays"]["anthropic"]["credential"] == {"grant": "anthropic", "ready": True}
    assert await refused(relay) == {"anthropic": False}


async def test_a_credential_that_is_replaced_is_not_condemned(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """Its file has another value: a call that was sent with the old one says nothing of it."""
    upstream.answer_with(answer(401))
    await relay.ask(request())
    await relay.log.says(REFUSES % 401)
    upstream.forget()
    agent = await relay.agent()
    await agent.send(request())
    caller, sent = await upstream.called()
    assert sent.values("x-api-key") == [KEY.encode()]
    (relay.folder / "key").write_text(KEY[:-1] + "2")
    await relay.log.says("^relay anthropic: the credential anthropic, which .* has another value")
    await caller.send(answer(401))
    assert (await agent.answer()).status == 401
    assert await refused(relay) == {"anthropic": False}


async def test_each_relay_has_its_own_standing(tmp_path: Path, upstream: Upstream) -> None:
    """One API's refusal says nothing of another's."""
    config = configuration(upstream.port, **both_relays(upstream.port))
    async with running_relay(tmp_path, config) as relay:
        upstream.answer_with(answer(401))
        await relay.ask(request(CHAT))
        await relay.log.says(r"^relay openai: the API refuses the credential openai \(401\) since ")
        assert await refused(relay) == {"anthropic": False, "openai": True}


async def test_what_keeps_headroom_from_the_api_is_in_the_log(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """Once, however often agents try; without the key that it repeats."""
    words = "Failed to connect to upstream API: no route for sk-ant-api03-Zz9Yy8Xx7Ww6Vv5Uu4"
    upstream.answer_with(answer(502, "connection_error", words, streams=True))
    for _ in range(3):
        assert (await relay.ask(request())).status == 502
    await relay.log.says("its upstream answers 502")
    await relay.log.calls(3)
    assert [each for each in warnings(relay.log) if "answers" in each] == [
        (
            "relay anthropic: its upstream answers 502: 'Failed to connect to upstream API: "
            "no route for [redacted]'; see to its way to the API, and to its log; if it is to send "
            "on to this relay, name it in hops"
        )
    ]
    assert await refused(relay) == {"anthropic": False}


async def test_a_value_that_cannot_be_right_is_said_at_the_start(
    tmp_path: Path, upstream: Upstream
) -> None:
    """Of credentials and tokens; it is used, and what comes in its place is looked at again."""
    quoted = f'"{KEY}"'
    write_configuration(tmp_path, "")
    (tmp_path / "key").write_text(quoted)
    (tmp_path / "token").write_text(OPENAI_KEY)
    upstream.answer_with(OK)
    wrong = "has quotes around it, which would be sent too: write it without them"
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        await relay.log.says(f"^value of credential anthropic: {wrong}$")
        await relay.log.says("^value of client agent's token: is an API's credential, and agents")
        status, report = await relay.readiness()
        assert (status, report["status"]) == (200, "ready")
        assert report["relays"]["anthropic"]["credential"]["warning"] == wrong
        assert "is an API's" in report["clients"]["agent"]["token"]["warning"]
        assert (await relay.ask(request(token=OPENAI_KEY))).status == 200
        assert upstream.requests[-1].values("x-api-key") == [quoted.encode()]

        (tmp_path / "key").write_text(OAUTH)
        await relay.log.says("^value of credential anthropic: is a subscription's token: use")
        (tmp_path / "key").write_text(KEY)
        await relay.log.says("^value of credential anthropic: nothing is wrong with it any more$")


async def test_warnings_of_a_reloaded_configuration_are_said(
    tmp_path: Path, upstream: Upstream
) -> None:
    """As they are at the start."""
    config = configuration(upstream.port)
    async with relay_process(tmp_path, config) as relay:
        update_configuration(relay, config | {"timeout": {"idle": 5}})
        relay.signal(signal.SIGHUP)
        await relay.log.says("timeout: a top-level key is not the relay's; did you mean")
