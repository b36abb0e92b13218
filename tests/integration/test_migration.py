"""From a Headroom that gets the credential to one that is a hop: either half first, and both.

The version before hands the credential to Headroom, which sends on to the API by itself. Whichever
is changed first, agent.yaml or Headroom's upstream, calls fail, no credential goes where it did not
go before, and whoever looks is told what is left to do.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.commands.check import describe
from relay.config import load
from tests.harness.chain import HOP
from tests.harness.configuration import Config, both_relays, configuration
from tests.harness.hop import AIMLESS, aim, credential_seen
from tests.harness.messages import request
from tests.harness.ports import free_ports
from tests.harness.relay import LocalRelay, running_relay, update_configuration
from tests.harness.secrets import KEY
from tests.headroom import Headroom, Settings, running_headroom
from tests.integration.diagnosis import Diagnosis, diagnosed

pytestmark = pytest.mark.asyncio_loop

MESSAGE = b'{"model":"claude-test","messages":[]}'
STREAM = MESSAGE.replace(b"{", b'{"stream":true,', 1)


@dataclass
class Move:
    """A relay, Headroom and the API; the first two are to be moved from the old form to the new."""

    relay: LocalRelay
    headroom: Headroom
    api: Headroom
    old: Config
    return_port: int

    @property
    def return_address(self) -> str:
        """Where Headroom is to send on."""
        return f"http://127.0.0.1:{self.return_port}/anthropic/{HOP}"

    async def move_agent_yaml(self) -> None:
        """Declare Headroom as a hop, and have the relay read it."""
        hops = [{"name": HOP, "url": self.headroom.url}]
        new = self.old | {"claude": {"base_url": self.api.url, "hops": hops}}
        update_configuration(self.relay, new)
        self.relay.app.reload()
        await self.relay.log.says("^reloaded ")
        self.headroom.record.clear()

    async def move_headroom(self) -> None:
        """Have Headroom send on to the relay's return address."""
        await aim(self.headroom, self.return_address)

    async def call(self, body: bytes = MESSAGE) -> tuple[int, bytes, bytes]:
        """Call as an agent; return the status, ``x-relay-error`` and the body."""
        answer = await self.relay.ask(request(body=body))
        error = b"".join(answer.values("x-relay-error"))
        return answer.status, error, answer.body

    def configured(self) -> Config:
        """Return the configuration in force, with the addresses that the relay has."""
        config: Config = json.loads(self.relay.path.read_text())
        known = {"listen": [f"127.0.0.1:{self.relay.port}"]}
        known |= {"admin": f"127.0.0.1:{self.relay.admin_port}"}  # type: ignore[dict-item]  # as the file
        return config | known

    async def problems(self) -> str:
        """Return what /readyz says is not well."""
        status, report = await self.relay.readiness()
        assert status == 200
        return "\n".join(report["problems"])

    async def examined(self) -> Diagnosis:
        """Run the doctor beside the relay."""
        folder = self.relay.folder / "doctor"
        folder.mkdir(exist_ok=True)
        return await diagnosed(folder, self.configured())

    async def checked(self) -> str:
        """Return what ``relay check`` says of the configuration in force."""
        path = self.relay.folder / "checked.yaml"
        path.write_text(json.dumps(self.configured()))
        return "\n".join(await describe(load(path)))


@asynccontextmanager
async def version_before(folder: Path, **changes: object) -> AsyncIterator[Move]:
    """Run what the version before has: the credential goes to Headroom, and by it to the API."""
    (return_port,) = free_ports(1)
    async with (
        running_headroom(Settings(credential=KEY)) as api,
        running_headroom(AIMLESS) as headroom,
    ):
        await aim(headroom, api.url)
        api.record.clear()
        returns = [f"127.0.0.1:{return_port}"]  # listened on where there are hops alone
        old = configuration(headroom.port, returns=returns, **changes)
        async with running_relay(folder, old) as relay:
            yield Move(relay, headroom, api, old, return_port)


async def test_the_form_of_before_serves_unchanged(tmp_path: Path) -> None:
    """The credential goes through Headroom; ``relay check`` says so, and what would spare it."""
    async with version_before(tmp_path) as move:
        assert (await move.call())[0] == 200
        assert credential_seen(move.headroom) == credential_seen(move.api) == [KEY]
        assert await move.problems() == ""
        assert "name it in hops (docs/upgrading.md)" in await move.checked()


