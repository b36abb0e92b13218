"""What arrives at Headroom: the real credential, and nothing of the agent's own."""

from __future__ import annotations

import pytest

from tests.e2e.stack import Agent, Stack, get

TOKEN_HEADERS = {"cookie": "session=1", "x-goog-api-key": "g", "x-headroom-base-url": "http://x"}


def headers_of(record: dict[str, object]) -> list[tuple[str, str]]:
    """Return the headers that the stand-in received, names in lower case."""
    headers = record["headers"]
    assert isinstance(headers, list)
    return [(name.lower(), value) for name, value in headers]


def credential_headers(record: dict[str, object]) -> list[tuple[str, str]]:
    """Return those of the received headers that could hold a credential."""
    names = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "x-corp-key")
    return [(name, value) for name, value in headers_of(record) if name in names]


def received(stack: Stack) -> dict[str, object]:
    """Return the one request that the stand-in has received."""
    (record,) = stack.records("done", 1)
    return record


def token_of(stack: Stack) -> str:
    """Return the agents' token."""
    return stack.docker("exec", "relay", "cat", "/run/relay/relay_token").strip()


def test_anthropic_sends_the_key_and_not_the_token(
    stack: Stack, agent: Agent, secrets: dict[str, str]
) -> None:
    """``anthropic``: one x-api-key with the key; no Authorization; a version if none was sent."""
    report = agent.call("/relay/anthropic/v1/messages?beta=true", headers=TOKEN_HEADERS)
    assert report.status == 200
    record = received(stack)
    assert record["target"] == "/v1/messages?beta=true"
    assert credential_headers(record) == [("x-api-key", secrets["anthropic_api_key"])]
    assert ("anthropic-version", "2023-06-01") in headers_of(record)
    assert record["routed_to"] == "anthropic"
    assert token_of(stack) not in str(record)
    assert not any(name.startswith("x-headroom") for name, _ in headers_of(record))


def test_claude_sends_the_oauth_token_and_the_beta(
    stack: Stack, agent: Agent, secrets: dict[str, str]
) -> None:
    """``claude``: a bearer, and the OAuth beta merged with the agent's into one line."""
    headers = {"anthropic-beta": "files-api-2025-04-14", "anthropic-version": "2023-01-01"}
    report = agent.call("/relay/subscription/v1/messages", headers=headers)
    assert report.status == 200
    record = received(stack)
    assert credential_headers(record) == [
        ("authorization", f"Bearer {secrets['claude_code_oauth_token']}")
    ]
    betas = [value for name, value in headers_of(record) if name == "anthropic-beta"]
    assert betas == ["files-api-2025-04-14, oauth-2025-04-20"]
    assert ("anthropic-version", "2023-01-01") in headers_of(record)


def test_openai_sends_the_bearer(stack: Stack, agent: Agent, secrets: dict[str, str]) -> None:
    """``openai``: a bearer; no x-api-key, no api-key, nothing of Anthropic's."""
    report = agent.call("/relay/openai/v1/chat/completions", headers={"api-key": "worthless"})
    assert report.status == 200
    record = received(stack)
    assert credential_headers(record) == [("authorization", f"Bearer {secrets['openai_api_key']}")]
    assert "anthropic-version" not in dict(headers_of(record))


def test_a_custom_grant_sends_what_it_says(
    stack: Stack, agent: Agent, secrets: dict[str, str]
) -> None:
    """Custom: its header in its format; what it removes is gone, what it adds is there."""
    report = agent.call("/relay/corp/v1/messages", headers={"x-corp-user": "mallory"})
    assert report.status == 200
    record = received(stack)
    assert credential_headers(record) == [("x-corp-key", f"Key {secrets['corp_key']}")]
    assert ("x-corp-team", "agents") in headers_of(record)
    assert "x-corp-user" not in dict(headers_of(record))


@pytest.mark.parametrize("token", ["none", "wrong"])
def test_without_the_token_nothing_arrives(stack: Stack, agent: Agent, token: str) -> None:
    """401, in the API's shape, and not to be retried."""
    headers = {} if token == "none" else {"x-api-key": "relay-guessed"}
    report = agent.call("/relay/anthropic/v1/messages", token="none", headers=headers)
    assert report.status == 401
    assert '"authentication_error"' in report.text
    assert report.header("x-should-retry") == "false"
    assert stack.records() == []


@pytest.mark.parametrize(
    "path",
    [
        "/relay/anthropic/stats",
        "/relay/anthropic/admin/keys",
        "/relay/anthropic/v1/retrieve",
        "/relay/anthropic/v1/chat/completions",
        "/relay/anthropic/v1/messages/../../stats",
        "/relay/anthropic/v1/messages/%2e%2e/%2e%2e/stats",
    ],
)
def test_headrooms_own_pages_are_out_of_reach(stack: Stack, agent: Agent, path: str) -> None:
    """Nothing but the API's paths reaches Headroom, which trusts whoever calls from loopback."""
    assert agent.call(path).status in (400, 403)
    assert stack.records() == []


def test_a_credential_file_replaced_while_running_is_used_at_once(
    stack: Stack, agent: Agent, secrets: dict[str, str]
) -> None:
    """The next call carries the new value; no restart, no signal."""
    fresh = "sk-ant-api03-e2eRotatedKey00000000000000000000000000000AA"
    stack.write_secret("anthropic_api_key", fresh)
    try:
        assert agent.call("/relay/anthropic/v1/messages").status == 200
    finally:
        stack.write_secret("anthropic_api_key", secrets["anthropic_api_key"])
    assert credential_headers(received(stack)) == [("x-api-key", fresh)]


def test_no_secret_is_in_the_logs_or_the_metrics(
    stack: Stack, agent: Agent, secrets: dict[str, str]
) -> None:
    """Whatever was called before: neither credentials, nor the token, nor a query or body."""
    body = '{"prompt": "a-private-thought"}'
    agent.call("/relay/anthropic/v1/messages?q=a-private-query", body=body)
    agent.call("/relay/anthropic/v1/messages", token="none", headers={"x-api-key": "a-wrong-token"})
    log = stack.logs("relay")
    assert "a-private" not in log
    assert "a-wrong-token" not in log
    pages = [get(f"{stack.admin_url}/{page}").text for page in ("metrics", "readyz", "calls")]
    assert 'outcome="ok"' in pages[0]
    exposed = log + "".join(pages) + stack.docker("exec", "relay", "relay", "check")
    for secret in (*secrets.values(), token_of(stack)):
        assert secret not in exposed
