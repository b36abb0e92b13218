"""What ``relay check`` shows."""

from pathlib import Path

import pytest

from relay.commands.check import describe
from relay.proxy.hop_words import OR_A_HOP
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
        "                        what answers there gets it; an LLM proxy as a hop does not:",
        f"                        {OR_A_HOP} (docs/upgrading.md)",
        f"client    agent: token is there, from {folder}/token",
        f"client    other: token is there, from {folder}/other",
        f"client    late: token is MISSING: {folder}/late is not there",
        "timeouts  connect 10 s, headers 600 s, idle 330 s, request_body 30 s, write 120 s",
        "drain     30 s",
    ]


async def test_check_shows_until_when_a_value_lasts(folder: Path) -> None:
    """Or that it has ended, and who renews it."""
    for end, said in (
        ("2999-01-15T08:00:00Z", "is there, from {}, until 2999-01-15 08:00:00 UTC"),
        ("2020-01-15T08:00:00Z", "is MISSING: {} ended at 2020-01-15 08:00:00 UTC"),
    ):
        (folder / "key").write_text(f'{{"value": "{API_KEY}", "expires_at": "{end}"}}')
        lines = await describe(settings_of(folder))
        state = said.format(f"{folder}/key")
        assert f"            credential  anthropic, {state}" in lines
    assert lines[-1] == (
        "warning   value of credential anthropic: expired at 2020-01-15 08:00:00 UTC: "
        "have it renewed by what it is from"
    )


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


CHAIN = """\
grants: [{name: anthropic, source: {file: key}}]
claude:
  hops:
    - {name: headroom, url: http://localhost:8787}
    - name: guard
      url: http://guard.example:9000/in
      if_down: skip
      pass: {file: pass}
      headers: {X-Guard: {env: NO_SUCH_VARIABLE_OF_OURS}}
relays:
  anthropic:
    headers: {X-Team: {file: key}}
"""


def part(lines: list[str], begin: str, end: str) -> list[str]:
    """Return the lines from the first that begins so up to the next that begins so."""
    first = next(index for index, line in enumerate(lines) if line.startswith(begin))
    length = next(index for index, line in enumerate(lines[first:]) if line.startswith(end))
    return lines[first : first + length]


async def test_check_draws_a_chain_and_says_what_to_set(folder: Path) -> None:
    """Leg by leg, with the place of the credential; for each hop where it sends on to."""
    (folder / "pass").write_text(TOKEN)
    lines = await describe(settings_of(folder, CHAIN + "returns: ['127.0.0.1:1', '10.9.9.1:2']\n"))
    assert part(lines, "returns", "client") == [
        "returns   127.0.0.1:1",
        "returns   10.9.9.1:2",
        "relay     /relay/anthropic forwards to https://api.anthropic.com, API anthropic",
        "            chain       agent -> headroom http://localhost:8787",
        "                        -> guard http://guard.example:9000/in, skipped while it is down",
        "                        -> https://api.anthropic.com, credential in x-api-key",
        "            paths       /v1/messages /v1/models /v1/files /v1/complete",
        f"            credential  anthropic, is there, from {folder}/key",
        f"            header      X-Team, is there, from {folder}/key",
        "hop       anthropic/headroom at http://localhost:8787",
        "            is to send on to http://127.0.0.1:1/anthropic/headroom",
        "            in Headroom:",
        "              ANTHROPIC_TARGET_API_URL=http://127.0.0.1:1/anthropic/headroom",
        "            in LiteLLM, or as api_base in its model_list:",
        "              ANTHROPIC_API_BASE=http://127.0.0.1:1/anthropic/headroom",
        "hop       anthropic/guard at http://guard.example:9000/in",
        "            is to send on to http://10.9.9.1:2/anthropic/guard",
        "            in Headroom:",
        "              ANTHROPIC_TARGET_API_URL=http://10.9.9.1:2/anthropic/guard",
        "            in LiteLLM, or as api_base in its model_list:",
        "              ANTHROPIC_API_BASE=http://10.9.9.1:2/anthropic/guard",
        f"            pass        is there, from {folder}/pass",
        "            header      X-Guard, is MISSING: $NO_SUCH_VARIABLE_OF_OURS is not set",
    ]
    shown = "\n".join(lines)
    assert API_KEY[6:] not in shown
    assert TOKEN[6:] not in shown


