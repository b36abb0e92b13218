"""One stack for the tests that only call, and an agent's container beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.stack import Agent, Stack, eventually, get, running_stack

SECRETS = {
    "anthropic_api_key": "sk-ant-api03-e2eRealKey0000000000000000000000000000000000AA",
    "claude_code_oauth_token": "sk-ant-oat01-e2eRealOauth000000000000000000000000000AA",
    "openai_api_key": "sk-proj-e2eRealOpenAi000000000000000000000000000000000AA",
    "corp_key": "corp-e2eRealCorp00000000000000000000000000000AA",
}

CONFIG = """\
grants:
  - anthropic
  - claude
  - openai
  - name: corp
    source: {file: /run/secrets/corp_key}
    header: X-Corp-Key
    format: "Key {}"
    remove: [x-corp-user]
    add: {x-corp-team: agents}
claude:
  base_url: {headroom}
relays:
  anthropic: {grant: anthropic}
  subscription: {url: "{headroom}", grant: claude}
  openai: {url: "{headroom}"}
  corp: {url: "{headroom}", grant: corp, api: anthropic}
"""


@pytest.fixture(scope="session")
def secrets() -> dict[str, str]:
    """The made-up credentials that the relay holds."""
    return SECRETS


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The relay, Prometheus and the stand-ins, with credentials for every grant."""
    with running_stack(
        "relay-e2e",
        config=CONFIG,
        profiles=("demo",),
        services=("relay", "prometheus", "demo-api", "demo-headroom"),
        secrets=SECRETS,
        for_internet=True,
    ) as running:
        running.wait_for_line("relay", f"relays on {running.gateway}")
        running.wait_for_line("demo-api", "listening")
        yield running


@pytest.fixture(scope="session")
def agent_container(stack: Stack) -> Iterator[Agent]:
    """An agent's container that lives as long as the stack."""
    with Agent(stack) as agent:
        yield agent


@pytest.fixture
def agent(agent_container: Agent, stack: Stack) -> Agent:
    """The agent, with nothing on the stand-in's record."""
    eventually(
        lambda: get(f"http://127.0.0.1:{stack.headroom_port}/livez").status == 200 or None,
        "the stand-in",
    )
    stack.forget_records()
    return agent_container
