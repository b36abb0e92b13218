"""The example with one's own subscription: Claude Code's login, followed by a relay process."""

import json
import os
import time
from pathlib import Path

import pytest

from relay.config import FileSource, load
from tests.harness.messages import OK, request
from tests.harness.relay import relay_process
from tests.harness.secrets import OAUTH
from tests.harness.upstream import Upstream
from tests.repository.logins import environment, relay_service, write_login

EXAMPLE = Path(__file__).parents[2] / "examples/claude-subscription"
RENEWED = "sk-ant-oat01-Wq3Zr9Kx1Vn6Tb0Mc5Ld8Jh2Gf7Ps4Ye-aU1oIt"
EXPIRED = json.dumps(
    {"type": "error", "error": {"type": "authentication_error", "message": "OAuth token expired"}}
).encode()
REFUSAL = b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\n"
REFUSAL += b"content-length: %d\r\n\r\n%b" % (len(EXPIRED), EXPIRED)


def log_in(home: Path, token: str, ends: float = 0) -> None:
    """Write the login as Claude Code does."""
    login = {"accessToken": token, "refreshToken": "sk-ant-ort01-x", "expiresAt": int(ends * 1000)}
    write_login(home / ".claude/.credentials.json", {"claudeAiOauth": login, "mcpOAuth": {}})


def text_for(upstream: Upstream) -> str:
    """Return the example's configuration with an upstream and no hops, and nothing else changed."""
    text, found, _ = (EXAMPLE / "agent.yaml").read_text().partition("  hops:\n")
    assert found
    return f"{text}  base_url: http://127.0.0.1:{upstream.port}\n"


def call() -> bytes:
    """Return a call without a token: the example declares no clients."""
    return request(token=None).replace(b"Host: relay.test", b"Host: 127.0.0.1")


