"""A Prometheus of the tests' own, and its promtool."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from testcontainers.core.container import DockerContainer

from tests.e2e.stack import Answer, eventually, get
from tests.harness.ports import free_ports
from tests.observability.examples import PROMETHEUS

IMAGE: Final = "prom/prometheus:v2.53.3"
_INSIDE: Final = "/etc/prometheus"
_PORT: Final = 9090  # its own, inside a container
_ENOUGH_SCRAPES: Final = 3

Sample = tuple[dict[str, str], float]


@dataclass(frozen=True)
class Verdict:
    """What promtool said."""

    status: int
    text: str


def promtool(*arguments: str, stdin: str = "") -> Verdict:
    """Run promtool with the examples as its working folder."""
    command = ["docker", "run", "--rm", "-i", "--network", "none"]
    command += ["-v", f"{PROMETHEUS}:{_INSIDE}:ro", "-w", _INSIDE, "--entrypoint", "promtool"]
    done = subprocess.run(
        [*command, IMAGE, *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    return Verdict(done.returncode, done.stdout + done.stderr)


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int, targets: Mapping[str, str]) -> None:
        self._ready = f"http://127.0.0.1:{port}/-/ready"
        self._url = f"http://127.0.0.1:{port}/api/v1"
        self._targets = targets

    def instance(self, name: str) -> str:
        """Return the ``instance`` label of one of the targets."""
        return self._targets[name]

    def ask(self, expression: str) -> Answer:
        """Return the answer to an instant query."""
        body = urllib.parse.urlencode({"query": expression}).encode()
        return get(f"{self._url}/query", method="POST", body=body)

    def query(self, expression: str) -> list[Sample]:
        """Return the samples that a query finds now."""
        answer = self.ask(expression)
        assert answer.status == 200, f"{answer.text}\n{expression}"
        data = answer.json()
        assert isinstance(data, dict)
        assert not data.get("warnings"), data["warnings"]
        return [(found["metric"], float(found["value"][1])) for found in data["data"]["result"]]

    def rules(self) -> list[dict[str, str]]:
        """Return the state of every rule."""
        data = json.loads(get(f"{self._url}/rules").text)
        return [rule for group in data["data"]["groups"] for rule in group["rules"]]

    def wait_until_ready(self) -> None:
        """Wait until it answers queries."""
        eventually(lambda: get(self._ready).status == 200 or None, "Prometheus")

    def wait_for_samples(self) -> None:
        """Wait until every live target was scraped a few times, and every rule ran on that."""
        self.wait_until_ready()
        alive = [name for name in self._targets if name != "dead"]
        counted = f'count_over_time(up{{job="relay"}}[1h]) >= {_ENOUGH_SCRAPES}'
        eventually(lambda: len(self.query(counted)) >= len(alive) or None, "scrapes")
        eventually(
            lambda: len(self.query("gen_ai_client_token_usage_sum")) or None, "recorded sums"
        )
        recorded = 'relay:relay_requests:increase1h{relay="anthropic"} > 0'
        relays = {self.instance(name) for name in ("well", "troubled")}
        eventually(
            lambda: relays <= {labels["instance"] for labels, _ in self.query(recorded)} or None,
            "recorded rates of each relay",
        )
        eventually(lambda: self._have_run() or None, "a run of every rule")

    def _have_run(self) -> bool:
        return all(rule["health"] != "unknown" for rule in self.rules())


def write_config(folder: Path, example: str, targets: Iterable[str]) -> None:
    """Write one of the examples with other targets, at a quicker pace."""
    config = yaml.safe_load((PROMETHEUS / example).read_text())
    config["global"].update(scrape_interval="1s", evaluation_interval="1s")
    (scraped,) = config["scrape_configs"]
    (group,) = scraped["static_configs"]
    group["targets"] = list(targets)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copytree(PROMETHEUS / "rules", folder / "rules")
    folder.chmod(0o755)  # the container's user must get in


@contextlib.contextmanager
def running(folder: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """Run Prometheus on the host's network, on a loopback port of its own."""
    write_config(folder, "prometheus.yml", targets.values())
    (port,) = free_ports(1)
    container = _container(folder, f"127.0.0.1:{port}").with_kwargs(network_mode="host")
    with container:
        prometheus = Prometheus(port, targets)
        prometheus.wait_for_samples()
        yield prometheus


@contextlib.contextmanager
def running_on_bridge(folder: Path, port: int) -> Iterator[Prometheus]:
    """Run Prometheus on Docker's bridge, for an admin listener on this port of docker0."""
    targets = {"bridge": f"docker0:{port}"}
    write_config(folder, "prometheus-bridge.yml", targets.values())
    container = (
        _container(folder, f":{_PORT}")
        .with_exposed_ports(_PORT)
        .with_kwargs(extra_hosts={"docker0": "host-gateway"})
    )
    with container:
        yield Prometheus(int(container.get_exposed_port(_PORT)), targets)


def _container(folder: Path, listen: str) -> DockerContainer:
    return (
        DockerContainer(IMAGE)
        .with_command(
            f"--config.file={_INSIDE}/prometheus.yml --storage.tsdb.path=/tmp/data "
            f"--web.listen-address={listen}"
        )
        .with_volume_mapping(str(folder), _INSIDE, "ro")
    )
