"""The example with one's own ChatGPT login: Codex's file, followed by a relay process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from relay.config import FileSource, load
from tests.harness.messages import OK, request
from tests.harness.relay import RelayProcess, relay_process
from tests.harness.secrets import TOKEN
from tests.harness.upstream import Upstream
from tests.repository.logins import environment, relay_service, write_login
from tests.unit.credentials.test_ends import web_token

EXAMPLE: Final = Path(__file__).parents[2] / "examples/codex-subscription"
BACKEND: Final = "https://chatgpt.com"
RESPONSES: Final = "/relay/chatgpt/responses"
REFRESH: Final = "rt_Kp4Wz8Jr1Td6Xn0Lb5Vc9Mh2Sf7Qg3Ya-uE8iRt"


def log_in(home: Path, account: str, ends: float) -> str:
    """Write a login as Codex does, and return its token."""
    token = web_token({"exp": int(ends), "account": account})
    tokens = {
        "id_token": token,
        "access_token": token,
        "refresh_token": REFRESH,
        "account_id": account,
    }
    login = {"OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": "2026-11-27T09:00:00Z"}
    write_login(home / ".codex/auth.json", login)
    return token


def text_for(port: int) -> str:
    """Return the example's configuration with a stand-in for the backend, and a client."""
    text = (EXAMPLE / "agent.yaml").read_text()
    assert BACKEND in text
    client = "clients: [{name: agent, token: {file: token}}]\n"
    return text.replace(BACKEND, f"http://127.0.0.1:{port}") + client


async def ask(relay: RelayProcess, *lines: str) -> int:
    """Make a call with headers of the agent's own, and return the status."""
    return (await relay.ask(request(RESPONSES, *lines))).status


def test_configuration_is_loaded_as_it_is(tmp_path: Path) -> None:
    """The home folder is that of whoever runs the relay."""
    settings = load(EXAMPLE / "agent.yaml", {})
    (grant,) = settings.grants
    (source,) = grant.sources
    assert isinstance(source, FileSource)
    assert source.file.endswith("/.codex/auth.json")
    assert settings.warnings == ()


def test_container_finds_the_login_where_the_configuration_looks() -> None:
    """In the home that the service is given by the repository's own file, and read-only."""
    service, whole = relay_service(EXAMPLE), relay_service(EXAMPLE.parents[1])
    (volume,) = service["volumes"]
    assert volume["target"] == f"{whole['environment']['HOME']}/.codex"
    assert volume["read_only"] is True


async def test_both_headers_are_the_logins_and_never_the_agents(
    tmp_path: Path, upstream: Upstream
) -> None:
    """Another account's login, from the next call on, is whole; no refresh token goes anywhere."""
    upstream.answer_with(OK)
    ends = time.time() + 3600
    tokens = [log_in(tmp_path, "one", ends)]
    async with relay_process(tmp_path, text_for(upstream.port), environment(tmp_path)) as relay:
        assert await ask(relay, "ChatGPT-Account-Id: mine") == 200
        tokens.append(log_in(tmp_path, "two", ends))
        assert await ask(relay) == 200
        shown = (await relay.page("/readyz")).body + (await relay.page("/metrics")).body
        assert time.strftime("%F %T UTC", time.gmtime(ends)).encode() in shown
        assert not any(each in line for each in (*tokens, REFRESH) for line in relay.log.text)
    for sent, token, account in zip(upstream.requests, tokens, (b"one", b"two"), strict=True):
        assert sent.start == b"POST /backend-api/codex/responses HTTP/1.1"
        assert sent.values("authorization") == [f"Bearer {token}".encode()]
        assert sent.values("chatgpt-account-id") == [account]
        assert not any(each in repr(sent) for each in (REFRESH, TOKEN, "mine"))


async def test_login_that_has_ended_is_not_sent(tmp_path: Path, upstream: Upstream) -> None:
    """The token says so itself; once Codex has renewed it, the next call succeeds."""
    upstream.answer_with(OK)
    log_in(tmp_path, "one", time.time() - 1)
    async with relay_process(tmp_path, text_for(upstream.port), environment(tmp_path)) as relay:
        assert await ask(relay) == 503
        assert upstream.requests == []
        log_in(tmp_path, "one", time.time() + 3600)
        assert await ask(relay) == 200


async def test_login_of_another_kind_says_what_is_not_there(
    tmp_path: Path, upstream: Upstream
) -> None:
    """With an API key, Codex's file has no tokens."""
    folder = tmp_path / ".codex"
    folder.mkdir()
    (folder / "auth.json").write_text('{"OPENAI_API_KEY": "x", "tokens": null}')
    async with relay_process(tmp_path, text_for(upstream.port), environment(tmp_path)) as relay:
        assert await ask(relay) == 503
        _, report = await relay.readiness()
        assert "auth.json (tokens) has no text at access_token" in str(report)
