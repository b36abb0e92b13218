"""What somebody could do who had taken over one of the stack's processes: looked at from inside."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import probe
from tests.e2e.stack import Agent, Stack, eventually

RUNNING = ("relay", "demo-api", "demo-headroom")
# Where each of those that run once may write: what it is there to make.
LEDGER = "/var/lib/relay"
RUN_ONCE = {
    "token": ["/run/relay"],
    "hop-token": ["/run/hop"],
    "variables": ["/run/variables"],
    "demo-setup": ["/run/demo"],
    "demo-agent": [],
}

# Which files, and which processes' variables and arguments, hold any of the lines of stdin.
SEARCH = """
import contextlib, glob, os, sys
wanted = [line.encode() for line in sys.stdin.read().split()]
files = glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline")
for folder, folders, names in os.walk("/"):
    if folder == "/":
        folders[:] = [each for each in folders if each not in ("proc", "sys", "dev")]
    files += [os.path.join(folder, name) for name in names]
for file in files:
    with contextlib.suppress(OSError):  # dangling, gone, or another user's to read
        if os.path.isfile(file) and any(each in open(file, "rb").read() for each in wanted):
            print(file)
"""


def look_inside(stack: Stack, service: str) -> dict[str, Any]:  # JSON
    """Run the probe in a service's container, or in one made like it."""
    how = ["exec", "-T", service, "python", "-"]
    if service in RUN_ONCE:
        how = ["run", "--rm", "-T", "--no-deps", "--entrypoint", "python", service, "-"]
    found = json.loads(stack.docker(*how, stdin=Path(probe.__file__).read_text()))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def relays(stack: Stack) -> dict[str, Any]:  # JSON
    """What there is inside the relay's container."""
    return look_inside(stack, "relay")


def check_process(status: dict[str, str]) -> None:
    """Not root by any of its ids or groups, no capability anywhere, no way to gain one."""
    ids = [*status["Uid"].split(), *status["Gid"].split(), *status["Groups"].split()]
    assert "0" not in ids
    capabilities = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert {name: int(status[name], 16) for name in capabilities} == dict.fromkeys(capabilities, 0)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


@pytest.mark.parametrize("service", [*RUNNING, *RUN_ONCE])
def test_a_service_can_do_nothing_but_its_work(stack: Stack, service: str) -> None:
    """No rights, nowhere to write to, bounded processes and memory, and no core dump."""
    found = look_inside(stack, service)
    check_process(found["status"])
    # Kernel message queues, which are no files and hold 800 KB at most, can't be left out.
    written = set(found["writing"].pop("written", [])) - {"/dev/mqueue"}
    assert written == set([LEDGER] if service == "relay" else RUN_ONCE.get(service, []))
    assert set(found["writing"].pop("EACCES", [])) <= {"/dev", "/dev/pts"}
    assert set(found["writing"]) == {"EROFS"}
    assert "/" in found["writing"]["EROFS"]
    assert found["pids"] == "128"
    assert found["memory"] == str(512 * 1024 * 1024)
    # None beyond the memory: version 1 counts both together; some kernels count no swap at all.
    assert found["swap"] in ("0", found["memory"], None)
    assert found["core"] == [0, 0]
    assert not any(target.endswith("docker.sock") for target in found["mounts"])


def test_prometheus_can_do_nothing_but_its_work(stack: Stack) -> None:
    """The same, in an image that is not ours: what it writes is its volume, and a scrap of /tmp."""
    status = stack.docker("exec", "-T", "prometheus", "cat", "/proc/1/status")
    check_process(dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line))
    for folder in ("/", "/etc/prometheus", "/usr/bin", "/etc/prometheus/rules"):
        with pytest.raises(AssertionError, match="Read-only file system"):
            stack.docker("exec", "-T", "prometheus", "touch", f"{folder}/.probe")


def test_the_relay_sees_only_the_folders_it_is_given(relays: dict[str, Any]) -> None:
    """Each of them read-only but the ledger's; nothing of the host's but these."""
    given = {"/etc/relay", "/run/secrets", "/run/variables", "/run/relay", "/run/demo"}
    given |= {"/run/home/.claude", "/run/hop"}
    dockers = {"/", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts", "/usr/sbin/docker-init"}
    mounts = relays["mounts"]
    kernels = {each for each in mounts if each.startswith(("/proc", "/sys", "/dev"))}
    assert set(mounts) - kernels - {"/sbin/docker-init", LEDGER} <= given | dockers
    assert given <= set(mounts)
    assert all("ro" in mounts[target] for target in given | {"/"})
    assert "/dev/shm" not in mounts


def test_a_credential_from_a_file_is_in_the_file_alone(
    stack: Stack, relays: dict[str, Any], secrets: dict[str, str]
) -> None:
    """Files that their owner alone may read serve; and no variable of the process has the value."""
    assert relays["secrets"] == {name: ["0400", stack.uid] for name in secrets}
    assert stack.ready().status == 200
    for secret in secrets.values():
        assert secret not in str(relays["environment"])
        assert secret not in stack.docker("config")


def test_the_relay_takes_all_descriptors_there_are(relays: dict[str, Any]) -> None:
    """Each stream takes two, and nobody should have to think of it."""
    soft, hard = relays["descriptors"]
    assert soft == hard
    assert hard >= 10_000


def test_the_relay_is_known_to_be_healthy(stack: Stack) -> None:
    """By its own health check, inside all of this."""
    eventually(lambda: "(healthy)" in stack.docker("ps", "relay") or None, "a healthy relay")


def test_no_credential_is_anywhere_in_the_agents_container(
    stack: Stack, agent: Agent, secrets: dict[str, str]
) -> None:
    """Neither in a file nor in a process, also for root; the worthless token is, as it should."""
    agent.call("/relay/anthropic/v1/messages")
    token = stack.docker("exec", "-T", "relay", "cat", "/run/relay/relay_token").strip()
    assert search(agent, token) == ["/run/relay/relay_token"]
    assert any(file.startswith("/proc/") for file in search(agent, "infinity"))  # what it runs
    assert search(agent, *secrets.values()) == []


def search(agent: Agent, *values: str) -> list[str]:
    """Return the files of the agent's container that hold one of the values.

    Looked for as root, who may read every file, and as the agent, who may read its processes.
    """
    found: set[str] = set()
    for user in ("0", "65534"):
        command = ["docker", "exec", "-i", "--user", user, agent.container_id]
        command += ["python", "-c", SEARCH]
        done = subprocess.run(
            command, input="\n".join(values), capture_output=True, text=True, check=True
        )
        found.update(done.stdout.split())
    return sorted(found)
