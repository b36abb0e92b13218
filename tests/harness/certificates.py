"""A private certificate authority, and what it issues: well, and badly."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A server's certificate with its key."""

    chain: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Return what a server needs to show it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


class Authority:
    """A private CA."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self.file = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", self._key, "-out", self.file, "-subj", f"/CN={name}", "-days", "2",
            "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip

    def issue(self, name: str, alternative: str, *dates: str) -> Certificate:
        """Return a certificate for that name; ``dates`` are options of ``openssl x509``."""
        certificate = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        asked, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alternative}\n")
        self._openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", certificate.key, "-out", asked, "-subj", f"/CN={name}",
        )  # fmt: skip
        self._openssl(
            "x509", "-req", "-in", asked, "-CA", self.file, "-CAkey", self._key,
            "-CAcreateserial", "-out", certificate.chain, "-extfile", extensions,
            *(dates or ("-days", "2")),
        )  # fmt: skip
        return certificate

    @staticmethod
    def _openssl(*arguments: str | Path) -> None:
        program = shutil.which("openssl")
        assert program
        subprocess.run([program, *arguments], check=True, capture_output=True)


@dataclass(frozen=True)
class Certificates:
    """What the tests of TLS need, made once."""

    authority: Authority
    good: Certificate
    wrong_name: Certificate
    expired: Certificate
    stranger: Certificate
