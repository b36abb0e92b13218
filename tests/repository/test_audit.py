"""The audit of what is locked: it finds, it passes, and it says when nobody could know."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import audit
from tests.harness.pages import Handler, handling

FINDING = {"id": "PYSEC-2099-1", "summary": "Made up", "aliases": ["CVE-2099-0001"], "affected": []}
HASH = "0" * 64


@contextlib.contextmanager
def vulnerability_service(*vulnerable: str) -> Iterator[str]:
    """Serve OSV's query API on loopback, knowing only these releases; yield its address."""

    class Service(Handler):
        def respond(self) -> None:
            query = json.loads(self.body())
            release = f"{query['package']['name']}=={query['version']}"
            answer = json.dumps({"vulns": [FINDING]} if release in vulnerable else {})
            self.answer(200, answer.encode())

    with handling(Service) as port:
        yield f"http://127.0.0.1:{port}/"


def run_audit(service: str, *locks: Path) -> subprocess.CompletedProcess[str]:
    """Run the audit against a service; without lock files, of the project's own."""
    own = {"PIP_AUDIT_VULNERABILITY_SERVICE": "osv", "PIP_AUDIT_OSV_URL": service}
    command = [sys.executable, "-m", "tests.audit", *map(str, locks)]
    return subprocess.run(
        command,
        cwd=audit.PROJECT,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock file with two releases."""
    path = tmp_path / "lock.txt"
    path.write_text(f"idna==3.20 --hash=sha256:{HASH}\nyarl==1.25.1 --hash=sha256:{HASH}\n")
    return path


def test_a_vulnerable_release_fails_it(lock: Path) -> None:
    """And is named, with its finding."""
    with vulnerability_service(audit.CANARY, "yarl==1.25.1") as service:
        done = run_audit(service, lock)
    assert done.returncode == audit.VULNERABLE
    assert "yarl" in done.stdout
    assert "PYSEC-2099-1" in done.stdout
    assert "idna" not in done.stdout


def test_nothing_known_passes(lock: Path) -> None:
    """The service knows the canary, and nothing bad of what is locked."""
    with vulnerability_service(audit.CANARY) as service:
        done = run_audit(service, lock)
    assert done.returncode == audit.CLEAN, done.stderr
    assert "NOT AUDITED" not in done.stderr


def test_a_service_that_knows_of_nothing_is_not_believed(lock: Path) -> None:
    """A mirror without vulnerabilities would call everything clean."""
    with vulnerability_service() as service:
        done = run_audit(service, lock)
    assert done.returncode == audit.NOT_AUDITED
    assert "NOT AUDITED" in done.stderr


def test_no_service_is_not_a_pass(lock: Path) -> None:
    """Nobody answers: neither clean nor vulnerable."""
    with vulnerability_service() as service:
        pass  # its port is free again
    done = run_audit(service, lock)
    assert done.returncode == audit.NOT_AUDITED
    assert "NOT AUDITED" in done.stderr


def test_a_lock_without_hashes_fails_it(tmp_path: Path) -> None:
    """What is locked is locked with hashes."""
    (tmp_path / "lock.txt").write_text("idna==3.20\n")
    with vulnerability_service(audit.CANARY) as service:
        done = run_audit(service, tmp_path / "lock.txt")
    assert done.returncode == audit.VULNERABLE
    assert "hash" in done.stderr


@pytest.mark.parametrize("package", ["uvloop", "pytest"])
def test_both_locks_are_audited(package: str) -> None:
    """What the image has, and what the tests run with."""
    text = "".join(Path(path).read_text() for path in audit.LOCKS)
    release = next(line.split()[0] for line in text.splitlines() if line.startswith(f"{package}=="))
    with vulnerability_service(audit.CANARY, release) as service:
        done = run_audit(service)
    assert done.returncode == audit.VULNERABLE
    assert package in done.stdout
