"""What ``relay check`` shows."""

from pathlib import Path

import pytest

from relay.commands.check import describe
from tests.harness.agent_yaml import BOTH, OTHER, SHORT, TOKEN, settings_of

API_KEY = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"
OPENAI_PATHS = "/v1/chat/completions /v1/responses /v1/models /v1/embeddings /v1/files"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration with its secrets beside it."""
    (tmp_path / "agent.yaml").write_text(BOTH)
    (tmp_path / "key").write_text(API_KEY)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "other").write_text(OTHER)
    return tmp_path


async def test_check_shows_what_would_be_served(folder: Path) -> None:
    """Every address, relay, client and limit; of secrets, only where they are."""
    assert await describe(settings_of(folder)) == [
        "listen    127.0.0.1:8484",
        "listen    docker0:8484",
        "admin     127.0.0.1:9484",
        "relay     /relay/openai forwards to https://llm.example.com/proxy, API openai",
        f"            paths       {OPENAI_PATHS}",
        f"            credential  openai, is MISSING: {folder}/missing is not there",
        "relay     /relay/anthropic forwards to http://localhost:8787, API anthropic",
        "            paths       /v1/messages /v1/models /v1/files /v1/complete",
        f"            credential  anthropic, is there, from {folder}/key",
        f"client    agent: token is there, from {folder}/token",
        f"client    other: token is there, from {folder}/other",
        f"client    late: token is MISSING: {folder}/late is not there",
        "timeouts  connect 10 s, headers 600 s, idle 330 s, request_body 30 s, write 120 s",
        "drain     30 s",
    ]


async def test_check_shows_no_secret(folder: Path) -> None:
    """Not a part of one."""
    shown = "\n".join(await describe(settings_of(folder)))
    for secret in (API_KEY, TOKEN, OTHER):
        assert secret[6:] not in shown


async def test_check_shows_warnings_and_that_anybody_may_call(folder: Path) -> None:
    """What is allowed and hardly meant."""
    lines = await describe(settings_of(folder, SHORT + "timeout: 5\n"))
    assert "client    whoever is on this host: no clients are declared" in lines
    place = f"{folder}/agent.yaml:3: timeout"
    assert lines[-1].startswith(f"warning   {place}: a top-level key is not the relay's")


async def test_check_says_what_is_wrong_with_values(folder: Path) -> None:
    """Of credentials and tokens alike, and of none more than that."""
    (folder / "key").write_text(f'"{API_KEY}"')
    (folder / "token").write_text("changeme")
    (folder / "other").write_text(API_KEY)
    lines = await describe(settings_of(folder))
    assert [line for line in lines if line.startswith("warning")] == [
        (
            "warning   value of credential anthropic: has quotes around it, "
            "which would be sent too: "
            "write it without them"
        ),
        "warning   value of client agent's token: is a placeholder: put the real value there",
        (
            "warning   value of client other's token: is an API's credential, "
            "and agents would hold it: make another token, with relay token"
        ),
    ]
    assert API_KEY[4:] not in "\n".join(lines)
