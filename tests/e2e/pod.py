"""A Pod of examples/kubernetes, run by Docker as the manifest has it.

One network for its containers, and each with the user, the root file system, the capabilities,
the memory, the mounts, the variables and the arguments that the manifest gives it. What only a
cluster has is left out: policies, the Service's address, who is started and stopped when.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.repository.manifests import Manifest


@dataclass(frozen=True)
class Pod:
    """Containers that share a network."""

    name: str
    manifest: Manifest
    images: Mapping[str, str]
    volumes: Mapping[str, Path]
    """The folders for the manifest's volumes; what has none is memory."""
    links: Mapping[str, str] = field(default_factory=dict)
    """The variables that say where Services are."""
    started: list[str] = field(default_factory=list)

    def id_of(self, container: str) -> str:
        """Return the name under which Docker has a container."""
        return f"{self.name}-{container}"

    def start(self, container: Manifest, network: str) -> None:
        """Start a container on a network, where its name is its Service's."""
        name = container["name"]
        options = [*_hardening(self.manifest, container), *self._mounts(container)]
        options += [f"--env={each}" for each in self._variables(container)]
        run = ["run", "--detach", "--name", self.id_of(name), "--network", network]
        run += ["--network-alias", name, *options, self.images[container["image"]]]
        docker(*run, *container.get("args", []))
        self.started.append(name)

    def _variables(self, container: Manifest) -> Iterator[str]:
        known = dict(self.links)
        for each in container.get("env", []):
            value = re.sub(r"\$\((\w+)\)", lambda found: known[found[1]], each["value"])
            known[each["name"]] = value
            yield f"{each['name']}={value}"

    def _mounts(self, container: Manifest) -> Iterator[str]:
        for mount in container["volumeMounts"]:
            folder = self.volumes.get(mount["name"])
            if folder is None:
                yield f"--tmpfs={mount['mountPath']}"
            else:
                mode = "ro" if mount.get("readOnly") else "rw"
                yield f"--volume={folder}:{mount['mountPath']}:{mode}"

    def exec(self, container: str, *command: str) -> str:
        """Run a command in a container, as an exec probe does; return what it prints."""
        return docker("exec", self.id_of(container), *command)

    def address_on(self, network: str) -> str:
        """Return the Pod's address."""
        form = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
        return docker("inspect", "--format", form, self.id_of(self.started[0])).strip()

    def remove(self) -> None:
        """Remove all containers."""
        for name in reversed(self.started):
            docker("rm", "--force", self.id_of(name))


def _hardening(pod: Manifest, container: Manifest) -> Iterator[str]:
    security, own = pod["spec"]["securityContext"], container["securityContext"]
    user = own.get("runAsUser", security["runAsUser"])
    yield f"--user={user}:{own.get('runAsGroup', security['runAsGroup'])}"
    yield f"--group-add={security['fsGroup']}"
    yield f"--memory={container['resources']['limits']['memory'].removesuffix('i').lower()}"
    yield from (f"--cap-drop={each}" for each in own["capabilities"]["drop"])
    if own["readOnlyRootFilesystem"]:
        yield "--read-only"
    if not own["allowPrivilegeEscalation"]:
        yield "--security-opt=no-new-privileges:true"


def docker(*arguments: str) -> str:
    """Run Docker and return what it prints."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def network(name: str) -> Iterator[str]:
    """Have a network for the length of the context."""
    docker("network", "create", name)
    try:
        yield name
    finally:
        docker("network", "rm", name)