def test_configuration_is_loaded_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home folder is that of whoever runs the relay."""
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load(EXAMPLE / "agent.yaml", {})
    (grant,) = settings.grants
    (source,) = grant.sources
    assert isinstance(source, FileSource)
    assert source.file == str(tmp_path / ".claude/.credentials.json")
    assert source.json_path == "claudeAiOauth.accessToken"
    (shown,) = load(EXAMPLE.parent / "llm-proxy/agent.yaml", {}).relays
    assert settings.relays[0].hops == shown.hops


def test_container_finds_the_login_where_the_configuration_looks() -> None:
    """The mounted folder is .claude in the home that the service is given, and read-only."""
    service = relay_service(EXAMPLE)
    (volume,) = service["volumes"]
    assert volume["target"] == f"{service['environment']['HOME']}/.claude"
    assert volume["read_only"] is True


async def test_relay_follows_the_login_that_claude_code_renews(
    tmp_path: Path, upstream: Upstream
) -> None:
    """Replaced by rename: the very next call carries the new token."""
    upstream.answer_with(OK)
    log_in(tmp_path, OAUTH)
    async with relay_process(tmp_path, text_for(upstream), environment(tmp_path)) as relay:
        assert (await relay.ask(call())).status == 200
        log_in(tmp_path, RENEWED)
        assert (await relay.ask(call())).status == 200
    sent = [each.values("authorization") for each in upstream.requests]
    assert sent == [[f"Bearer {OAUTH}".encode()], [f"Bearer {RENEWED}".encode()]]
    assert all(each.values("x-api-key") == [] for each in upstream.requests)
    assert all(
        b"oauth-2025-04-20" in each.values("anthropic-beta")[0] for each in upstream.requests
    )
    assert not any(RENEWED in line for line in relay.log.text)


async def test_refused_token_is_read_again_though_the_file_looks_the_same(
    tmp_path: Path, upstream: Upstream
) -> None:
    """A file system may keep the time and the size of what was replaced in place."""
    file = tmp_path / ".claude/.credentials.json"
    log_in(tmp_path, OAUTH)
    long_ago = time.time_ns() - 3600 * 10**9
    os.utime(file, ns=(long_ago, long_ago))
    upstream.answer_with(lambda sent: REFUSAL if OAUTH.encode() in repr(sent).encode() else OK)
    async with relay_process(tmp_path, text_for(upstream), environment(tmp_path)) as relay:
        # The login as a whole is renewed in place, with the same size, time and inode.
        assert (await relay.ask(call())).status == 401
        file.write_text(file.read_text().replace(OAUTH, RENEWED))
        os.utime(file, ns=(long_ago, long_ago))
        assert (await relay.ask(call())).status == 200


async def test_login_renewed_in_the_middle_of_a_session_loses_no_call(
    tmp_path: Path, upstream: Upstream
) -> None:
    """Claude Code renews it ahead of its end; a call that runs then ends as it began."""
    log_in(tmp_path, RENEWED)
    async with relay_process(tmp_path, text_for(upstream), environment(tmp_path)) as relay:
        ends = time.time() + 3  # from now on: a relay may take its time to begin
        log_in(tmp_path, OAUTH, ends)
        agent = await relay.agent()
        await agent.send(call())
        caller, sent = await upstream.called()
        assert sent.values("authorization") == [f"Bearer {OAUTH}".encode()]
        log_in(tmp_path, RENEWED, time.time() + 3600)
        upstream.answer_with(OK)
        while time.time() < ends:  # the old one is over by then
            assert (await relay.ask(call())).status == 200
        await caller.send(OK)
        assert (await agent.answer()).status == 200
    sent_later = {value for each in upstream.requests for value in each.values("authorization")}
    assert sent_later == {f"Bearer {RENEWED}".encode()}


async def test_login_that_has_ended_is_not_sent(tmp_path: Path, upstream: Upstream) -> None:
    """Calls are refused with what to do, until Claude Code has renewed it."""
    upstream.answer_with(OK)
    ends = int(time.time()) - 1
    log_in(tmp_path, OAUTH, ends)
    async with relay_process(tmp_path, text_for(upstream), environment(tmp_path)) as relay:
        answer = await relay.ask(call())
        assert (answer.status, answer.outcome) == (503, "no_credential")
        assert answer.values("x-should-retry") == [b"false"]
        assert upstream.requests == []
        said = time.strftime("%F %T UTC", time.gmtime(ends))
        line = await relay.log.says(r"^credential claude: (.*)$")
        assert line[1] == (
            f"{tmp_path}/.claude/.credentials.json (claudeAiOauth.accessToken) ended at {said}; "
            "calls get 503 until it is renewed: run claude where its login is, which renews it"
        )
        log_in(tmp_path, RENEWED, time.time() + 3600)
        assert (await relay.ask(call())).status == 200


async def test_login_that_does_not_say_its_end_is_the_upstreams_own_refusal(
    tmp_path: Path, upstream: Upstream
) -> None:
    """Byte for byte, and counted; the relay renews nothing and goes on."""
    upstream.answer_with(REFUSAL)
    log_in(tmp_path, OAUTH)
    async with relay_process(tmp_path, text_for(upstream), environment(tmp_path)) as relay:
        answer = await relay.ask(call())
        assert (answer.status, answer.body, answer.outcome) == (401, EXPIRED, "")
        await relay.outcomes()
        errors = await relay.samples("relay_upstream_errors_total", "error_type")
        assert errors == {("authentication_error",): 1}
        assert (await relay.readiness())[0] == 200


async def test_login_may_come_after_the_relay(tmp_path: Path, upstream: Upstream) -> None:
    """Until then calls are refused, and readiness says what is missing."""
    upstream.answer_with(OK)
    async with relay_process(tmp_path, text_for(upstream), environment(tmp_path)) as relay:
        assert (await relay.ask(call())).status == 503
        status, report = await relay.readiness()
        assert status == 503
        assert ".claude/.credentials.json" in json.dumps(report)
        log_in(tmp_path, OAUTH)
        assert (await relay.ask(call())).status == 200
