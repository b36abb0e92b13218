"""``relay doctor`` and the LLM proxies on the way: proved one by one, or what to set in which."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from relay.commands.doctor import StreamOptions, calls
from relay.commands.doctor import probe as doctors_probe
from relay.proxy import probe
from tests.harness.chain import HOP
from tests.harness.configuration import Config
from tests.harness.hop import (
    AIMLESS,
    StandInChain,
    credential_seen,
    plays,
    running_api,
    running_stand_ins,
)
from tests.harness.secrets import KEY, TOKEN
from tests.harness.upstream import Upstream
from tests.headroom import Settings
from tests.integration.diagnosis import Diagnosis, Found, answer, api, diagnosed, openly

pytestmark = pytest.mark.asyncio_loop

PASS = "gw-9fK2mV7xQ4tB8nR1cZ6yH3wL5dJ0pS"
"""What a hop with a key of its own sends on."""


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for what never comes."""
    monkeypatch.setattr(calls, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(probe, "_HOLDING_SECONDS", 0.2)


def as_it_runs(chain: StandInChain, **changes: object) -> Config:
    """Return the configuration of a relay that runs, with the ports it has."""
    config: Config = json.loads(chain.relay.path.read_text())
    known = {
        "listen": [f"127.0.0.1:{chain.relay.port}"],
        "admin": f"127.0.0.1:{chain.relay.admin_port}",
        "returns": [f"127.0.0.1:{chain.relay.return_port}"],
    }
    return config | known | changes


async def examined(
    chain: StandInChain, *, stream: StreamOptions | None = None, **changes: object
) -> Diagnosis:
    """Run the doctor beside a relay, in a folder of its own."""
    folder = chain.relay.folder / "doctor"
    folder.mkdir(exist_ok=True)
    return await diagnosed(folder, as_it_runs(chain, **changes), stream=stream)


def of_hops(diagnosis: Diagnosis, section: str = "this relay") -> list[Found]:
    """Return what a section says of the hops."""
    return [each for each in diagnosis.of("hop") if each.section == section]


def way(chain: StandInChain, hop: str = HOP) -> str:
    """Return what a hop is told to set."""
    url = chain.return_address(hop)
    return (
        f"{url} (Headroom: ANTHROPIC_TARGET_API_URL={url}; LiteLLM, or as api_base in its "
        f"model_list: ANTHROPIC_API_BASE={url})"
    )


async def test_a_chain_that_is_well(tmp_path: Path) -> None:
    """Each hop is there and comes back; the API at the end, and it alone, is shown the key."""
    async with running_stand_ins(tmp_path, "first", "second") as chain:
        diagnosis = await examined(chain)
        section = f"relay anthropic -> first -> second -> {chain.api.url}"
        found = [str(each) for each in of_hops(diagnosis, section)]
        assert [re.sub(r" in .* ms", "", line) for line in found] == [
            f"ok hop: {name}: 127.0.0.1:{hop.port} -> " for name, hop in chain.hops.items()
        ]
        assert [str(each) for each in of_hops(diagnosis)] == [
            "ok hop: anthropic/first: calls come back from it, and answers stream -> ",
            "ok hop: anthropic/second: calls come back from it, and answers stream -> ",
        ]
        assert diagnosis.levels["credential"] == diagnosis.levels["call"] == "ok"
        assert diagnosis.the("returns").level == "ok"
        assert diagnosis.status == 0
        assert KEY in credential_seen(chain.api)


async def test_the_api_hears_nothing_of_the_probe(tmp_path: Path) -> None:
    """It is asked for its models: by the doctor itself, and through the chain."""
    async with running_stand_ins(tmp_path) as chain:
        await examined(chain)
        with_key = [each for each in chain.api.record.exchanges if each.header("x-api-key") == KEY]
        assert [each.target for each in with_key] == ["/v1/models", "/v1/models"]
        samples = await chain.relay.samples("relay_requests_total", "operation")
        assert samples == {("models",): 1}


async def test_a_paid_stream_is_asked_of_the_end(tmp_path: Path) -> None:
    """What lies behind the hops; they are proved by what is free."""
    async with running_stand_ins(tmp_path) as chain:
        diagnosis = await examined(chain, stream=StreamOptions(wanted=True))
        assert diagnosis.the("stream").level == "ok"
        posted = [each for each in chain.api.record.exchanges if each.header("x-api-key") == KEY]
        assert [each.target for each in posted] == ["/v1/models", "/v1/messages", "/v1/models"]


async def test_a_headroom_on_the_way_is_looked_at(tmp_path: Path) -> None:
    """As one behind the relay is, without any secret: the harness sees to that at its end."""
    async with running_stand_ins(tmp_path) as chain:
        config = as_it_runs(chain, relays={"anthropic": {"headers": {"x-own": {"file": "oauth"}}}})
        diagnosis = await examined(chain, **config)
        this, steering, *_ = diagnosis.of("headroom")
        assert "this is Headroom 0.42.0" in this.text
        assert steering.remedy.endswith(f"HEADROOM_ALLOWED_BASE_URLS={chain.return_address(HOP)}")
        targets = [each.target for each in chain.hop.record.exchanges]
        assert targets[:3] == ["/livez", "/v1/messages", "/v1/messages"]
        others: list[str | None] = []
        asked: list[str | None] = []
        for each in chain.api.record.exchanges:
            (asked if each.header("x-api-key") == KEY else others).append(each.header("x-own"))
        assert asked[0] is not None
        assert others
        assert set(others) == {None}


@pytest.mark.parametrize(
    ("settings", "level", "says", "remedy"),
    [
        (plays("forward_burst"), "FAIL", "calls come back from it, and it HOLDS answers", "have"),
        (plays("401"), "FAIL", "answers 401 without coming back", "it went past the relay, then"),
        (plays("nameless"), "FAIL", "answers 200 by itself, without coming back", "it is no proxy"),
        (plays("guard"), "FAIL", "answers 403 by itself, without coming back", "look at its log"),
        (plays("529"), "FAIL", "answers 529 by itself, without coming back", "look at its log"),
        (plays("429"), "warn", "answers 429 by itself, without coming back", "wait"),
        (plays("reset", before="head"), "FAIL", "breaks off, or gives no valid answer", "look"),
        (
            plays("forward", drop="x-relay-call"),
            *("FAIL", "comes back, and is refused", "the relay's log says why"),
        ),
        (plays("forward", key="own"), "FAIL", "comes back, and is refused", "the relay's log"),
        (
            plays("forward", path="POST /v1/embeddings"),
            *("FAIL", "comes back, and is refused", "it asks for a path that is not in relays"),
        ),
        (
            replace(AIMLESS, proxy_token=PASS, trusts_loopback=False),
            *("FAIL", "answers 401 without coming back", "it went past the relay, then have"),
        ),
    ],
)
async def test_each_way_that_a_hop_fails(
    tmp_path: Path, settings: Settings, level: str, says: str, remedy: str
) -> None:
    """It is named with what to do, and nothing is asked through it any more."""
    async with running_stand_ins(tmp_path, settings=settings) as chain:
        diagnosis = await examined(chain)
        (found,) = of_hops(diagnosis)
        assert found.level == level
        assert found.text.startswith(f"anthropic/{HOP}: {says}")
        assert found.remedy.startswith(remedy)
        assert (way(chain) in found.remedy) == ("send on" in found.remedy)
        assert bool(diagnosis.of("call")) == (level != "FAIL")
        assert diagnosis.status == (1 if level == "FAIL" else 0)


@pytest.mark.parametrize("wrong", ["/anthropic/other", "/other/headroom", "", "/anthropic"])
async def test_a_hop_that_comes_back_to_another_place(tmp_path: Path, wrong: str) -> None:
    """The log says nothing of places that are none, so the address is named here."""
    async with running_stand_ins(tmp_path) as chain:
        await chain.hop.aim(f"http://127.0.0.1:{chain.relay.return_port}{wrong}")
        (found,) = of_hops(await examined(chain))
        assert found.text == f"anthropic/{HOP}: comes back, and is refused at the return address"
        assert found.remedy.endswith(f"where it does not, have it send on to {way(chain)}")


@pytest.mark.parametrize("wrong", ["/relay/anthropic", ""])
async def test_a_hop_that_comes_back_as_an_agent(tmp_path: Path, wrong: str) -> None:
    """To the relay's other listener, where a pass is no token."""
    async with running_stand_ins(tmp_path) as chain:
        await chain.hop.aim(f"http://127.0.0.1:{chain.relay.port}{wrong}")
        (found,) = of_hops(await examined(chain))
        assert found.text.endswith(": comes back to the address of agents, and is refused there")
        assert found.remedy == f"have it send on to {way(chain)}"


async def test_a_hop_that_begins_its_answer_early(tmp_path: Path) -> None:
    """Whatever its head says, it came back; all that it was given came at once, though."""
    async with running_stand_ins(tmp_path, settings=plays("forward_pings", pings="1")) as chain:
        (found,) = of_hops(await examined(chain))
        assert "calls come back from it, and it HOLDS answers BACK" in found.text


async def test_a_hop_that_reaches_nothing(tmp_path: Path, closed_port: int) -> None:
    """As of one in a container whose loopback is its own."""
    async with running_stand_ins(tmp_path) as chain:
        await chain.hop.aim(f"http://127.0.0.1:{closed_port}/anthropic/headroom")
        (found,) = of_hops(await examined(chain))
        assert found.text == f"anthropic/{HOP}: answers 502 by itself, without coming back"
        assert found.remedy == f"where it sends on to, nothing answers; that has to be {way(chain)}"


async def test_a_hop_that_goes_past_the_relay(tmp_path: Path) -> None:
    """The relay that runs knows of it; it is said until calls come back, and once more then."""
    async with running_stand_ins(tmp_path) as chain, running_api() as elsewhere:
        await chain.hop.aim(elsewhere.url)
        (found,) = of_hops(await examined(chain))
        assert (found.level, found.text.split(":")[0]) == ("FAIL", f"anthropic/{HOP}")
        assert "has a key of its own and went past the relay" in found.text
        assert found.remedy.startswith("take its key away, and have it send on to ")
        await chain.hop.aim(chain.return_address())
        before, now = of_hops(await examined(chain))
        assert (before.level, before.text) == ("FAIL", found.text)
        assert now.level == "ok"
        (healed,) = of_hops(await examined(chain))
        assert healed.level == "ok"


@pytest.mark.parametrize(
    ("if_down", "level", "says"),
    [
        ("fail", "FAIL", "the relay that runs cannot reach http://127.0.0.1:"),
        ("skip", "warn", "the relay that runs cannot reach http://127.0.0.1:"),
    ],
)
async def test_a_hop_that_is_down(tmp_path: Path, if_down: str, level: str, says: str) -> None:
    """Where calls go on without it, that is a warning, and the next hop is tried all the same."""
    hop: Config = {"if_down": if_down}
    async with running_stand_ins(tmp_path, "first", "second", hop=hop) as chain:
        await chain.hops["first"].stop()
        diagnosis = await examined(chain)
        seen = of_hops(diagnosis, f"relay anthropic -> first -> second -> {chain.api.url}")
        assert (seen[0].level, seen[1].level) == (level, "ok")
        assert seen[0].text.startswith(f"first: nothing listens at 127.0.0.1:{chain.hop.port}")
        assert "hop's URL" in seen[0].remedy
        start = f"ANTHROPIC_TARGET_API_URL={chain.return_address('first')} headroom proxy"
        assert f"(Headroom: {start})" in seen[0].remedy
        first, second = of_hops(diagnosis)
        assert (first.level, second.level) == (level, "ok" if if_down == "skip" else "note")
        assert first.text.startswith(f"anthropic/first: {says}")
        assert diagnosis.levels["credential"] == "ok"
        assert diagnosis.status == (1 if level == "FAIL" else 0)


async def test_the_last_hop_that_a_call_gets_to_is_to_blame(tmp_path: Path) -> None:
    """The one in front of it has sent on."""
    async with running_stand_ins(tmp_path, "first", "second") as chain:
        await chain.hops["second"].aim(f"http://127.0.0.1:{chain.relay.return_port}")
        first, second = of_hops(await examined(chain))
        assert (first.level, first.text) == ("ok", "anthropic/first: calls come back from it")
        assert "comes back, and is refused" in second.text
        assert way(chain, "second") in second.remedy


async def test_a_hop_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a limit of its own: the relay's is for calls that think."""
    monkeypatch.setattr(doctors_probe, "PROBE_SECONDS", 0.5)
    async with running_stand_ins(tmp_path, settings=plays("stall", before="head")) as chain:
        (found,) = of_hops(await examined(chain))
        assert found.text.startswith(f"anthropic: {HOP}: does not answer a call within ")
        assert way(chain) in found.remedy


async def test_a_hop_that_breaks_off(tmp_path: Path) -> None:
    """In the middle of the answer."""
    async with running_stand_ins(tmp_path, settings=plays("forward_truncated")) as chain:
        (found,) = of_hops(await examined(chain))
        assert found.text == f"anthropic: {HOP}: breaks off its answer to a call"


# What hops want


WANTS: Config = {
    "headers": {"X-Headroom-Proxy-Token": {"file": "wanted"}},
    "pass": {"file": "pass"},
}


async def test_what_a_hop_wants_is_looked_for(tmp_path: Path) -> None:
    """A header's value, and a pass that is long enough; none of them is shown."""
    async with running_stand_ins(tmp_path, hop=WANTS) as chain:
        folder = chain.relay.folder / "doctor"
        folder.mkdir()
        section = f"relay anthropic -> {HOP} -> {chain.api.url}"
        (folder / "pass").write_text("short")
        header, weak, _ = of_hops(await examined(chain), section)
        assert (header.level, weak.level) == ("FAIL", "FAIL")
        assert header.text.startswith(f"{HOP}: header X-Headroom-Proxy-Token is MISSING: ")
        assert header.remedy == f"write {folder}/wanted"
        assert weak.text == f"{HOP}: its pass can be guessed: it holds less than 128 bits"
        (folder / "pass").write_text(PASS)
        (folder / "wanted").write_text(TOKEN)
        header, its_pass, _ = of_hops(await examined(chain), section)
        assert (header.level, its_pass.level) == ("ok", "ok")


async def test_a_relay_that_lacks_what_its_hop_wants(tmp_path: Path) -> None:
    """It refuses calls before the first hop."""
    async with running_stand_ins(tmp_path, hop=WANTS) as chain:
        (found,) = of_hops(await examined(chain))
        assert found.text == (
            "anthropic: the relay that runs refuses to try its hops: 503, no_credential"
        )
        assert found.remedy == "relay health --ready says what it lacks"


async def test_what_a_hop_repeats_is_not_shown(upstream: Upstream, tmp_path: Path) -> None:
    """No header's value, wherever it comes in."""
    page = {"service": "headroom-proxy", "version": PASS[:30]}
    upstream.answer_with(api(livez=answer(200, page)))
    (tmp_path / "wanted").write_text(PASS[:30])
    hop = {"name": HOP, "url": f"http://127.0.0.1:{upstream.port}", "headers": WANTS["headers"]}
    claude = {"base_url": "http://127.0.0.1:3", "hops": [hop]}
    diagnosis = await diagnosed(tmp_path, openly(1, claude=claude))
    assert "this is Headroom [redacted]" in diagnosis.of("headroom")[0].text


async def test_a_missing_header_of_the_end(tmp_path: Path) -> None:
    """It is named, and no call is made without it."""
    async with running_stand_ins(tmp_path) as chain:
        relays = {"anthropic": {"headers": {"x-own": {"file": "absent"}}}}
        diagnosis = await examined(chain, relays=relays)
        assert diagnosis.the("header").text.startswith("header x-own is MISSING: ")
        assert not diagnosis.of("credential") + diagnosis.of("path")


# The relay that runs


async def test_without_a_relay_hops_are_only_called_on(tmp_path: Path) -> None:
    """Whether they are there shows; whether they come back does not."""
    async with running_stand_ins(tmp_path) as chain:
        diagnosis = await examined(chain, admin="127.0.0.1:2")
        here, untried = diagnosis.of("hop")
        assert here.level == "ok"
        assert (untried.level, untried.text) == (
            "note",
            "whether calls come back from hops is not tried: they come back to a relay that runs",
        )
        assert diagnosis.levels["credential"] == "ok"
        assert chain.hop.record.exchanges[0].target == "/livez"


async def test_without_a_token_nothing_is_tried(tmp_path: Path) -> None:
    """The relay lets nobody else try its hops."""
    async with running_stand_ins(tmp_path) as chain:
        clients = [{"name": "agent", "token": {"file": "nowhere"}}]
        (untried,) = of_hops(await examined(chain, clients=clients))
        assert untried.level == "note"


async def test_a_relay_with_other_hops_is_sent_no_probe(tmp_path: Path) -> None:
    """One without hops would take it for a call."""
    async with running_stand_ins(tmp_path) as chain:
        config = as_it_runs(chain)
        hops = [{"name": "another", "url": chain.hop.url}]
        (found,) = of_hops(await examined(chain, claude=config["claude"] | {"hops": hops}))
        assert found.text == "anthropic: the relay that runs has other hops"
        assert "reload it" in found.remedy
        posted = [each.target for each in chain.hop.record.exchanges if each.mode == "forward"]
        assert posted == ["/v1/messages"] * 2  # what asks who Headroom lets choose


async def test_a_return_address_where_nobody_answers(tmp_path: Path) -> None:
    """The relay that runs listens elsewhere."""
    async with running_stand_ins(tmp_path) as chain:
        diagnosis = await examined(chain, returns=[f"127.0.0.9:{chain.relay.return_port}"])
        found = diagnosis.the("returns")
        assert found.level == "FAIL"
        assert found.text.endswith("where hops come back")


async def test_a_return_address_that_knows_no_such_hop(tmp_path: Path) -> None:
    """The relay that runs has another configuration."""
    async with running_stand_ins(tmp_path) as chain:
        config = as_it_runs(chain)
        hops = [{"name": "another", "url": chain.hop.url}]
        diagnosis = await examined(chain, claude=config["claude"] | {"hops": hops})
        assert "401, rejected" in diagnosis.the("returns").text


async def test_a_relay_that_allows_no_messages(tmp_path: Path) -> None:
    """There is nothing to try its hops with."""
    relays = {"anthropic": {"allow": ["/v1/models"]}}
    async with running_stand_ins(tmp_path, changes={"relays": relays}) as chain:
        diagnosis = await examined(chain)
        (found,) = of_hops(diagnosis)
        assert (found.level, diagnosis.levels["call"]) == ("note", "ok")
