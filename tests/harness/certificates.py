"""Private certificate authorities, and what they issue: well, and badly."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_IDENTIFIED: Final = ("subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid")
_KEY_USAGE: Final = "keyUsage=critical,keyCertSign,cRLSign"
CONFORMING: Final = ("basicConstraints=critical,CA:true", _KEY_USAGE, *_IDENTIFIED)
"""What RFC 5280 §4.2.1 asks of a CA's certificate."""
LAX: Final = {
    "basic constraints that are not critical": (
        *("basicConstraints=CA:true", _KEY_USAGE, *_IDENTIFIED),
    ),
    "no key identifiers": (
        *("basicConstraints=critical,CA:true", _KEY_USAGE),
        *("subjectKeyIdentifier=none", "authorityKeyIdentifier=none"),
    ),
    "no key usage": ("basicConstraints=critical,CA:true", *_IDENTIFIED),
    "no extensions": (),
}
"""What many a company's own CA has instead, by what is wrong with it."""
_VALID: Final = ("-days", "2")
_PAST: Final = ("-not_before", "20200101000000Z", "-not_after", "20200102000000Z")
_NEW_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


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
    """A private CA, with these extensions: its own issuer, or with another above it."""

    def __init__(
        self,
        folder: Path,
        name: str = "ca",
        extensions: tuple[str, ...] = CONFORMING,
        issuer: Authority | None = None,
    ) -> None:
        self._folder = folder
        self.file = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._identifiers = _IDENTIFIED if _IDENTIFIED[0] in extensions else ()
        asked = self._ask(name, self._key)
        file = self._write_extensions(name, extensions)
        signer = issuer._signer if issuer else ("-signkey", self._key)
        if extensions or not _is_recent():
            self._sign(asked, self.file, file, *signer, *_VALID)
        else:
            # Of version 1, as before: of version 3 it would not be one of a CA.
            made = ("-in", asked, "-key", self._key, "-out", self.file)
            _openssl("req", "-x509v1", *made, *_VALID, settings=os.devnull)

    @property
    def _signer(self) -> tuple[str | Path, ...]:
        return ("-CA", self.file, "-CAkey", self._key, "-CAcreateserial")

    def issue(self, name: str, alternative: str, *, expired: bool = False) -> Certificate:
        """Return a certificate for that name."""
        certificate = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        extensions = (f"subjectAltName={alternative}", *self._identifiers)
        asked = self._ask(name, certificate.key)
        file = self._write_extensions(name, extensions)
        past = _PAST if _is_recent() else ("-days", "-1")
        self._sign(asked, certificate.chain, file, *self._signer, *(past if expired else _VALID))
        return certificate

    def _ask(self, name: str, key: Path) -> Path:
        """Make a key, and return the request for its certificate."""
        asked = self._folder / f"{name}.csr"
        _openssl("req", *_NEW_KEY, "-keyout", key, "-out", asked, "-subj", f"/CN={name}")
        return asked

    def _write_extensions(self, name: str, extensions: tuple[str, ...]) -> Path:
        file = self._folder / f"{name}.ext"
        file.write_text("\n".join([*extensions, ""]))
        return file

    @staticmethod
    def _sign(asked: Path, certificate: Path, extensions: Path, *signer: str | Path) -> None:
        _openssl(
            *("x509", "-req", "-in", asked, "-out", certificate, "-extfile", extensions), *signer
        )


@cache
def _is_recent() -> bool:
    """Whether it is OpenSSL 3.5, which makes neither version 1 nor a past by itself any more."""
    return b"-not_after" in _openssl("x509", "-help")


def _openssl(*arguments: str | Path, settings: str | None = None) -> bytes:
    """Run it, with settings of its own; return what it says."""
    program = shutil.which("openssl")
    assert program
    environment = os.environ | ({"OPENSSL_CONF": settings} if settings else {})
    command = [program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, env=environment).stderr


@dataclass(frozen=True)
class Certificates:
    """What the tests of TLS need, made once."""

    authority: Authority
    good: Certificate
    wrong_name: Certificate
    expired: Certificate
    stranger: Certificate
