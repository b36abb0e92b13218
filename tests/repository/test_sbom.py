"""The image's bill of materials: what it says of each kind of package."""

from __future__ import annotations

import json
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from packageurl import PackageURL

from requirements import sbom

DPKG = (
    "libzstd1\t1.5.7+dfsg-1\tamd64\tlibzstd\t1.5.7+dfsg-1\n"
    "passwd\t1:4.17.4-2\tamd64\tshadow\t1:4.17.4-2\n"
)


def installed(folder: Path, name: str, version: str, *metadata: str) -> PathDistribution:
    """Put a package into a folder, as pip does."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    head = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    (place / "METADATA").write_text("\n".join([*head, *metadata, ""]))
    return PathDistribution(place)


@pytest.mark.parametrize(
    ("metadata", "licences"),
    [
        (["License-Expression: Apache-2.0 AND MIT"], [{"expression": "Apache-2.0 AND MIT"}]),
        (
            ["License: whatever", "Classifier: License :: OSI Approved :: MIT License"],
            [{"license": {"name": "MIT License"}}],
        ),
        (
            ["License: BSD-3-Clause", "Classifier: License :: OSI Approved"],
            [{"license": {"name": "BSD-3-Clause"}}],
        ),
        (["License: The Licence\n        of many lines"], [{"license": {"name": "The Licence"}}]),
        ([], []),
    ],
)
def test_licences(tmp_path: Path, metadata: list[str], licences: list[object]) -> None:
    """As the package states it, the newest way first."""
    assert sbom.licences_of(installed(tmp_path, "a", "1", *metadata)) == licences


def test_a_python_package_has_the_hash_of_its_file(tmp_path: Path) -> None:
    """By its normal name, however it spells itself; none where pip did not install it."""
    package = installed(tmp_path, "Backports.Zstd", "1.8.0")
    component = sbom.python_component(package, {"backports-zstd==1.8.0": "ab" * 32})
    assert component["purl"] == "pkg:pypi/backports-zstd@1.8.0"
    assert component["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert "hashes" not in sbom.python_component(package, {"backports-zstd==1.7.0": "ab" * 32})


def report_of(file: str) -> str:
    """Return what pip reports of one installed file."""
    download = {"url": f"file:///{file}", "archive_info": {"hashes": {"sha256": "cd" * 32}}}
    metadata = {"name": "Uv_Loop", "version": "1"}
    return json.dumps({"install": [{"metadata": metadata, "download_info": download}]})


def test_only_wheels_are_accepted() -> None:
    """An sdist's code would have run in the image's build."""
    assert sbom.hashes_of(report_of("uv_loop-1-py3-none-any.whl")) == {"uv-loop==1": "cd" * 32}
    with pytest.raises(SystemExit, match="not installed from a wheel"):
        sbom.hashes_of(report_of("uv_loop-1.tar.gz"))


def test_vendored_packages_are_found(tmp_path: Path) -> None:
    """They are as good at being vulnerable."""
    installed(tmp_path, "outer", "1")
    installed(tmp_path / "outer" / "_vendor", "inner", "2")
    assert {each.name for each in sbom.python_packages([str(tmp_path)])} == {"outer", "inner"}


def test_debian_packages_can_be_looked_up() -> None:
    """Version, release and source package, so encoded that they come out again."""
    zstd, passwd = sbom.debian_components(DPKG, "13")
    assert PackageURL.from_string(str(zstd["purl"])).version == "1.5.7+dfsg-1"
    found = PackageURL.from_string(str(passwd["purl"]))
    assert (found.type, found.namespace, found.name) == ("deb", "debian", "passwd")
    assert found.version == passwd["version"] == "1:4.17.4-2"
    assert isinstance(found.qualifiers, dict)
    assert found.qualifiers["distro"] == "debian-13"
    assert found.qualifiers["upstream"] == "shadow@1:4.17.4-2"


def test_dependencies_are_those_that_are_there(tmp_path: Path) -> None:
    """Not the absent ones, and not those behind an extra."""
    needs = [
        "Requires-Dist: B_b[x]>=2; python_version > '3'",
        "Requires-Dist: absent",
        "Requires-Dist: c; extra == 'more'",
    ]
    packages = [
        installed(tmp_path, "a", "1", *needs),
        installed(tmp_path, "b.b", "2"),
        installed(tmp_path, "c", "3"),
    ]
    assert sbom.dependencies("root", ["a>=1,<2", "c"], packages) == [
        {"ref": "pkg:pypi/a@1", "dependsOn": ["pkg:pypi/b-b@2"]},
        {"ref": "pkg:pypi/b-b@2", "dependsOn": []},
        {"ref": "pkg:pypi/c@3", "dependsOn": []},
        {"ref": "root", "dependsOn": ["pkg:pypi/a@1", "pkg:pypi/c@3"]},
    ]


def test_a_reproducible_build_sets_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """``SOURCE_DATE_EPOCH``, as everywhere."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert sbom.metadata("root")["timestamp"] == "2023-11-14T22:13:20+00:00"
