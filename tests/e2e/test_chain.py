"""Headroom as compose.yaml has it: on a network of its own, between two legs of the relay's.

Headroom is the real one, the API at the end is a stand-in: the demo's, on the host's loopback.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Final

import pytest

from tests.e2e.memory import in_memory
from tests.e2e.stack import Agent, Stack, eventually, resting_stack, running_stack
from tests.e2e.test_credentials import credential_headers
from tests.e2e.test_hardening import SEARCH

KEY: Final = "sk-ant-api03-e2eChainedKey00000000000000000000000000AA"
MESSAGES: Final = "/relay/anthropic/v1/messages"
HOP: Final = """\
    - name: headroom
      url: http://headroom:8787
      headers: {X-Headroom-Proxy-Token: {file: /run/hop/headroom_proxy_token}}
"""
CONFIG: Final = f"grants: [anthropic]\nclaude:\n  base_url: {{headroom}}\n  hops:\n{HOP}"
PROMPT: Final = {"model": "claude-haiku-4-5", "max_tokens": 9}
MESSAGE: Final = json.dumps(PROMPT | {"messages": [{"role": "user", "content": "Hello?"}]})

# Which of the addresses on standard input can be connected to, and whether a name is known.
REACH: Final = """
import socket, sys
for line in sys.stdin.read().split():
    host, _, port = line.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
        print(line)
    except OSError:
        pass
try:
    print(socket.gethostbyname("example.com"))
except OSError:
    pass
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The relay, Headroom, and a stand-in for the API."""
    with running_stack(
        "relay-chain",
        config=CONFIG,
        profiles=("demo", "headroom"),
        services=("relay", "headroom", "demo-api", "prometheus"),
        secrets={"anthropic_api_key": KEY},
    ) as running:
        running.wait_for_line("relay", f"relays on {running.gateway}")
        running.wait_for_line("demo-api", "listening")
        eventually(lambda: "(healthy)" in running.docker("ps", "headroom") or None, "Headroom")
        yield running


@pytest.fixture(scope="module")
def agent_container(stack: Stack) -> Iterator[Agent]:
    """An agent's container."""
    with Agent(stack) as agent:
        yield agent


def printed(*command: str, stdin: str = "") -> list[str]:
    """Run a command and return the lines that it prints."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def inside_headroom(stack: Stack, program: str, stdin: str, user: str = "10002") -> list[str]:
    """Run a program in Headroom's container, and return the lines that it prints."""
    container = stack.container_id("headroom")
    command = ("docker", "exec", "-i", "--user", user, container, "python", "-c", program)
    return printed(*command, stdin=stdin)


def test_a_call_goes_by_way_of_headroom_and_the_api_alone_sees_the_key(
    stack: Stack, agent: Agent
) -> None:
    """Headroom adds its own headers to the answer, and is called with what it wants."""
    report = agent.call(MESSAGES, body=MESSAGE)
    assert report.status == 200, report.text
    assert report.header("x-headroom-model") or report.header("x-headroom-tokens-before")
    (record,) = stack.records("done", 1)
    assert credential_headers(record) == [("x-api-key", KEY)]
    passed = {"relay": "anthropic", "hop": "headroom", "outcome": "passed"}
    eventually(lambda: stack.metric("relay_hop_calls_total", **passed) or None, "the hop's call")


def test_neither_key_nor_token_is_anywhere_in_headrooms_container(
    stack: Stack, agent: Agent
) -> None:
    """Not in what Docker knows of it, its variables, arguments, files, log or memory."""
    assert agent.call(MESSAGES, body=MESSAGE).status == 200
    token = stack.docker("exec", "-T", "relay", "cat", "/run/relay/relay_token").strip()
    hop_token = stack.docker("exec", "-T", "relay", "cat", "/run/hop/headroom_proxy_token").strip()
    shown = "\n".join(printed("docker", "inspect", stack.container_id("headroom")))
    shown += stack.logs("headroom")
    for secret in (KEY, token):
        assert secret not in shown
        assert inside_headroom(stack, SEARCH, secret) == []
        assert inside_headroom(stack, SEARCH, secret, user="0") == []
    assert hop_token not in shown
    assert "/run/hop/headroom_proxy_token" in inside_headroom(stack, SEARCH, hop_token)
    # The search finds what is there.
    found = in_memory(stack.container_id("headroom"), KEY, token, hop_token)
    assert found == {hop_token}


def test_headroom_reaches_the_return_address_alone(stack: Stack) -> None:
    """No other port of the relay's there, not the host's loopback, the internet, or a name."""
    ports = (stack.relay_port, stack.admin_port, stack.headroom_port, stack.prometheus_port)
    back = f"{stack.hops_gateway}:{stack.return_port}"
    tried = [back, *(f"{stack.hops_gateway}:{port}" for port in ports)]
    tried += [f"127.0.0.1:{port}" for port in (stack.return_port, *ports)]
    tried += [f"{stack.gateway}:{port}" for port in (stack.return_port, stack.admin_port)]
    tried += ["1.1.1.1:443", "8.8.8.8:53"]
    assert inside_headroom(stack, REACH, "\n".join(tried)) == [back]


def test_what_leads_from_one_network_to_the_others_gateway_leads_nowhere(
    stack: Stack, agent: Agent
) -> None:
    """Docker may let both reach all addresses of the host: then a token or a pass is asked for."""
    call = f"""
import http.client as h, socket
c = h.HTTPConnection("{stack.gateway}", {stack.relay_port}, timeout=3)
try:
    c.request("POST", "{MESSAGES}", "{{}}", {{"x-api-key": "sk-ant-api03-a-pass"}})
    print(c.getresponse().status)
except OSError:
    print("unreachable")
"""
    assert inside_headroom(stack, call, "") in (["401"], ["unreachable"])
    report = agent.call(
        "/anthropic/headroom/v1/messages", host=stack.hops_gateway, port=stack.return_port
    )
    assert report.status in (401, None)
    assert not agent.call("", connect_only=True, host=stack.hop_address, port=8787).connected


def test_headroom_wants_its_token_from_the_host_as_well(stack: Stack) -> None:
    """Whoever else reaches it is refused: the relay has the token by its hop's headers."""
    program = "import http.client as h\nc = h.HTTPConnection('headroom', 8787, timeout=9)\n"
    program += "c.request('POST', '/v1/messages', '{}')\nprint(c.getresponse().status)"
    assert stack.docker("exec", "-T", "relay", "python", "-c", program).strip() == "401"


def test_headroom_of_ones_own_is_where_its_address_says() -> None:
    """HEADROOM_ADDRESS=127.0.0.1: on the host, and it gets a pass in the key's place."""
    with resting_stack("relay-hop-on-host", config="", profiles=("demo",)) as stack:
        hop = HOP.replace("8787", str(stack.headroom_port))
        stack.write_config(f"grants: [anthropic]\nclaude:\n  hops:\n{hop}")
        stack.write_secret("anthropic_api_key", KEY)
        stack.variables["HEADROOM_ADDRESS"] = "127.0.0.1"
        stack._env_file()
        stack.compose.services = ["relay", "demo-api"]
        stack.compose.start()
        stack.wait_for_line("relay", f"relays on {stack.gateway}")
        stack.wait_for_line("demo-api", "listening")
        with Agent(stack) as agent:
            agent.call(MESSAGES, body=MESSAGE)
        (record,) = stack.records("done", 1)
        ((name, given),) = credential_headers(record)
        assert name == "x-api-key"
        assert given.startswith("sk-ant-api03-")
        assert given != KEY
