"""Writes the image's bill of materials, as CycloneDX 1.6 in JSON.

Runs once, in the image's build, over what is really there and not over what was asked for:
every Python package on the path with what pip says it downloaded (`pip install --report`),
every Debian package of the base, and the interpreter. Standard library only: what makes the
bill should not lengthen it. Tests hold it against the image, and against the schema.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

from relay import __version__

Component: TypeAlias = dict[str, object]

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_DPKG_FORMAT: Final = (
    "${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n"
)


def normal(name: str) -> str:
    """Return a Python package's name as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def python_component(package: Distribution, hashes: dict[str, str]) -> Component:
    """Describe an installed Python package."""
    name = normal(package.name)
    purl = f"pkg:pypi/{name}@{quote(package.version)}"
    component: Component = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": package.version,
        "purl": purl,
    }
    if sha256 := hashes.get(f"{name}=={package.version}"):
        component["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    if licences := licences_of(package):
        component["licenses"] = licences
    return component


def licences_of(package: Distribution) -> list[dict[str, object]]:
    """Return a package's licence: its SPDX expression (PEP 639), else what it used to be."""
    if expression := field(package, "License-Expression"):
        return [{"expression": expression}]
    classifiers = package.metadata.get_all("Classifier") or []
    names = [each.split(" :: ")[-1] for each in classifiers if each.startswith("License :: ")]
    names = [name for name in names if name != "OSI Approved"]  # a class of licences, not one
    # Some put the licence's whole text into the field.
    first_line = field(package, "License").partition("\n")[0]
    return [{"license": {"name": name}} for name in names or [first_line] if name]


def field(package: Distribution, name: str) -> str:
    """Return a field of a package's metadata; nothing where there is none."""
    return next(iter(package.metadata.get_all(name) or ()), "")


def python_packages(folders: Iterable[str]) -> list[Distribution]:
    """Return the packages in these folders, also those that others have vendored."""
    found = {path for folder in folders for path in Path(folder or ".").rglob("*.dist-info")}
    return [PathDistribution(path) for path in sorted(found)]


def debian_components(listing: str, release: str) -> Iterator[Component]:
    """Describe the packages of ``dpkg-query``'s listing, in ``_DPKG_FORMAT``."""
    for line in listing.splitlines():
        name, version, architecture, source, source_version = line.split("\t")
        # Debian's advisories are by source package.
        upstream = quote(f"{source}@{source_version}", safe="")
        qualifiers = f"arch={architecture}&distro=debian-{release}&upstream={upstream}"
        purl = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe='')}?{qualifiers}"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
        }


def interpreter_component(version: str) -> Component:
    """Describe Python itself, which in the base image is no package of anyone's."""
    return {
        "type": "platform",
        "bom-ref": f"pkg:generic/python@{version}",
        "name": "python",
        "version": version,
        "purl": f"pkg:generic/python@{version}",
        "cpe": f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
    }


def required_names(requirements: Iterable[str]) -> set[str]:
    """Return the names of requirements that are not behind an extra."""
    plain = (each for each in requirements if "extra ==" not in each)
    return {normal(match.group()) for each in plain if (match := _NAME.match(each))}


def dependencies(
    root: str, direct: Iterable[str], packages: Iterable[Distribution]
) -> list[dict[str, object]]:
    """Return who depends on whom, as far as it is in the image."""
    packages = list(packages)
    refs = {normal(each.name): f"pkg:pypi/{normal(each.name)}@{each.version}" for each in packages}
    wanted = {root: required_names(direct)}
    wanted |= {refs[normal(each.name)]: required_names(each.requires or []) for each in packages}
    return [
        {"ref": ref, "dependsOn": sorted(refs[name] for name in names if name in refs)}
        for ref, names in sorted(wanted.items())
    ]


def hashes_of(report: str) -> dict[str, str]:
    """Return the SHA-256 of each wheel that pip installed, by ``name==version``.

    Raises:
        SystemExit: One was no wheel, and so its own code has run in the build.
    """
    hashes = {}
    for each in json.loads(report)["install"]:
        name, version = each["metadata"]["name"], each["metadata"]["version"]
        download = each["download_info"]
        if not download["url"].endswith(".whl"):
            raise SystemExit(f"{name} {version} was not installed from a wheel")
        hashes[f"{normal(name)}=={version}"] = download["archive_info"]["hashes"]["sha256"]
    return hashes


def debian_packages() -> str:
    """Return what dpkg knows to be installed, a package a line."""
    command = ["dpkg-query", "--show", f"--showformat={_DPKG_FORMAT}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603  # a fixed command


def bill(direct: Iterable[str], hashes: dict[str, str]) -> dict[str, object]:
    """Return the bill of materials of the system that this runs on."""
    packages = python_packages(sys.path)
    root = f"pkg:generic/agent-relay@{__version__}"
    release = platform.freedesktop_os_release()["VERSION_ID"]
    components = [
        interpreter_component(platform.python_version()),
        *(python_component(package, hashes) for package in packages),
        *debian_components(debian_packages(), release),
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata(root),
        # A package that two have vendored alike is there once.
        "components": list({each["bom-ref"]: each for each in components}.values()),
        "dependencies": dependencies(root, direct, packages),
    }


def metadata(root: str) -> dict[str, object]:
    """Say what this is the bill of, and when that was built."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")  # a reproducible build's own time
    built = dt.datetime.fromtimestamp(int(epoch), dt.UTC) if epoch else dt.datetime.now(dt.UTC)
    return {
        "timestamp": built.isoformat(timespec="seconds"),
        "lifecycles": [{"phase": "build"}],
        "component": {
            "type": "container",
            "bom-ref": root,
            "name": "agent-relay",
            "version": __version__,
            "licenses": [{"expression": "MIT"}],
        },
    }


def main() -> None:
    """Print the bill."""
    parser = argparse.ArgumentParser(description="Print the image's bill of materials.")
    parser.add_argument("--report", type=Path, required=True, help="what pip install reported")
    parser.add_argument("--pyproject", type=Path, required=True, help="who is needed directly")
    given = parser.parse_args()
    direct = tomllib.loads(given.pyproject.read_text())["project"]["dependencies"]
    found = bill(direct, hashes_of(given.report.read_text()))
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
