"""``relay doctor`` and the relay that runs: where it answers, and whether it takes the token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.configuration import Config, configuration
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import KEY, OTHER_TOKEN, TOKEN
from tests.harness.upstream import Upstream, running_upstream
from tests.integration.diagnosis import Diagnosis, answer, api, diagnosed

pytestmark = pytest.mark.asyncio_loop

ABSENT = "127.0.0.9"
"""Loopback, so that nobody is asked; nothing listens there."""


@pytest.fixture
async def relay(upstream: Upstream, tmp_path: Path) -> AsyncIterator[LocalRelay]:
    """A relay that runs, in front of an upstream where all is well."""
    upstream.answer_with(api(models=answer()))
    folder = tmp_path / "running"
    folder.mkdir()
    async with running_relay(folder, configuration(upstream.port)) as running:
        yield running


def as_it_runs(relay: LocalRelay, upstream: Upstream, **changes: object) -> Config:
    """Return the configuration of a relay that runs, with the ports it has."""
    known = {
        "listen": [f"127.0.0.1:{relay.port}"],
        "admin": f"127.0.0.1:{relay.admin_port}",
    }
    return configuration(upstream.port, **(known | changes))


def told(diagnosis: Diagnosis) -> list[str]:
    """Return what is said of the relay."""
    return [str(each) for each in diagnosis.found if each.section == "this relay"]


async def test_a_relay_that_runs_is_believed(
    relay: LocalRelay, upstream: Upstream, tmp_path: Path
) -> None:
    """Started where the credential is, it has what this shell has not."""
    config = as_it_runs(
        relay,
        upstream,
        grants=[{"name": "anthropic", "source": {"env": "NOT_IN_THIS_SHELL"}}],
    )
    diagnosis = await diagnosed(tmp_path, config)
    assert diagnosis.the("grant").level == "note"
    assert "the relay that runs has it" in diagnosis.the("grant").text
    assert diagnosis.status == 0
    nobody = await diagnosed(tmp_path, config | {"admin": "127.0.0.1:2"})
    assert nobody.the("grant").level == "FAIL"


async def test_all_is_well(relay: LocalRelay, upstream: Upstream, tmp_path: Path) -> None:
    """Up to a call that goes the agent's whole way."""
    diagnosis = await diagnosed(tmp_path, as_it_runs(relay, upstream))
    assert told(diagnosis) == [
        f"ok client: agent: its token is there, from {tmp_path}/token -> ",
        f"ok running: the relay answers at 127.0.0.1:{relay.admin_port} -> ",
        "ok ready: it has every credential and token it needs -> ",
        f"ok listen: the relay answers agents at 127.0.0.1:{relay.port} -> ",
        "ok call: GET /relay/anthropic/v1/models through the relay: 200 -> ",
    ]
    assert diagnosis.status == 0
    through = upstream.requests[-1]
    assert through.values("x-api-key") == [KEY.encode()]
    assert TOKEN not in repr(through)


async def test_warnings_of_the_configuration_are_shown(upstream: Upstream, tmp_path: Path) -> None:
    """Whether a relay runs or not; they are no failure."""
    upstream.answer_with(api(models=answer()))
    config = configuration(upstream.port, admin="127.0.0.1:1", timeout=5)
    diagnosis = await diagnosed(tmp_path, config)
    found = diagnosis.the("config")
    assert found.level == "warn"
    assert found.text.startswith(f"{tmp_path}/agent.yaml:1: timeout: ")
    assert "mend it there" in found.remedy
    assert diagnosis.status == 0


async def test_no_relay_runs(upstream: Upstream, tmp_path: Path) -> None:
    """That is no fault: one may ask before it is started."""
    upstream.answer_with(api(models=answer()))
    diagnosis = await diagnosed(tmp_path, configuration(upstream.port, admin="127.0.0.1:1"))
    assert told(diagnosis)[1:] == [
        "warn running: no relay answers at 127.0.0.1:1 -> docker compose up -d, or relay serve"
    ]
    assert diagnosis.status == 0


async def test_something_else_has_the_admin_port(upstream: Upstream, tmp_path: Path) -> None:
    """It is not taken for the relay."""
    upstream.answer_with(api())
    config = configuration(1, admin=f"127.0.0.1:{upstream.port}")
    found = (await diagnosed(tmp_path, config)).the("running")
    assert (found.level, found.text.endswith("is no relay: it said 404")) == ("FAIL", True)


async def test_a_token_that_is_none(relay: LocalRelay, upstream: Upstream, tmp_path: Path) -> None:
    """A placeholder is guessed by anybody; the relay takes it all the same."""
    (tmp_path / "tok").write_text("changeme")
    clients = [{"name": "agent", "token": {"file": "tok"}}]
    diagnosis = await diagnosed(tmp_path, as_it_runs(relay, upstream, clients=clients))
    levels = [each.level for each in diagnosis.of("client")]
    assert levels == ["ok", "warn"]
    assert diagnosis.of("client")[1].text == "agent: its token is a placeholder"


