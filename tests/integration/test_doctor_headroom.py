"""``relay doctor`` with the stand-in for Headroom behind the relay."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.secrets import SECRETS
from tests.harness.upstream import Upstream
from tests.headroom import Headroom, Settings, running_headroom
from tests.integration.diagnosis import Diagnosis, answer, api, diagnosed, host, listening, openly

pytestmark = pytest.mark.asyncio_loop


def told(diagnosis: Diagnosis) -> list[str]:
    """Return what is said of Headroom."""
    return [str(each) for each in diagnosis.of("headroom")]


def own_calls(headroom: Headroom) -> list[str]:
    """Return the targets of the calls that carried no credential, and see that most did not."""
    with_key = [each for each in headroom.record.exchanges if each.header("x-api-key")]
    assert [each.target for each in with_key] == ["/v1/models"]
    rest = [each for each in headroom.record.exchanges if each not in with_key]
    assert not any(secret in repr(vars(each)) for each in rest for secret in SECRETS)
    return [each.target for each in rest]


@pytest.mark.parametrize(
    ("allowed", "level", "says"),
    [
        (None, "warn", "sends a call to any public address that its caller names"),
        ("127.0.0.1", "warn", "HEADROOM_ALLOWED_BASE_URLS lists 127.0.0.1"),
        ("127.0.0.1,192.88.99.1", "warn", "sends a call to any address at all"),
        ("https://api.anthropic.com", "ok", "HEADROOM_ALLOWED_BASE_URLS limits where"),
    ],
)
async def test_what_headroom_lets_its_callers_choose(
    tmp_path: Path, allowed: str | None, level: str, says: str
) -> None:
    """Told by its verdict on a message that goes nowhere, without the credential."""
    async with running_headroom(Settings(allowed_base_urls=allowed)) as headroom:
        diagnosis = await diagnosed(tmp_path, openly(headroom.port))
        targets = own_calls(headroom)
    assert diagnosis.levels["credential"] == "ok"
    assert told(diagnosis)[0].startswith("note headroom: this is Headroom 0.42.0: its pages")
    assert told(diagnosis)[1].startswith(f"{level} headroom: {says}")
    assert targets == ["/livez", "/v1/messages", "/v1/messages"]
    assert diagnosis.status == 0


async def test_another_upstream_is_not_taken_for_headroom(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Whatever it has at the same page; and it is asked nothing more."""
    for page in (answer(200, {"service": "other"}), answer(200, b"ok"), answer(404, {})):
        upstream.answer_with(api(models=answer(), livez=page))
        assert not told(await diagnosed(tmp_path, openly(upstream.port)))
    assert {each.target for each in upstream.requests} == {b"/livez", b"/v1/models"}


async def test_a_version_is_shown_only_if_it_is_one(upstream: Upstream, tmp_path: Path) -> None:
    """It is another's text."""
    page = answer(200, {"service": "headroom-proxy", "version": "1\x1b[31m"})
    upstream.answer_with(api(models=answer(), livez=page))
    diagnosis = await diagnosed(tmp_path, openly(upstream.port))
    assert "this is Headroom of no known version" in told(diagnosis)[0]


@pytest.mark.parametrize(
    ("allow", "pages"),
    [
        (["/v1/messages"], ""),
        (["/"], "/stats /stats-history /dashboard"),
        (["/v1"], "/v1/retrieve /v1/compress"),
        (["/stats"], "/stats"),
        (["/admin/upstream"], "/admin"),
    ],
)
async def test_an_allow_list_that_opens_headrooms_pages(
    tmp_path: Path, allow: list[str], pages: str
) -> None:
    """They are not the agent's."""
    async with running_headroom(Settings(allowed_base_urls="x")) as headroom:
        relays = {"r": {"url": headroom.url, "grant": "anthropic", "allow": allow}}
        diagnosis = await diagnosed(tmp_path, openly(headroom.port, claude=None, relays=relays))
    warnings = [each for each in diagnosis.of("headroom") if each.level == "warn"]
    assert [each.remedy for each in warnings] == (
        ["take what covers them out of relays.r.allow"] if pages else []
    )
    assert all(f"own pages: {pages}" in each.text for each in warnings)


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.4"])
async def test_headroom_beyond_loopback(tmp_path: Path, address: str) -> None:
    """Agents reach it, and its pages, around the relay."""
    async with running_headroom(Settings(allowed_base_urls="x")) as headroom:
        host(tmp_path, proc__net__tcp=listening((address, headroom.port), ("127.0.0.1", 1)))
        diagnosis = await diagnosed(tmp_path, openly(headroom.port))
        assert f"listens beyond loopback, at {address}:{headroom.port}" in told(diagnosis)[1]
        host(tmp_path, proc__net__tcp=listening(("127.0.0.1", headroom.port), (address, 1)))
        assert len(told(await diagnosed(tmp_path, openly(headroom.port)))) == 2


async def test_headroom_that_does_not_reach_the_api(tmp_path: Path) -> None:
    """Its log says why."""
    async with running_headroom() as headroom:
        headroom.play_next("502json")
        found = (await diagnosed(tmp_path, openly(headroom.port))).the("path")
    assert found.text.startswith("GET /v1/models: 502")
    assert found.remedy.startswith("Headroom does not reach the API")
