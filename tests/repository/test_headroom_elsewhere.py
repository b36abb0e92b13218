"""Headroom in Compose, in Kubernetes and in a swarm: switched off the same everywhere."""

from __future__ import annotations

import yaml

from tests.harness import ROOT
from tests.repository.manifests import container, only, pod_of, stack


def flags_of(command: list[str]) -> set[str]:
    """Return the flags that say no to something."""
    return {each for each in command if each.startswith(("--no-", "--disable-"))}


def test_what_it_would_share_keep_fetch_or_report_is_off_everywhere() -> None:
    """As in compose.yaml, which the tests with the real one run."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    expected = flags_of(services["headroom"]["command"])
    assert "--no-cache" in expected
    pod = pod_of(only("Deployment", "headroom"))
    assert flags_of(container(pod, "headroom")["args"]) == expected
    assert flags_of(stack()["services"]["headroom"]["command"]) == expected
