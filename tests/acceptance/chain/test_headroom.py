"""Claude Code by way of Headroom, which never holds the key: sessions, its absence, its secrets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.acceptance.api import Api, says, uses
from tests.acceptance.claude import MODEL, Claude
from tests.acceptance.container import ContainedRelay, docker, write_agent_yaml
from tests.acceptance.headroom.service import Headroom
from tests.acceptance.sessions import LINES, WORKED, watched, worked
from tests.e2e.memory import in_memory
from tests.e2e.test_hardening import SEARCH
from tests.harness.messages import request
from tests.harness.secrets import KEY, OAUTH, TOKEN
from tests.harness.upstream import Upstream

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("headroom")]

MESSAGES: Final = "/relay/anthropic/v1/messages"
VERSION: Final = "anthropic-version: 2023-06-01"
_PROMPT: Final = {"model": MODEL, "max_tokens": 64}
HELLO: Final = json.dumps(_PROMPT | {"messages": [{"role": "user", "content": "Hello?"}]}).encode()


async def test_a_session_of_several_turns_with_tools(
    relay: ContainedRelay, api: Api, claude: Claude
) -> None:
    """Tools do their work, every token is counted once, and what Headroom saves is measured."""
    session = await worked(claude, api, relay.url())
    assert LINES[7] in str(session.of("UserMessage")), "the agent has it whole"
    assert re.search(r"lines compressed .* hash=[0-9a-f]+", api.messages[-1].prompt)
    assert api.calls[-1].values("x-relay-call") == []

    assert await relay.outcomes(4) == {("ok", "200"): 4}
    assert await relay.samples("relay_hop_calls_total", "relay", "hop", "outcome") == {
        ("anthropic", "headroom", "passed"): 4
    }
    assert await relay.samples("relay_hop_legs_total", "operation") == {("messages",): 4}
    sizes = await relay.samples("relay_hop_request_bytes_total", "side")
    assert sizes[("out",)] < sizes[("in",)]
    assert await relay.samples("relay_tokens_total", "model", "type") == WORKED


async def test_words_are_shown_while_the_answer_is_still_being_written(
    relay: ContainedRelay, api: Api, claude: Claude
) -> None:
    """Nobody on the way holds them back."""
    await watched(claude, api, relay.url())


async def test_calls_one_after_another_share_a_connection_to_the_api(
    relay: ContainedRelay, api: Api
) -> None:
    """A call that is over cuts nothing that ended well."""
    api.plan(*(says("Hello.") for _ in range(6)))
    before = api.connection_count
    agent = await relay.agent()
    for stream in (True, False) * 3:
        body = json.dumps(json.loads(HELLO) | {"stream": stream}).encode()
        answer = await agent.ask(request(MESSAGES, VERSION, body=body))
        assert answer.status == 200
    assert api.connection_count - before <= 1


@pytest.mark.parametrize("target", ["/v1/messages/count_tokens", "/v1/models"])
async def test_the_rest_of_the_api_works(relay: ContainedRelay, api: Api, target: str) -> None:
    """Tokens are counted and models listed by way of Headroom as well."""
    asked = {"method": "GET", "body": None} if "models" in target else {"body": HELLO}
    answer = await relay.ask(request(f"/relay/anthropic{target}", VERSION, **asked))
    assert answer.status == 200, answer.body
    assert [call.path for call in api.calls] == [target]
    assert await relay.samples("relay_hop_calls_total", "outcome") == {("passed",): 1}


async def test_a_session_goes_on_without_headroom_and_with_it_again(
    relay: ContainedRelay, api: Api, claude: Claude, headroom: Headroom
) -> None:
    """Stopped between two turns: the next goes straight on; once it is back, it is on the way."""
    note, gate = claude.project / "note.txt", claude.project / "gate"
    os.mkfifo(gate)
    called = asyncio.Event()
    api.plan(
        uses("Bash", {"command": f"cat {gate}"}),
        uses("Write", {"file_path": str(note), "content": "straight on"}),
        says("Written."),
    )
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(stop_between_turns(relay, headroom, called, gate))
            run = claude.run(relay.url(), "Write a note.", heard=lambda _: called.set())
            session = await both.create_task(run)
    finally:
        await headroom.start_again()
    assert session.results == ["Written."], session
    assert session.retries == []
    assert note.read_text() == "straight on"
    assert await hops_of_calls(relay, 3) == ["passed", "skipped", "skipped"]

    await relay.log.says("hop headroom of relay anthropic: .* answers now")
    api.plan(says("Whole again."))
    session = await claude.run(relay.url(), "And now?")
    assert session.results == ["Whole again."]
    assert (await hops_of_calls(relay, 4))[-1] == "passed"


async def stop_between_turns(
    relay: ContainedRelay, headroom: Headroom, called: asyncio.Event, gate: Path
) -> None:
    """Stop Headroom once the first call is over, and then let the tool end that it asked for."""
    await called.wait()
    await relay.log.calls(1)
    await headroom.crash()
    await asyncio.to_thread(gate.write_text, "stopped")


async def hops_of_calls(relay: ContainedRelay, count: int) -> list[str]:
    """Return what became of each call at Headroom, as the log says."""
    return [line["hops"][0]["outcome"] for line in await relay.log.calls(count)]


async def test_neither_key_nor_token_is_anywhere_in_headroom(
    relay: ContainedRelay, api: Api, claude: Claude, headroom: Headroom
) -> None:
    """Not in its variables, arguments, files, log or memory; a pass, which it was given, is."""
    api.plan(uses("Bash", {"command": "echo from afar"}), says("Done."))
    await claude.run(relay.url(), "Say it.")
    known = await docker("inspect", headroom.name) + await headroom.log()
    assert not any(secret in known for secret in (KEY, TOKEN))
    assert in_files(headroom, KEY, TOKEN) == []
    found = in_memory(headroom.name, KEY, TOKEN, "sk-ant-api03-")
    assert found == {"sk-ant-api03-"}, "of its pass: the search finds what is there"


def in_files(headroom: Headroom, *values: str) -> list[str]:
    """Return the files of Headroom's that hold one of the values, its processes' among them."""
    command = ["docker", "exec", "-i", "--user", "0", headroom.name, "python", "-c", SEARCH]
    done = subprocess.run(
        command, input="\n".join(values), capture_output=True, text=True, check=True
    )
    return done.stdout.split()


async def test_its_callers_cannot_send_it_elsewhere(
    relay: ContainedRelay, api: Api, caught: Upstream
) -> None:
    """The header that names another place ends at the relay."""
    api.plan(says("Here."))
    elsewhere = f"x-headroom-base-url: http://127.0.0.1:{caught.port}"
    answer = await relay.ask(request(MESSAGES, VERSION, elsewhere, body=HELLO))
    assert answer.status == 200
    assert caught.requests == []


async def test_led_elsewhere_it_gives_away_a_dead_pass(
    relay: ContainedRelay, api: Api, caught: Upstream
) -> None:
    """Where that header got to it all the same, there is no key in it, and nothing to use later."""
    target = MESSAGES.replace("anthropic", "led")
    answer = await relay.ask(request(target, VERSION, body=HELLO))
    assert answer.status == 418
    (leaked,) = caught.requests
    assert not any(secret in repr(leaked) for secret in (KEY, TOKEN))
    assert leaked.values("x-api-key")[0].startswith(b"sk-ant-api03-")
    assert await relay.samples("relay_hop_calls_total", "relay", "outcome") == {
        ("led", "refused"): 1
    }
    shown = [f"{name}: {leaked.values(name)[0].decode()}" for name in ("x-api-key", "x-relay-call")]
    for name in ("led", "anthropic"):
        replay = request(f"/{name}/headroom/v1/messages", VERSION, *shown, body=HELLO, token=None)
        agent = await relay.agent(port=relay.return_port)
        assert (await agent.ask(replay)).status == 401
    assert api.calls == []


@pytest_asyncio.fixture(loop_scope="session")
async def by_subscription(relay: ContainedRelay) -> AsyncIterator[None]:
    """The relay with a subscription's token in place of the key, for one test."""
    config = json.loads(relay.path.read_text())
    await reload_with(relay, config | {"relays": config["relays"] | granted(config, "claude")}, 1)
    yield
    await reload_with(relay, config, 2)


