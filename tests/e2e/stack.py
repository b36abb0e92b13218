"""The project's compose stack under test, on ports and networks of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

from testcontainers.compose import DockerCompose
from testcontainers.core.container import DockerContainer

from tests.harness.ports import free_ports

PROJECT: Final = Path(__file__).resolve().parents[2]
AGENT_IMAGE: Final = "python:3.13-slim-trixie"
FUSE_SECONDS: Final = 60.0
_ASK_AGAIN_SECONDS: Final = 0.1

Found = TypeVar("Found")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as the tests look at it."""

    status: int
    text: str

    def json(self) -> object:
        """Return the body as data."""
        return json.loads(self.text)


def get(url: str, *, method: str = "GET", body: bytes | None = None) -> Answer:
    """Ask one of the stack's own pages."""
    request = urllib.request.Request(url, data=body, method=method)  # noqa: S310  # always http
    try:
        with urllib.request.urlopen(request, timeout=FUSE_SECONDS) as response:  # noqa: S310  # as above
            return Answer(response.status, response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode())


def eventually(look: Callable[[], Found | None], what: str) -> Found:
    """Return what a look finds, as soon as it does; for things that send no event."""
    never = threading.Event()
    for _ in range(int(FUSE_SECONDS / _ASK_AGAIN_SECONDS)):
        with contextlib.suppress(OSError):
            found = look()
            if found is not None:
                return found
        never.wait(_ASK_AGAIN_SECONDS)
    raise AssertionError(f"waited {FUSE_SECONDS:g} s in vain for {what}")


