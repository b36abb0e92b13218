"""What the agent can reach, what it cannot, and how others join."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.stack import PROJECT, Agent, Stack, eventually

EXAMPLE = PROJECT / "examples" / "llm-proxy"


def test_the_agent_reaches_the_relay_and_nothing_else(stack: Stack, agent: Agent) -> None:
    """Not the internet, not Headroom, not the admin pages, not Prometheus."""
    assert agent.call("", connect_only=True).connected
    unreachable = [
        (stack.gateway, stack.headroom_port),
        (stack.gateway, stack.admin_port),
        (stack.gateway, stack.prometheus_port),
        ("127.0.0.1", stack.headroom_port),
    ]
    for host, port in unreachable:
        report = agent.call("", connect_only=True, host=host, port=port)
        assert not report.connected, (host, port)
        assert report.error in ("TimeoutError", "ConnectionRefusedError", "OSError")


def test_the_agent_has_no_internet_and_an_ordinary_container_has(
    stack: Stack, agent: Agent
) -> None:
    """Fetching a package fails on the agents' network, and works on Docker's own bridge."""
    fetch = "python -m pip download -q --no-deps --no-cache-dir --disable-pip-version-check"
    command = f"HOME=/tmp {fetch} --retries 0 --timeout 3 --dest /tmp/fetched typing-extensions"
    with Agent(stack, network="bridge") as ordinary:
        status, output = ordinary.run("sh", "-c", command)
        assert status == 0, output
    status, output = agent.run("sh", "-c", command)
    assert status != 0, output


def test_nothing_for_a_hop_that_is_not_up_leaves_the_host(stack: Stack) -> None:
    """Its network is there all the same: another's machine with that address is not asked."""
    program = "import socket\nwith socket.socket(type=socket.SOCK_DGRAM) as s:\n"
    program += " s.connect(('headroom', 8787)); print(*s.getpeername(), s.getsockname()[0])"
    said = stack.docker("exec", "-T", "relay", "python", "-c", program).split()
    assert said == [stack.hop_address, "8787", stack.hops_gateway]


def test_prometheus_scrapes_the_relays_series(stack: Stack, agent: Agent) -> None:
    """Read back by PromQL: the target is up, and every metric there is has arrived."""
    agent.call("/relay/anthropic/v1/messages")
    eventually(lambda: stack.query('up{job="relay"} == 1') or None, "the scrape")
    for series in (
        'relay_requests_total{relay="anthropic",operation="messages",outcome="ok"} > 0',
        'relay_request_duration_seconds_count{relay="anthropic",operation="messages"} > 0',
        'relay_time_to_first_byte_seconds_count{relay="anthropic"} > 0',
        'relay_requests_in_flight{relay="anthropic"} == 0',
        'relay_credential_ready{relay="anthropic",grant="anthropic"} == 1',
        'relay_upstream_up{relay="anthropic"} == 1',
        'relay_rejections_total{reason="token"} >= 0',
        "relay_build_info",
    ):
        assert eventually(lambda query=series: stack.query(query) or None, series)  # type: ignore[misc]  # mypy cannot infer a lambda's default


PROGRAM = (
    "import json, os, urllib.request as u;"
    "q = u.Request(os.environ['ANTHROPIC_BASE_URL'] + '/v1/models',"
    " headers={'authorization': 'Bearer ' + os.environ['ANTHROPIC_AUTH_TOKEN']});"
    "print(json.load(u.urlopen(q, timeout=20))['data'][0]['id'])"
)


@pytest.mark.parametrize("with_internet", [False, True])
def test_another_compose_project_joins_by_the_readmes_lines(
    stack: Stack, tmp_path: Path, with_internet: bool
) -> None:
    """A user's own container, attached from a project of its own, makes a call."""
    host = "host.docker.internal" if with_internet else stack.gateway
    environment = stack.docker("exec", "-T", "relay", "relay", "env", "--host", host)
    assert f"http://{host}:{stack.relay_port}/relay/anthropic" in environment
    file = "compose.internet.yaml" if with_internet else "compose.yaml"
    (tmp_path / "agent.env").write_text(environment)
    (tmp_path / "compose.yaml").write_text((EXAMPLE / file).read_text())
    own = {
        "COMPOSE_PROJECT_NAME": "relay-e2e-neighbour",
        "AGENT_IMAGE": "python:3.13-slim-trixie",
        "RELAY_NETWORK": stack.network,
    }
    output = run_compose(tmp_path, own, "run", "--rm", "-T", "agent", "python", "-c", PROGRAM)
    assert output.strip().startswith("claude-")
    run_compose(tmp_path, own, "down")


def run_compose(folder: Path, own: dict[str, str], *arguments: str) -> str:
    """Run docker compose in another project's folder and return what it prints."""
    done = subprocess.run(
        ["docker", "compose", *arguments],
        cwd=folder,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
