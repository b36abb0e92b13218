"""What ``relay env`` tells each kind of agent."""

import json
from pathlib import Path
from typing import get_args

import pytest

from relay.commands import CommandError
from relay.commands.agents import KINDS, Agent
from relay.commands.arguments import AGENTS, FORMATS
from relay.commands.env import AgentChoice, agent_environment, ambiguities
from relay.commands.env_formats import NOTATIONS
from relay.config import load
from tests.harness.agent_yaml import OTHER, SHORT, TOKEN, settings_of

SEVERAL = "grants: [anthropic]\nrelays: {first: {url: http://h}, second: {url: http://h}}\n"
ANTHROPIC_URL = "http://127.0.0.1:8484/relay/anthropic"
OPENAI_URL = "http://127.0.0.1:8484/relay/openai/v1"
CLAUDE_CODE = {
    "ANTHROPIC_BASE_URL": ANTHROPIC_URL,
    "ANTHROPIC_AUTH_TOKEN": TOKEN,
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
    "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING": "1",
    "CLAUDE_CODE_PROPAGATE_TRACEPARENT": "1",
    "ENABLE_TOOL_SEARCH": "true",
}
DIRECT = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that hold the tokens."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "other").write_text(OTHER)
    return tmp_path


def test_command_line_and_tables_name_the_same() -> None:
    """The command line holds its own lists, for nothing is imported to print help."""
    assert set(KINDS) == set(get_args(Agent))
    assert set(KINDS) == set(AGENTS)
    assert set(NOTATIONS) == set(FORMATS)


async def test_every_agent_that_could_call_is_told_unless_one_is_named(folder: Path) -> None:
    """Claude Code where Anthropic's API is relayed, Codex and the SDKs where OpenAI's is."""
    environment = await agent_environment(settings_of(folder), AgentChoice())
    openai = {"OPENAI_BASE_URL": OPENAI_URL, "OPENAI_API_KEY": TOKEN}
    assert environment.variables == CLAUDE_CODE | openai | DIRECT
    assert [note.split()[0] for note in environment.notes] == ["Codex", "WebFetch"]


@pytest.mark.parametrize(
    ("agent", "variables"),
    [
        ("claude-code", CLAUDE_CODE),
        ("anthropic", {"ANTHROPIC_BASE_URL": ANTHROPIC_URL, "ANTHROPIC_API_KEY": TOKEN}),
        ("openai", {"OPENAI_BASE_URL": OPENAI_URL, "OPENAI_API_KEY": TOKEN}),
        ("codex", {"OPENAI_API_KEY": TOKEN}),
    ],
)
async def test_one_agent_is_told_what_it_reads(
    folder: Path, agent: Agent, variables: dict[str, str]
) -> None:
    """And nothing of the other API."""
    environment = await agent_environment(settings_of(folder), AgentChoice(agent))
    assert environment.variables == variables | DIRECT


async def test_models_are_discovered_where_that_is_asked_for(folder: Path) -> None:
    """By Claude Code; no other agent would."""
    told = {"CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1"}
    choice = AgentChoice("claude-code", discover_models=True)
    environment = await agent_environment(settings_of(folder), choice)
    assert environment.variables == told | CLAUDE_CODE | DIRECT
    environment = await agent_environment(settings_of(folder), AgentChoice(discover_models=True))
    assert environment.variables.items() > told.items()
    with pytest.raises(CommandError, match="Claude Code alone asks"):
        await agent_environment(settings_of(folder), AgentChoice("codex", discover_models=True))


async def test_opencode_is_told_all_by_one_variable(folder: Path) -> None:
    """Every API that is relayed, and none besides; the token stays in variables of its own."""
    variables = dict(
        (await agent_environment(settings_of(folder), AgentChoice("opencode"))).variables
    )
    told = variables.pop("OPENCODE_CONFIG_CONTENT")
    assert variables == DIRECT | {
        "ANTHROPIC_API_KEY": TOKEN,
        "OPENAI_API_KEY": TOKEN,
        "OPENCODE_AUTH_CONTENT": "{}",
        "OPENCODE_DISABLE_MODELS_FETCH": "true",
    }
    assert TOKEN not in told
    configuration = json.loads(told)
    assert configuration["enabled_providers"] == [*configuration["provider"]]
    assert {name: each["options"] for name, each in configuration["provider"].items()} == {
        "anthropic": {"baseURL": f"{ANTHROPIC_URL}/v1", "apiKey": "{env:ANTHROPIC_API_KEY}"},
        "openai": {"baseURL": OPENAI_URL, "apiKey": "{env:OPENAI_API_KEY}"},
    }
    one = await agent_environment(settings_of(folder), AgentChoice("opencode", relay="anthropic"))
    assert "openai" not in one.variables["OPENCODE_CONFIG_CONTENT"]


async def test_a_client_of_a_folder_is_named(tmp_path: Path) -> None:
    """There are many, and they come and go."""
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "job").write_text(f"{TOKEN}\nexpires 99999999999\n")
    settings = settings_of(tmp_path, SHORT + "clients: [{name: sandbox, folder: clients}]\n")
    environment = await agent_environment(settings, AgentChoice("anthropic", client="job"))
    assert environment.variables["ANTHROPIC_API_KEY"] == TOKEN
    with pytest.raises(CommandError, match="say which client: --client NAME"):
        await agent_environment(settings, AgentChoice("anthropic"))
    with pytest.raises(CommandError, match="no client of that name"):
        await agent_environment(settings, AgentChoice("anthropic", client="nobody"))