@dataclass
class Stack:
    """A running stack, and the ways in."""

    name: str
    folder: Path
    profiles: list[str]
    for_internet: bool = False
    """Whether agents on ordinary networks are served as well."""

    def __post_init__(self) -> None:
        relay, admin, headroom, prometheus, back = free_ports(5)
        third = os.getpid() % 200 + 20 + (len(self.name) % 7)
        self.relay_port, self.admin_port = relay, admin
        self.headroom_port, self.prometheus_port = headroom, prometheus
        self.return_port = back
        self.gateway = f"10.86.{third}.1"
        self.hops_gateway, self.hop_address = f"10.88.{third}.1", f"10.88.{third}.2"
        self.network = f"{self.name}-agents"
        self.token_volume = f"{self.name}-token"
        self.uid = os.getuid() or 12345
        self.secrets = self.folder / "secrets"
        self.config = self.folder / "config"
        self.variables = {
            "COMPOSE_PROJECT_NAME": self.name,
            "RELAY_IMAGE": "agent-relay-under-test",
            "RELAY_PORT": str(relay),
            "RELAY_ADMIN_PORT": str(admin),
            "DEMO_API_PORT": str(headroom),
            "PROMETHEUS_PORT": str(prometheus),
            "RELAY_SUBNET": f"10.86.{third}.0/24",
            "RELAY_GATEWAY": self.gateway,
            "RELAY_RETURN_PORT": str(back),
            "RELAY_HOPS_SUBNET": f"10.88.{third}.0/24",
            "RELAY_HOPS_GATEWAY": self.hops_gateway,
            "HEADROOM_ADDRESS": self.hop_address,
            "DEMO_HEADROOM_ADDRESS": f"10.88.{third}.3",
            "RELAY_NETWORK": self.network,
            "RELAY_INTERNET_NETWORK": f"{self.name}-internet",
            "RELAY_INTERNET_SUBNET": f"10.87.{third}.0/24",
            "RELAY_TOKEN_VOLUME": self.token_volume,
            "CLAUDE_VOLUME": f"{self.name}-claude",
            "RELAY_CONFIG_DIR": str(self.config),
            "RELAY_SECRETS_DIR": str(self.secrets),
            "RELAY_UID": str(self.uid),
            "RELAY_GID": str(self.uid),
            "RELAY_SCRAPE_INTERVAL": "1s",
            "DEMO_SECONDS": "4",
        }
        if self.for_internet:
            everywhere = ("127.0.0.1", self.gateway, "docker0")
            listen = ",".join(f"{host}:{relay}" for host in everywhere)
            self.variables["RELAY_LISTEN"] = listen
        self.compose = DockerCompose(
            PROJECT, build=True, wait=False, profiles=self.profiles, env_file=self._env_file()
        )

    def _env_file(self) -> str:
        path = self.folder / "stack.env"
        path.write_text("".join(f"{name}={value}\n" for name, value in self.variables.items()))
        return str(path)

    def write_config(self, text: str) -> None:
        """Write the relay's agent.yaml; {headroom} becomes the address of the demo's API."""
        self.config.mkdir(exist_ok=True)
        headroom = f"http://localhost:{self.headroom_port}"
        (self.config / "agent.yaml").write_text(text.replace("{headroom}", headroom))

    def forget_config(self) -> None:
        """Have the relay serve by what the project, or the demo, has for whoever brings nothing."""
        del self.variables["RELAY_CONFIG_DIR"]
        self._env_file()  # written anew, in the same place

    def write_secret(self, name: str, value: str) -> None:
        """Put a credential where the relay looks for it: replaced by rename, mode 0400."""
        self.secrets.mkdir(exist_ok=True)
        temporary = self.secrets / f".{name}"
        temporary.write_text(value + "\n")
        temporary.chmod(0o400)
        if os.getuid() == 0:
            os.chown(temporary, self.uid, self.uid)
        temporary.replace(self.secrets / name)

    def docker(self, *arguments: str, stdin: str = "", may_fail: bool = False) -> str:
        """Run ``docker compose`` on this stack and return what it prints."""
        command = [*self.compose.compose_command_property, *arguments]
        done = subprocess.run(
            command, cwd=PROJECT, input=stdin, capture_output=True, text=True, check=False
        )
        assert may_fail or done.returncode == 0, done.stderr
        return done.stdout

    def logs(self, service: str) -> str:
        """Return what a service has printed so far."""
        return self.docker("logs", "--no-color", "--no-log-prefix", service)

    def wait_for_line(self, service: str, text: str, *, after: int = 0) -> str:
        """Follow a service's log until a line holds the text; skip ``after`` such lines."""
        command = [*self.compose.compose_command_property, "logs", "--no-color"]
        command += ["--no-log-prefix", "--follow", service]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as follower:
            fuse = threading.Timer(FUSE_SECONDS, follower.kill)
            fuse.start()
            try:
                assert follower.stdout is not None
                for line in follower.stdout:
                    if text in line:
                        if not after:
                            return line
                        after -= 1
            finally:
                fuse.cancel()
                follower.kill()
        raise AssertionError(f"{service} never said {text!r}:\n{self.logs(service)}")

    def container_id(self, service: str) -> str:
        """Return the id of a service's container."""
        return self.docker("ps", "--all", "--quiet", service).strip()

    @property
    def admin_url(self) -> str:
        """Where the admin pages are."""
        return f"http://127.0.0.1:{self.admin_port}"

    def ready(self) -> Answer:
        """Return the relay's readiness."""
        return get(f"{self.admin_url}/readyz")

    def metric(self, name: str, **labels: str) -> float:
        """Return a sample of the relay's own exposition; 0 where there is none."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        total = 0.0
        for line in get(f"{self.admin_url}/metrics").text.splitlines():
            head, _, value = line.rpartition(" ")
            if head.partition("{")[0] == name and all(label in head for label in wanted):
                total += float(value)
        return total

    def query(self, promql: str) -> list[float]:
        """Return the values that Prometheus has for an instant query now."""
        query = urllib.parse.urlencode({"query": promql})
        answer = get(f"http://127.0.0.1:{self.prometheus_port}/api/v1/query?{query}").json()
        assert isinstance(answer, dict)
        return [float(sample["value"][1]) for sample in answer["data"]["result"]]

    def records(self, state: str = "", count: int = 0) -> list[dict[str, object]]:
        """Return what the stand-in has received; waits until ``count`` are in that state."""
        query = urllib.parse.urlencode({"state": state, "count": count, "timeout": 20})
        suffix = f"?{query}" if state else ""
        answer = get(f"http://127.0.0.1:{self.headroom_port}/standin/requests{suffix}")
        assert answer.status == 200, answer.text
        data = answer.json()
        assert isinstance(data, list)
        return data

    def forget_records(self) -> None:
        """Have the stand-in forget what it has received."""
        get(f"http://127.0.0.1:{self.headroom_port}/standin/requests", method="DELETE")


@contextlib.contextmanager
def running_stack(
    name: str,
    *,
    config: str | None,
    profiles: tuple[str, ...] = (),
    services: tuple[str, ...] = (),
    secrets: dict[str, str] | None = None,
    for_internet: bool = False,
) -> Iterator[Stack]:
    """Bring the project's compose.yaml up under a name of its own, and down with its volumes."""
    with resting_stack(name, config=config, profiles=profiles, for_internet=for_internet) as stack:
        for file, value in (secrets or {}).items():
            stack.write_secret(file, value)
        stack.compose.services = list(services) or None
        stack.compose.start()
        yield stack


