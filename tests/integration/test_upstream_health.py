"""What a relay that nobody has called yet says of upstreams and hops that cannot be reached."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.harness.configuration import Config, configuration
from tests.harness.relay import running_relay
from tests.harness.upstream import Upstream

NOTHING = "nothing answers at {url}; calls get 502 until something does"
REASON = "{url} cannot be reached: %s; calls fail until that is mended"


@pytest.fixture
def ports(closed_port: int, full_port: int) -> dict[str, int]:
    """A port that nobody listens on, and one whose listener accepts nobody."""
    return {"closed": closed_port, "full": full_port}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:{closed}", NOTHING),
        ("http://127.0.0.1:{full}", REASON % "no connection in time"),
        ("https://nowhere.invalid", REASON % "the name has no address: .*"),
    ],
)
async def test_the_reason_is_said_before_any_call(
    tmp_path: Path, ports: dict[str, int], url: str, words: str
) -> None:
    """In the log and by /readyz, of relays and of hops alike; where it is left out, that too."""
    url, end = url.format(**ports), f"http://127.0.0.1:{ports['closed']}/end"
    easy = {"name": "first", "url": f"{url}/easy", "if_down": "skip"}
    relays: Config = {
        "plain": {"url": url},
        "chained": {"url": end, "hops": [{"name": "first", "url": f"{url}/hop"}]},
        "easy": {"url": end, "hops": [easy]},
    }
    config = configuration(0, claude=None, relays=relays, timeouts={"connect": 0.5})

    def said(path: str) -> str:
        return words.replace("{url}", re.escape(url + path))

    lines = [
        f"upstream of relay plain: {said('')}",
        f"hop first of relay chained: {said('/hop')}",
        f"hop first of relay easy: {said('/easy').rpartition('; ')[0]}; calls go on without it",
    ]
    async with running_relay(tmp_path, config | {"returns": ["127.0.0.1:0"]}) as relay:
        for line in lines:
            await relay.log.says(f"^{line}$")
        problems = (await relay.readiness())[1]["problems"]
        for line in lines:
            assert any(re.fullmatch(line, each) for each in problems), line


async def test_a_reason_that_changes_is_said_anew(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused is there, and what was there is gone."""
    monkeypatch.setattr("relay.upstream.health.PROBE_SECONDS", 0.05)
    await upstream.stop_listening()
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        await relay.log.says("^upstream of relay anthropic: nothing answers at ")
        with socket.create_server(("127.0.0.1", upstream.port)):
            await relay.log.says("^upstream of relay anthropic: .* answers now$")
        await relay.log.says("^upstream of relay anthropic: nothing answers at ", count=2)


async def test_a_reason_is_the_proxys_where_one_is_on_the_way(tmp_path: Path) -> None:
    """Its name is looked up, and the API's is not."""
    proxy = "http://nowhere.invalid:3128"
    claude = {"base_url": "https://api.anthropic.com"}
    config = configuration(0, claude=claude, egress={"url": proxy})
    async with running_relay(tmp_path, config) as relay:
        await relay.log.says(
            f"^upstream of relay anthropic: {re.escape(claude['base_url'])} cannot be reached: "
            f"the proxy {re.escape(proxy)}: the name has no address: .*; calls fail until"
        )