async def test_token_is_in_no_repr(folder: Path) -> None:
    """It is a secret, if a small one."""
    assert TOKEN not in repr(await agent_environment(settings_of(folder), AgentChoice()))


@pytest.mark.parametrize(
    ("host", "authority", "direct"),
    [
        (None, "127.0.0.1:8484", "127.0.0.1"),
        ("10.84.84.1", "10.84.84.1:8484", "10.84.84.1"),
        ("10.84.84.1:9000", "10.84.84.1:9000", "10.84.84.1"),
        ("host.docker.internal", "host.docker.internal:8484", "host.docker.internal"),
        ("relay:80", "relay:80", "relay"),
        ("::1", "[::1]:8484", "::1"),
        ("[::1]", "[::1]:8484", "::1"),
        ("[::1]:9000", "[::1]:9000", "::1"),
        ("2001:db8::1", "[2001:db8::1]:8484", "2001:db8::1"),
    ],
)
async def test_address_may_be_the_one_by_which_the_agent_reaches_the_relay(
    folder: Path, host: str | None, authority: str, direct: str
) -> None:
    """With or without a port, an IPv6 address in brackets; and past any proxy."""
    environment = await agent_environment(settings_of(folder, SHORT), AgentChoice(host=host))
    variables = environment.variables
    assert variables["ANTHROPIC_BASE_URL"] == f"http://{authority}/relay/anthropic"
    assert (variables["NO_PROXY"], variables["no_proxy"]) == (direct, direct)


@pytest.mark.parametrize("host", ["", "a b", "$(id)", "h/x", "http://h", "h:0", "u@h", "h:x"])
async def test_host_that_is_none_is_an_error(folder: Path, host: str) -> None:
    """It would end up in a shell."""
    with pytest.raises(CommandError, match="--host must be"):
        await agent_environment(settings_of(folder, SHORT), AgentChoice(host=host))


async def test_first_relay_of_an_api_is_the_agents_unless_one_is_named(folder: Path) -> None:
    """There is one variable for each; what was taken is said."""
    settings = settings_of(folder, SEVERAL)
    urls = [
        (await agent_environment(settings, choice)).variables["ANTHROPIC_BASE_URL"]
        for choice in (AgentChoice(), AgentChoice(relay="second"))
    ]
    assert [url.rpartition("/")[2] for url in urls] == ["first", "second"]
    assert ambiguities(settings, AgentChoice()) == [
        "this is for the relay first; --relay chooses another: second"
    ]
    assert ambiguities(settings, AgentChoice(relay="second")) == []
    assert ambiguities(settings, AgentChoice("codex")) == []
    assert ambiguities(settings_of(folder), AgentChoice()) == []


async def test_where_no_token_is_asked_for_agents_get_something_to_send(folder: Path) -> None:
    """They do not start without a key."""
    environment = await agent_environment(settings_of(folder, SHORT), AgentChoice())
    assert environment.variables["ANTHROPIC_AUTH_TOKEN"] == "unused"


async def test_agent_of_one_api_hears_nothing_of_another(folder: Path) -> None:
    """Nothing is said to Claude Code where only OpenAI's API is relayed."""
    settings = settings_of(folder, "grants: [openai]\nrelays: {r: {url: http://h}}\n")
    environment = await agent_environment(settings, AgentChoice())
    assert set(environment.variables) == {"OPENAI_BASE_URL", "OPENAI_API_KEY", *DIRECT}
    with pytest.raises(CommandError, match="claude-code needs a relay with the API anthropic"):
        await agent_environment(settings, AgentChoice("claude-code"))


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        (AgentChoice(relay="nope"), "no relay of that name; relays here: openai, anthropic"),
        (AgentChoice("codex", relay="anthropic"), "codex needs a relay with the API openai"),
        (AgentChoice(client="nobody"), "no client of that name"),
        (AgentChoice(client="late"), "client late has no token yet: .*/late is not there"),
    ],
)
async def test_what_there_is_not_is_an_error(
    folder: Path, choice: AgentChoice, problem: str
) -> None:
    """It says what there is."""
    with pytest.raises(CommandError, match=problem):
        await agent_environment(settings_of(folder), choice)


async def test_unknown_client_is_an_error_where_there_are_none(folder: Path) -> None:
    """Rather than no token."""
    with pytest.raises(CommandError, match="no client of that name"):
        await agent_environment(settings_of(folder, SHORT), AgentChoice(client="nobody"))


async def test_token_may_be_another_clients(folder: Path) -> None:
    """By its name."""
    environment = await agent_environment(settings_of(folder), AgentChoice(client="other"))
    assert environment.variables["ANTHROPIC_AUTH_TOKEN"] == OTHER


@pytest.mark.parametrize(
    ("allow", "path"),
    [("[/responses]", ""), ("[/v1/responses]", "/v1"), ("[/v1]", "/v1"), ("[/]", "/v1")],
)
async def test_codex_is_told_the_paths_that_its_relay_passes_on(
    tmp_path: Path, allow: str, path: str
) -> None:
    """ChatGPT's backend has them without a version."""
    text = f"grants: [openai]\nrelays: {{chat: {{url: 'http://h/backend', allow: {allow}}}}}\n"
    (tmp_path / "agent.yaml").write_text(text)
    settings = load(tmp_path / "agent.yaml", {})
    told = await agent_environment(settings, AgentChoice(agent="codex"))
    assert told.openai_url == f"http://127.0.0.1:8484/relay/chat{path}"
