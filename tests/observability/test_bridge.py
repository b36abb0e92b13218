"""The configuration for a bridge network, on the relay itself."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.stack import PROJECT, eventually, get
from tests.harness.ports import free_ports
from tests.observability.prometheus import running_on_bridge


@contextlib.contextmanager
def relay_on_bridge(folder: Path) -> Iterator[int]:
    """Run a relay whose admin listener is on loopback and docker0, at the port returned."""
    listen, admin, nobody = free_ports(3)
    config = folder / "agent.yaml"
    config.write_text(f"grants: [anthropic]\nclaude: {{base_url: 'http://localhost:{nobody}'}}\n")
    environment = {
        "PATH": os.environ["PATH"],
        "RELAY_LISTEN": f"127.0.0.1:{listen}",
        "RELAY_ADMIN": f"127.0.0.1:{admin},docker0:{admin}",
    }
    command = [sys.executable, "-m", "relay", "serve", "--config", str(config)]
    with subprocess.Popen(command, cwd=PROJECT, env=environment) as relay:
        try:
            page = f"http://127.0.0.1:{admin}/healthz"
            eventually(lambda: get(page).status == 200 or None, "the relay")
            yield admin
        finally:
            relay.terminate()


def test_prometheus_on_a_bridge_reads_the_relay(tmp_path: Path) -> None:
    """With the relay's admin listener on docker0 and that name in its container, it scrapes."""
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with relay_on_bridge(tmp_path) as port, running_on_bridge(folder, port) as prometheus:
        prometheus.wait_until_ready()
        eventually(
            lambda: (
                prometheus.query('up{job="relay"} == 1 and on (job, instance) relay_build_info')
                or None
            ),
            "a scrape of the relay",
        )