@contextlib.contextmanager
def resting_stack(
    name: str, *, config: str | None, profiles: tuple[str, ...] = (), for_internet: bool = False
) -> Iterator[Stack]:
    """Yield a stack of which nothing is up yet, and take down whatever is in the end."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the container's user must get in
        stack = Stack(name, Path(folder), list(profiles), for_internet)
        if config is None:
            stack.forget_config()
        else:
            stack.write_config(config)
        stack.secrets.mkdir()
        try:
            yield stack
        finally:
            # Of all profiles: what a test brought up by name would stay.
            stack.docker("--profile", "*", "down", "--volumes")


class Agent:
    """A user's own container on the agents' network."""

    def __init__(self, stack: Stack, network: str | None = None) -> None:
        self._stack = stack
        self._container = (
            DockerContainer(AGENT_IMAGE)
            .with_command("sleep infinity")
            .with_volume_mapping(str(PROJECT / "tests/e2e/agent"), "/agent", "ro")
            .with_volume_mapping(stack.token_volume, "/run/relay", "ro")
            .with_kwargs(network=network or stack.network, init=True, user="65534:65534")
        )

    def __enter__(self) -> Self:
        self._container.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._container.stop()

    def run(self, *command: str) -> tuple[int | None, str]:
        """Run a command in the container; return its exit status and output."""
        done = self._container.exec(list(command))
        return done.exit_code, done.output.decode()

    @property
    def container_id(self) -> str:
        """The id of the agent's container."""
        return str(self._container.get_wrapped_container().id)

    def begin(self, path: str, **order: object) -> Call:
        """Begin a call to the relay, or to wherever ``host`` and ``port`` say."""
        order = {
            "host": self._stack.gateway,
            "port": self._stack.relay_port,
            "path": path,
            "method": "POST",
            "body": json.dumps({"model": "claude-sonnet-4-5", "messages": []}),
            **order,
        }
        command = ["docker", "exec", "-i", self.container_id, "python", "/agent/call.py"]
        return Call(command, order)

    def call(self, path: str, **order: object) -> Report:
        """Make a call and return what came of it."""
        return self.begin(path, **order).report()


@dataclass(frozen=True)
class Report:
    """What an agent saw of its call."""

    status: int | None
    reason: str
    headers: list[tuple[str, str]]
    pieces: list[tuple[float, str]]
    error: str | None
    sent: float
    ended: float
    sha256: str | None
    connected: bool

    @property
    def text(self) -> str:
        """The body, as far as it came."""
        return "".join(piece for _, piece in self.pieces)

    def header(self, name: str) -> str | None:
        """Return the first header of this name."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def event_arrivals(self) -> list[float]:
        """Return when each event of the stream arrived."""
        return [at for at, piece in self.pieces for _ in range(piece.count("event: "))]


class Call:
    """A call under way in an agent's container."""

    def __init__(self, command: list[str], order: dict[str, object]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def wait_for_head(self) -> None:
        """Wait until the answer's head has reached the agent."""
        assert self._process.stdout is not None
        with self._fuse():
            assert self._process.stdout.readline() == "head\n"

    def hang_up(self) -> Report:
        """Have the agent leave; return what it had seen until then."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.report()

    def report(self) -> Report:
        """Wait for the call's end and return what the agent saw."""
        assert self._process.stdout is not None
        with self._fuse():
            output = self._process.stdout.read()
        self._process.stdout.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        data = json.loads(output.splitlines()[-1])
        return Report(
            status=data.get("status"),
            reason=data.get("reason", ""),
            headers=[(name, value) for name, value in data.get("headers", [])],
            pieces=[(at, piece) for at, piece in data["pieces"]],
            error=data["error"],
            sent=data.get("sent", 0.0),
            ended=data["ended"],
            sha256=data.get("sha256"),
            connected=data.get("connected", False),
        )

    @contextlib.contextmanager
    def _fuse(self) -> Iterator[None]:
        """End the agent if it says nothing for too long."""
        fuse = threading.Timer(FUSE_SECONDS, self._process.kill)
        fuse.start()
        try:
            yield
        finally:
            fuse.cancel()