async def test_a_token_that_is_missing(
    relay: LocalRelay, upstream: Upstream, tmp_path: Path
) -> None:
    """It is said where it should be, and no call is made without."""
    clients = [{"name": "agent", "token": {"file": "nowhere"}}]
    diagnosis = await diagnosed(tmp_path, as_it_runs(relay, upstream, clients=clients))
    assert "its token is MISSING" in diagnosis.the("client").text
    assert diagnosis.the("client").remedy == f"write {tmp_path}/nowhere"
    assert not diagnosis.of("call")
    assert diagnosis.status == 1


async def test_a_relay_that_runs_with_another_token(
    relay: LocalRelay, upstream: Upstream, tmp_path: Path
) -> None:
    """The call through it is refused by it."""
    (tmp_path / "token").write_text(OTHER_TOKEN)
    found = (await diagnosed(tmp_path, as_it_runs(relay, upstream))).the("call")
    assert "through the relay: 401, rejected, and without it all is well" in found.text
    assert "reload it" in found.remedy


async def test_a_relay_that_lacks_its_credential(
    relay: LocalRelay, upstream: Upstream, tmp_path: Path
) -> None:
    """Although there is one here."""
    (relay.folder / "key").unlink()
    diagnosis = await diagnosed(tmp_path, as_it_runs(relay, upstream))
    assert diagnosis.the("ready").level == "FAIL"
    assert "503" in diagnosis.the("call").text


async def test_a_listen_address_where_nobody_answers(
    relay: LocalRelay, upstream: Upstream, tmp_path: Path
) -> None:
    """Of several, each is tried."""
    listen = [f"127.0.0.1:{relay.port}", f"{ABSENT}:{relay.port}"]
    diagnosis = await diagnosed(tmp_path, as_it_runs(relay, upstream, listen=listen))
    assert [each.level for each in diagnosis.of("listen")] == ["ok", "FAIL"]
    assert diagnosis.the("call").level == "ok"
    assert diagnosis.status == 1


async def test_an_interface_without_an_address(
    relay: LocalRelay, upstream: Upstream, tmp_path: Path
) -> None:
    """As Docker's bridge before there is one."""
    config = as_it_runs(relay, upstream, listen=[f"no-such-if0:{relay.port}"])
    found = (await diagnosed(tmp_path, config)).the("listen")
    assert found.level == "FAIL"
    assert found.remedy == (
        "that address is not this host's: for agents' networks, docker compose up -d"
    )


async def test_no_call_where_the_upstream_refuses_it_anyway(
    relay: LocalRelay, upstream: Upstream, tmp_path: Path
) -> None:
    """That is said once."""
    upstream.answer_with(answer(401, {}))
    diagnosis = await diagnosed(tmp_path, as_it_runs(relay, upstream))
    assert diagnosis.levels["listen"] == "ok"
    assert diagnosis.the("credential").level == "FAIL"
    assert not diagnosis.of("call")


async def test_an_unknown_relay(relay: LocalRelay, upstream: Upstream, tmp_path: Path) -> None:
    """The one that runs has another configuration."""
    relays = {"later": {"url": f"http://127.0.0.1:{upstream.port}", "grant": "anthropic"}}
    config = as_it_runs(relay, upstream, claude=None, relays=relays)
    found = (await diagnosed(tmp_path, config)).the("listen")
    assert found.level == "FAIL"
    assert "404, rejected" in found.text


async def test_what_another_server_says_is_made_harmless(
    relay: LocalRelay, upstream: Upstream, tmp_path: Path
) -> None:
    """Where an address is another's, its answer is not the relay's."""
    other = answer(404, b"", "x-relay-error: \x9b31m" + "long" * 50)
    upstream.answer_with(api(models=answer()))
    async with running_upstream() as another:
        another.answer_with(other)
        config = as_it_runs(relay, upstream, listen=[f"127.0.0.1:{another.port}"])
        found = (await diagnosed(tmp_path, config)).the("listen")
    assert found.text.startswith(f"at 127.0.0.1:{another.port}: 404, ?31mlonglong")
    assert len(found.text) < 160


async def test_no_call_where_it_would_be_refused(
    relay: LocalRelay, upstream: Upstream, tmp_path: Path
) -> None:
    """A narrow allow list is no fault."""
    relays = {"anthropic": {"allow": ["/v1/messages"]}}
    diagnosis = await diagnosed(tmp_path, as_it_runs(relay, upstream, relays=relays))
    assert diagnosis.the("call").level == "note"
    assert diagnosis.status == 0