def granted(config: Mapping[str, dict[str, dict[str, object]]], grant: str) -> dict[str, object]:
    """Return the relay ``anthropic`` with another grant."""
    return {"anthropic": config["relays"]["anthropic"] | {"grant": grant}}


async def reload_with(relay: ContainedRelay, config: dict[str, object], count: int) -> None:
    """Have the relay read another configuration."""
    write_agent_yaml(relay.folder, config)
    await docker("kill", "--signal", "HUP", relay.name)
    await relay.log.says("^reloaded ", count)


@pytest.mark.usefixtures("by_subscription")
async def test_a_subscription_is_used_with_its_token(
    relay: ContainedRelay, api: Api, claude: Claude, headroom: Headroom
) -> None:
    """Headroom, which goes by the pass's look, keeps to OAuth; the token itself it never sees."""
    note = claude.project / "note.txt"
    api.by_oauth = True
    api.plan(uses("Write", {"file_path": str(note), "content": "from afar"}), says("Written."))
    session = await claude.run(relay.url(), "Write a note.")
    assert session.results == ["Written."], session
    (betas,) = api.calls[0].values("anthropic-beta")
    assert [name.strip() for name in betas.split(",")].count("oauth-2025-04-20") == 1
    assert await hops_of_calls(relay, 2) == ["passed"] * 2
    assert OAUTH not in await headroom.log()
    assert in_memory(headroom.name, OAUTH, "sk-ant-oat01-") == {"sk-ant-oat01-"}
