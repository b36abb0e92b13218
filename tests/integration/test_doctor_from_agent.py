"""``relay doctor --from-agent``: what an agent reaches, seen from where it is."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator

import pytest

from relay.commands import BadArguments
from relay.commands.doctor import diagnose_from_agent, from_agent
from tests.harness.relay import LocalRelay
from tests.harness.secrets import OTHER_TOKEN, TOKEN
from tests.harness.upstream import Upstream
from tests.integration.diagnosis import Diagnosis, answer, api, read

pytestmark = pytest.mark.asyncio_loop


@pytest.fixture(autouse=True)
def _no_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own are no part of a test."""
    monkeypatch.setattr(from_agent, "SERVICES", {})
    monkeypatch.setattr(from_agent, "PROBE_SECONDS", 1.0)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as handle:
        yield handle.getsockname()[1]


async def seen(url: str, **environment: str) -> Diagnosis:
    """Run the doctor in the agent's place."""
    out = io.StringIO()
    status = await diagnose_from_agent(url, environment, out, as_json=True)
    return read(status, out.getvalue())


@pytest.mark.parametrize("name", ["ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"])
async def test_all_is_well(relay: LocalRelay, upstream: Upstream, name: str) -> None:
    """The relay answers, and a call with the token goes through."""
    upstream.answer_with(api(models=answer()))
    url = f"http://127.0.0.1:{relay.port}"
    for path in ("", "/", "/relay/anthropic", "/relay/anthropic/v1/"):
        diagnosis = await seen(url + path, **{name: TOKEN})
        assert [str(each) for each in diagnosis.found] == [
            f"ok relay: answers at 127.0.0.1:{relay.port} -> ",
            "ok call: GET /relay/anthropic/v1/models: 200 -> ",
            "ok exposed: of 0 ports often in use, none else is reached -> ",
        ]


async def test_without_a_token_no_call_is_made(relay: LocalRelay, upstream: Upstream) -> None:
    """That the relay answers shows without one."""
    diagnosis = await seen(f"http://127.0.0.1:{relay.port}")
    assert diagnosis.levels == {"relay": "ok", "call": "note", "exposed": "ok"}
    assert upstream.requests == []


async def test_a_wrong_token(relay: LocalRelay) -> None:
    """The relay's refusal is told from the upstream's."""
    diagnosis = await seen(f"http://127.0.0.1:{relay.port}", ANTHROPIC_AUTH_TOKEN=OTHER_TOKEN)
    assert "the relay does not know the token -> make agent.env anew" in str(diagnosis.the("call"))
    assert diagnosis.status == 1


async def test_the_upstreams_own_refusal(relay: LocalRelay, upstream: Upstream) -> None:
    """That is for the doctor beside the relay."""
    upstream.answer_with(answer(401, {}))
    found = (await seen(f"http://127.0.0.1:{relay.port}", OPENAI_API_KEY=TOKEN)).the("call")
    assert found.text.endswith("401, of the upstream")
    assert found.remedy == "docker compose exec relay relay doctor"


async def test_nobody_listens() -> None:
    """Refused is not dropped."""
    with socket.socket() as handle:
        handle.bind(("127.0.0.1", 0))
        diagnosis = await seen(f"http://127.0.0.1:{handle.getsockname()[1]}")
    assert "refuses: no relay listens there" in diagnosis.the("relay").text
    assert diagnosis.status == 1
    assert not diagnosis.of("call")


async def test_a_firewall_drops_it(silent_port: int) -> None:
    """Silence is what dropping looks like; the rule is shown."""
    found = (await seen(f"http://127.0.0.1:{silent_port}")).the("relay")
    assert "is silent: a firewall of the host drops what containers send, or" in found.text
    assert f"sudo ufw allow from 10.84.84.0/24 to any port {silent_port}" in found.remedy


async def test_no_relay_but_something_else(upstream: Upstream) -> None:
    """By HTTP or not."""
    upstream.answer_with(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    found = (await seen(f"http://127.0.0.1:{upstream.port}")).the("relay")
    assert "does not speak HTTP: it is no relay" in found.text
    upstream.answer_with(answer(404, b""))
    found = (await seen(f"http://127.0.0.1:{upstream.port}/relay/x")).the("relay")
    assert found.text.endswith("404 for /relay/x")


async def test_what_else_is_reached(
    relay: LocalRelay, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ports where something worth reaching often listens, but the relay's."""
    monkeypatch.setattr(from_agent, "SERVICES", {silent_port: "x", relay.port: "y", 1: "z"})
    found = (await seen(f"http://127.0.0.1:{relay.port}")).the("exposed")
    assert found.level == "warn"
    assert found.text == f"an agent here reaches around the relay: {silent_port}"


async def test_a_token_that_no_header_can_have(relay: LocalRelay, upstream: Upstream) -> None:
    """It is not sent, and not shown."""
    for token in (f"{TOKEN}\n", f"{TOKEN}\r\nX-Other: x", f"{TOKEN}\u00fc"):
        diagnosis = await seen(f"http://127.0.0.1:{relay.port}", ANTHROPIC_AUTH_TOKEN=token)
        assert str(diagnosis.the("call")) == (
            "FAIL call: no call made: the token here has characters that no header can have"
            " -> make agent.env anew"
        )
    assert upstream.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "10.84.84.1:8484",
        "https://h",
        "http://",
        "http://h:x",
        "http://h/relay/a b",
        "http://h/relay/\u00fc",
    ],
)
async def test_an_address_that_is_none(url: str) -> None:
    """It is said what one looks like."""
    with pytest.raises(BadArguments, match="is a URL like http://"):
        await seen(url)


def test_an_address_may_be_ipv6_or_a_name() -> None:
    """With a port or without."""
    assert str(from_agent.parse("http://[fd00::1]:8484")[0]) == "[fd00::1]:8484"
    assert str(from_agent.parse("http://host.docker.internal")[0]) == "host.docker.internal:80"
