"""Where the clients are installed, each from a lock file with hashes, and only when that changed.

Below `.venv-clients`, which git does not see. A client is installed by itself, so that no other
one and nothing of the relay's own decides which version of a library it gets. What was used is
noted, for the last lines of a run.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.harness import ROOT
from tests.harness.variables import AS_STARTED

LOCKS: Final = Path(__file__).with_name("locks")
INSTALLED: Final = ROOT / ".venv-clients"
INSTALL_SECONDS: Final = 300.0

versions: Final[dict[str, str]] = {}
"""The clients that were used, and their versions."""


def python_with(lock: Path) -> Path:
    """Return a Python that has what a lock file names, and nothing else."""
    python = installed(lock.stem, [lock], _install_python) / "bin" / "python"
    for requirement in lock.with_suffix(".in").read_text().split():
        name, _, version = requirement.partition("==")
        versions[f"{name} ({lock.stem})"] = version
    return python


def node_modules(folder: Path) -> Path:
    """Return the packages that a folder's package-lock.json names."""
    files = [folder / "package.json", folder / "package-lock.json"]
    return installed(folder.name, files, _install_node) / "node_modules"


def installed(name: str, files: list[Path], install: Callable[[Path, list[Path]], None]) -> Path:
    """Return the folder that was installed from these files; it is, where it is not there yet."""
    content = hashlib.sha256(sys.version.encode() + b"".join(each.read_bytes() for each in files))
    folder = INSTALLED / name / content.hexdigest()[:16]
    if not (folder / "complete").exists():
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.mkdir(parents=True)
        install(folder, files)
        (folder / "complete").touch()
    return folder


def _install_python(folder: Path, files: list[Path]) -> None:
    uv = [sys.executable, "-m", "uv"]
    _run([*uv, "venv", "-q", "--allow-existing", "-p", sys.executable, str(folder)], folder)
    into = ["-p", str(folder / "bin" / "python")]
    _run([*uv, "pip", "install", "-q", *into, "--require-hashes", "-r", str(files[0])], folder)


def _install_node(folder: Path, files: list[Path]) -> None:
    for file in files:
        shutil.copy(file, folder)
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], folder)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=AS_STARTED,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