async def test_check_says_where_a_hop_may_not_come_back(folder: Path) -> None:
    """Where only this host is listened on, or nothing that there is."""
    local = "            which only this host reaches: name another in returns for a hop elsewhere"
    lines = await describe(settings_of(folder, CHAIN))
    assert lines.count(local) == 1
    assert lines[lines.index(local) - 1].endswith("http://127.0.0.1:8485/anthropic/guard")
    lines = await describe(settings_of(folder, CHAIN + "returns: 'no-such-one0:1'\n"))
    later = "            is to send on to an address of returns: none of them is there yet"
    assert lines.count(later) == 2


async def test_check_names_the_variables_of_openais_api(folder: Path) -> None:
    """Of which one LLM proxy wants ``/v1`` in the address."""
    text = "grants: [openai]\nrelays: {openai: {hops: [{name: h, url: http://localhost:1}]}}\n"
    lines = [line.strip() for line in await describe(settings_of(folder, text))]
    assert "-> https://api.openai.com, credential in Authorization" in lines
    assert "OPENAI_TARGET_API_URL=http://127.0.0.1:8485/openai/h" in lines
    assert "OPENAI_BASE_URL=http://127.0.0.1:8485/openai/h/v1" in lines


async def test_check_shows_returns_only_where_hops_come_back(folder: Path) -> None:
    """Without hops nobody listens there."""
    lines = await describe(settings_of(folder, SHORT))
    assert not any(line.startswith(("returns", "hop")) for line in lines)


async def test_check_shows_who_may_spend_what(folder: Path) -> None:
    """Of clients, of those of a folder, and of all together."""
    lines = await describe(
        settings_of(
            folder,
            SHORT
            + "limits: [{usd: 300, per: month}]\n"
            + "clients:\n"
            + "  - name: agent\n    token: {file: token}\n    relays: [anthropic]\n"
            + "    limits: [{at_once: 8}]\n"
            + "  - {name: sandbox, folder: clients, limits: [{tokens: 5e6, per: session}]}\n",
        )
    )
    start = lines.index(f"client    agent: token is there, from {folder}/token")
    assert lines[start + 1 : start + 6] == [
        "            relays      anthropic",
        "            limit       8 calls at once",
        f"clients   sandbox: each file in {folder}/clients",
        "            limit       5,000,000 tokens per session",
        "limit     $300.00 per month, of all together",
    ]


EGRESS = """\
grants: [anthropic]
claude:
  hops: [{name: headroom, url: "http://localhost:8787"}]
egress: {url: "http://proxy.corp:3128", credential: {file: proxy}}
"""


async def test_check_draws_the_way_out(folder: Path) -> None:
    """Where the chain leaves, and whether what the proxy wants is there."""
    (folder / "proxy").write_text("corp-relay:Pw-7Hq2Zt9Vk4Nc8")
    lines = await describe(settings_of(folder, EGRESS))
    out = "-> https://api.anthropic.com through the proxy http://proxy.corp:3128"
    assert f"                        {out}, credential in x-api-key" in lines
    state = f"credential is there, from {folder}/proxy"
    assert f"            egress      http://proxy.corp:3128, {state}" in lines
    assert "Pw-7Hq2Zt9Vk4Nc8" not in "\n".join(lines)
    (folder / "proxy").write_text("corp-relay")
    name = "value of credential for the proxy http://proxy.corp:3128"
    lines = await describe(settings_of(folder, EGRESS))
    assert f"warning   {name}: has no colon: write user:password there" in lines
    (folder / "proxy").unlink()
    lines = await describe(settings_of(folder, EGRESS))
    state = f"credential is MISSING: {folder}/proxy is not there"
    assert f"            egress      http://proxy.corp:3128, {state}" in lines
    lines = await describe(settings_of(folder, EGRESS.replace(", credential: {file: proxy}", "")))
    assert "            egress      http://proxy.corp:3128, without a credential" in lines