@pytest.mark.parametrize("body", [MESSAGE, STREAM])
async def test_agent_yaml_first(tmp_path: Path, body: bytes) -> None:
    """Headroom goes past the relay with a pass, which the API refuses; it never sees the key."""
    async with version_before(tmp_path) as move:
        await move.move_agent_yaml()
        status, error, text = await move.call(body)
        assert (status, error) == (502, b"hop_bypass")
        assert b"went past the relay" in text
        assert b"log says what to set" in text
        (shown,) = credential_seen(move.headroom)
        assert credential_seen(move.api) == [shown]
        assert shown != KEY

        back = move.return_address
        left = f"it went past the relay, then have it send on to {back}"
        await move.relay.log.says(f"^hop {HOP} of relay anthropic answers 401 .*: {left}; or it")
        assert f"calls by way of hop {HOP} of relay anthropic: " in await move.problems()
        assert left in await move.problems()
        assert f"is to send on to {back}" in await move.checked()
        assert f"ANTHROPIC_TARGET_API_URL={back}" in await move.checked()
        diagnosis = await move.examined()
        assert diagnosis.status == 1
        (found,) = [each for each in diagnosis.of("hop") if each.level == "FAIL"]
        assert found.remedy.startswith(left)
        assert f"ANTHROPIC_TARGET_API_URL={back}" in found.remedy
        outcomes = await move.relay.samples("relay_hop_calls_total", "outcome")
        assert outcomes[("refused",)] >= 1

        await move.move_headroom()
        move.api.record.clear()
        assert (await move.call(body))[0] == 200
        assert credential_seen(move.api) == [KEY]
        assert KEY not in credential_seen(move.headroom)
        assert await move.problems() == ""


@pytest.mark.parametrize("body", [MESSAGE, STREAM])
async def test_headrooms_upstream_first(tmp_path: Path, body: bytes) -> None:
    """Nobody listens at the return address yet: the credential goes no further than before."""
    async with version_before(tmp_path) as move:
        await move.move_headroom()
        status, error, text = await move.call(body)
        assert (status, error) == (502, b"")  # Headroom's own words
        assert b"connect" in text.lower()
        assert credential_seen(move.headroom) == [KEY]
        assert credential_seen(move.api) == []

        left = "if it is to send on to this relay, name it in hops"
        await move.relay.log.says(f"^relay anthropic: its upstream answers 502: .*; {left}$")
        problems = await move.problems()
        assert problems.startswith("way of relay anthropic: its upstream answers 502: ")
        assert problems.endswith(left)
        diagnosis = await move.examined()
        assert diagnosis.status == 1
        (found,) = [each for each in diagnosis.of("path") if each.level == "FAIL"]
        assert found.remedy.endswith(left)
        assert f"{left} (docs/upgrading.md)" in await move.checked()

        await move.move_agent_yaml()
        await move.move_headroom()
        assert (await move.call(body))[0] == 200
        assert credential_seen(move.api) == [KEY]
        assert KEY not in credential_seen(move.headroom)
        assert await move.problems() == ""


async def test_headrooms_upstream_first_where_other_hops_come_back(tmp_path: Path) -> None:
    """The return address refuses what no call in flight owns, and the log names the hop."""
    async with running_headroom(AIMLESS) as other:
        relays = both_relays(other.port)
        relays["relays"]["openai"]["hops"] = [{"name": "other", "url": other.url}]
        relays["relays"]["openai"]["url"] = "https://api.openai.com"
        async with version_before(tmp_path, **relays) as move:
            await move.move_headroom()
            status, _, _ = await move.call()
            assert status == 401
            assert credential_seen(move.api) == []
            await move.relay.log.says(
                f"^hop {HOP} of relay anthropic came back and got 401: no such hop is declared: "
                "name it in the relay's hops, or have it send on to an address that relay check"
            )
            assert len([line for line in move.relay.log.text if "no such hop" in line]) == 1


async def test_agent_yaml_that_still_names_headroom_as_the_end(tmp_path: Path) -> None:
    """The credential would go to the hop: the old configuration stays in force, saying why."""
    async with version_before(tmp_path) as move:
        hops = [{"name": HOP, "url": move.headroom.url}]
        half = move.old | {"claude": {"base_url": move.headroom.url, "hops": hops}}
        update_configuration(move.relay, half)
        move.relay.app.reload()
        await move.relay.log.says(
            f'claude.base_url: is the address of hop "{HOP}", which would get the credential; '
            "leave it out: the chain ends at https://api.anthropic.com then"
        )
        assert (await move.call())[0] == 200
