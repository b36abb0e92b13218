"""The manifests of examples/, read as what a cluster or a swarm gets.

Knows of kustomization.yaml as much as the examples use, and refuses the rest, so that nothing
goes by unread. What `kubectl kustomize` makes differs in the ConfigMap's name alone: it adds a
hash there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

PROJECT: Final = Path(__file__).resolve().parents[2]
KUBERNETES: Final = PROJECT / "examples" / "kubernetes"
SWARM: Final = PROJECT / "examples" / "swarm"

Manifest = dict[str, Any]  # YAML


def documents(path: Path) -> list[Manifest]:
    """Return a file's documents."""
    return list(yaml.safe_load_all(path.read_text()))


def render(folder: Path) -> list[Manifest]:
    """Return what ``kubectl apply -k`` sends."""
    (plan,) = documents(folder / "kustomization.yaml")
    known = {"apiVersion", "kind", "resources", "configMapGenerator", "images"}
    assert set(plan) <= known, "the kustomization does what is not read here"
    found = [each for name in plan["resources"] for each in documents(folder / name)]
    return found + [_config_map(folder, each) for each in plan.get("configMapGenerator", [])]


def _config_map(folder: Path, plan: Manifest) -> Manifest:
    assert set(plan) == {"name", "namespace", "files"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": plan["name"], "namespace": plan["namespace"]},
        "data": {name: (folder / name).read_text() for name in plan["files"]},
    }


def job(file: str = "job.yaml") -> Manifest:
    """Return a Job in an agent's place, under a name as the cluster gives it one."""
    (found,) = documents(KUBERNETES / "agent" / file)
    found["metadata"]["name"] = found["metadata"].pop("generateName") + "x7k2p"
    return found


def only(kind: str, name: str | None = None) -> Manifest:
    """Return the one manifest of a kind, or the one of that name."""
    (found,) = (
        each
        for each in render(KUBERNETES)
        if each["kind"] == kind and name in (None, each["metadata"]["name"])
    )
    return found


def pod_of(workload: Manifest) -> Manifest:
    """Return what a workload's Pods are made from."""
    template: Manifest = workload["spec"]["template"]
    return template


def containers(pod: Manifest) -> Iterator[Manifest]:
    """Yield all containers of a Pod, sidecars too."""
    yield from pod["spec"].get("initContainers", [])
    yield from pod["spec"]["containers"]


def container(pod: Manifest, name: str) -> Manifest:
    """Return a Pod's container."""
    (found,) = (each for each in containers(pod) if each["name"] == name)
    return found


def ports_of(pod: Manifest) -> dict[str, int]:
    """Return the numbers of a Pod's named ports."""
    declared = (port for each in containers(pod) for port in each.get("ports", []))
    return {port["name"]: port["containerPort"] for port in declared}


def stack(name: str = "stack.yaml") -> Manifest:
    """Return a stack file, variables as they stand there."""
    (found,) = documents(SWARM / name)
    return found
