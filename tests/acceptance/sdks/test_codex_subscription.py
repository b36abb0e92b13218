"""Codex through the example with a ChatGPT login, against a stand-in for ChatGPT's backend."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from relay.commands.env import AgentChoice, agent_environment
from relay.commands.env_formats import toml
from relay.config import load
from tests.acceptance.sdks import openai_api
from tests.acceptance.sdks.codex import MODEL, Codex
from tests.acceptance.sdks.provider import Provider, running_provider
from tests.acceptance.sdks.replies import Reply, as_json
from tests.harness.peer import Request
from tests.harness.relay import RelayProcess, relay_process
from tests.harness.secrets import TOKEN
from tests.harness.upstream import running_upstream
from tests.repository.logins import environment
from tests.repository.test_codex_subscription import REFRESH, log_in, text_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCOUNT = "9f8b7c6d-5e4f-3a2b-1c0d-9e8f7a6b5c4d"


class Backend(Provider):
    """ChatGPT's backend: it takes the login in force, with its account, and nothing else."""

    token = ""

    def _answer(self, request: Request) -> Reply:
        headers = (request.values("authorization"), request.values("chatgpt-account-id"))
        if headers != ([f"Bearer {self.token}".encode()], [ACCOUNT.encode()]):
            return as_json({"detail": "Unauthorized"}, 401)
        return openai_api.answer(request, is_first=False)


async def configured(relay: RelayProcess) -> str:
    """Return the config.toml that `relay env` prints, at the port that the relay has."""
    settings = load(relay.path, {"RELAY_LISTEN": f"127.0.0.1:{relay.port}"})
    return "\n".join(toml(await agent_environment(settings, AgentChoice(agent="codex"))))


async def test_a_session_whose_login_is_renewed_in_its_middle(tmp_path: Path) -> None:
    """A tool's result goes up with the new token; the agent holds neither, and loses no call."""
    async with (
        running_provider(Backend) as backend,
        relay_process(tmp_path, text_for(backend.upstream.port), environment(tmp_path)) as relay,
        running_upstream() as outside,
    ):
        assert isinstance(backend, Backend)
        outside.answer_with(b"HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n")
        codex = Codex(tmp_path / "agent", outside)
        codex.configure(await configured(relay))
        tokens = []
        for life in (600, 3600):
            tokens.append(log_in(tmp_path, ACCOUNT, time.time() + life))
            backend.token = tokens[-1]
            session = await codex.run("shell please")
            assert (session.status, session.failure) == (0, "")
            (command,) = session.items("command_execution")
            assert command["aggregated_output"] == "from-the-shell-42\na note of the project's\n"
        assert [each.start for each in backend.requests] == [
            b"POST /backend-api/codex/responses HTTP/1.1"
        ] * 4
        lines = await relay.log.calls(4)
        assert {(line["operation"], line["outcome"]) for line in lines} == {("responses", "ok")}
        tokens_of = await relay.samples("relay_tokens_total", "model", relay="chatgpt")
        assert tokens_of[MODEL,] == 4 * 25 + 8
        assert [each.start for each in outside.requests] == []
        assert not any(each in repr(backend.requests) for each in (REFRESH, TOKEN))
