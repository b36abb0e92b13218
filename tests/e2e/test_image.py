"""The image that compose.yaml builds: its size, its labels, and what its bill of materials says."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from tests.e2e.stack import PROJECT, Stack

IMAGE = "agent-relay-under-test"
BASE = "python:3.13-slim-trixie"

# What is really there: every package's metadata on the disk, wherever it is, and dpkg's word.
INVENTORY = r"""
import email, json, os, platform, re, subprocess
python = {}
for folder, folders, files in os.walk("/"):
    if folder == "/":
        folders[:] = [each for each in folders if each not in ("proc", "sys", "dev")]
    if folder.endswith(".dist-info") and "METADATA" in files:
        head = email.message_from_file(open(folder + "/METADATA"))
        name = re.sub("[-_.]+", "-", head["Name"]).lower()
        python[folder] = [name, head["Version"]]
debian = subprocess.check_output(["dpkg-query", "-W", "-f=${Package} ${Version}\n"], text=True)
print(json.dumps({
    "interpreter": platform.python_version(),
    "python": python,
    "debian": [line.split() for line in debian.splitlines()],
}))
"""


def run_inside(*command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a program of the image's."""
    run = ["docker", "run", "--rm", "--network", "none", "--user", "0", *options]
    program, *arguments = command
    run += ["--entrypoint", program, IMAGE, *arguments]
    return subprocess.run(run, capture_output=True, text=True, check=False)


def inside(*command: str) -> str:
    """Run a program of the image's, and return what it prints."""
    done = run_inside(*command)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bill_text(stack: Stack) -> str:
    """The bill of materials that is in the image."""
    return inside("cat", "/opt/relay/sbom.cdx.json")


@pytest.fixture(scope="module")
def bill(bill_text: str) -> dict[str, Any]:  # JSON
    """The same as data."""
    data = json.loads(bill_text)
    assert isinstance(data, dict)
    return data


@pytest.fixture(scope="module")
def inventory(stack: Stack) -> dict[str, Any]:  # JSON
    """What is in the image, by looking."""
    data = json.loads(inside("python", "-c", INVENTORY))
    assert isinstance(data, dict)
    return data


def test_the_image_is_small_and_labelled(stack: Stack) -> None:
    """At most 80 MB on top of its base (traces take 9); numeric user; health check; labels."""
    command = ["docker", "image", "inspect", IMAGE, BASE]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    image, base = json.loads(output)
    assert image["Size"] - base["Size"] < 80_000_000
    assert image["Config"]["User"] == "10001:10001"
    assert image["Config"]["Healthcheck"]["Test"] == ["CMD", "relay", "health"]
    assert image["Config"]["Labels"]["org.opencontainers.image.licenses"] == "MIT"


def test_no_program_lends_another_users_rights(stack: Stack) -> None:
    """Neither setuid nor setgid, nor with capabilities of its own: also without compose.yaml."""
    assert inside("find", "/", "-xdev", "-type", "f", "-perm", "/6000") == ""
    walk = (
        "import os\n"
        "for folder, _, files in os.walk('/usr'):\n"
        "    for name in files:\n"
        "        path = os.path.join(folder, name)\n"
        "        if 'security.capability' in os.listxattr(path, follow_symlinks=False):\n"
        "            print(path)"
    )
    assert inside("python", "-c", walk) == ""


def test_no_shell_is_needed(stack: Stack) -> None:
    """The commands, and so the health check, run in an image whose shells do not."""
    shells = ("/usr/bin/dash", "/usr/bin/bash")
    without = tuple(f"--volume=/dev/null:{shell}:ro" for shell in shells)
    assert run_inside("sh", "-c", "true", options=without).returncode != 0
    done = run_inside("relay", "health", options=without)
    assert (done.returncode, done.stderr) == (1, "relay: no relay answers at 127.0.0.1:9484\n")


def test_the_bill_of_materials_is_cyclonedx(bill_text: str) -> None:
    """By the standard's own schema."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill_text) is None


def test_the_bill_lists_just_what_is_in_the_image(
    bill: dict[str, Any], inventory: dict[str, Any]
) -> None:
    """Every Python package, every Debian package, the interpreter: no more, and no less."""
    listed: dict[str, set[tuple[str, str]]] = {"pypi": set(), "deb": set(), "generic": set()}
    for component in bill["components"]:
        purl = PackageURL.from_string(component["purl"])
        assert (purl.name, purl.version) == (component["name"], component["version"])
        listed[purl.type].add((component["name"], component["version"]))
    assert listed["pypi"] == {(name, version) for name, version in inventory["python"].values()}
    assert listed["deb"] == {(name, version) for name, version in inventory["debian"]}
    assert listed["generic"] == {("python", inventory["interpreter"])}
    assert "uvloop" in dict(listed["pypi"])
    assert "libc6" in dict(listed["deb"])


def test_the_bill_has_licence_and_locked_hash_of_all_that_was_added(
    bill: dict[str, Any], inventory: dict[str, Any]
) -> None:
    """What is on top of the base came from the lock file, and says under which terms."""
    lock = (PROJECT / "requirements" / "relay.txt").read_text()
    locked = {
        entry.split()[0]: re.findall("sha256:([0-9a-f]{64})", entry)
        for entry in lock.replace("\\\n", "").splitlines()
    }
    components = {component["purl"]: component for component in bill["components"]}
    added = [where for where in inventory["python"] if where.startswith("/opt/relay/")]
    assert len(added) > 15
    for where in added:
        name, version = inventory["python"][where]
        component = components[f"pkg:pypi/{name}@{version}"]
        (digest,) = component["hashes"]
        assert digest["content"] in locked[f"{name}=={version}"]
        assert component["licenses"], name


def test_the_bill_says_what_the_relay_needs_itself(bill: dict[str, Any]) -> None:
    """The dependencies of pyproject.toml, and their own in turn."""
    needs = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    root = bill["metadata"]["component"]
    assert root["version"] in inside("relay", "--version")
    direct = {PackageURL.from_string(ref).name for ref in needs[root["bom-ref"]]}
    assert {"pydantic", "uvloop", "genai-prices"} <= direct
    assert "pydantic-core" not in direct
    (pydantic,) = [ref for ref in needs if ref.startswith("pkg:pypi/pydantic@")]
    assert any(ref.startswith("pkg:pypi/pydantic-core@") for ref in needs[pydantic])
