"""Takes secrets and private names out of a report, in three passes.

First strings that are known to be secret (values of credentials, of variables named like secrets,
and all that is not shown of agent.yaml); then parts of URLs; then whatever looks like a key, a
token or a password. The same string has the same numbered placeholder throughout.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from relay import DOCS

REDACTED: Final = "[redacted]"

# Shorter ones stand in too many other words, and are no secrets.
_SHORTEST: Final = 6
_SECRET_NAME: Final = re.compile(
    r"key|token|secret|pass|credential|auth|cookie|command", re.IGNORECASE
)
_PLAIN_WORD: Final = re.compile(r"[a-z]{1,12}|[0-9.:,]*")
# Without punctuation that ends a sentence.
_URL: Final = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>`|\\]*[^\s\"'<>`|\\:.,;)]")
_USER: Final = re.compile(r"[^\s\"'<>/@]+:[^\s\"'<>@]+@[^\s\"'<>]+")
_SCHEME: Final = re.compile(r"\b(bearer|basic)\s+[^\s\"',;{<\[]+", re.IGNORECASE)
_HEADER: Final = re.compile(
    r"\b(authorization|proxy-authorization|x-api-key|api-key|cookie|set-cookie)\s*[:=]\s*[^\n\"]+",
    re.IGNORECASE,
)
_PREFIX: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-|pk-|AIza|AKIA|ASIA|gh[a-z]_|github_pat_|glpat-|xox[a-z]-|hf_|eyJ|"
    r"relay-[A-Za-z0-9_-]{16})[A-Za-z0-9_.+/=-]*"
)
# Candidates for IP addresses; the library decides.
_IP: Final = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4})(?![\w:])"
)
_UUID: Final = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
_RUN: Final = re.compile(r"[A-Za-z0-9_+=-]{10,}")
_PART: Final = re.compile(r"[A-Za-z0-9]+")
_LONG_PART: Final = 16
_LONG_RUN: Final = 24
_MIXED_PART: Final = 8
# Hosts that say nothing of the user.
_PUBLIC_HOSTS: Final = frozenset(
    {"localhost", "headroom", "host.docker.internal", "api.anthropic.com", "api.openai.com"}
)
# Paths made of the relay's and the APIs' own words.
_PLAIN_PATH: Final = re.compile(
    r"(?:/(?:relay|v1|messages|models|responses|chat|completions|livez|readyz|healthz|metrics|"
    r"calls|anthropic|openai|claude|headroom))*/?"
)


class Redaction:
    """The strings to hide, and the patterns of all else."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._known: dict[str, str] = {}
        self._hosts: dict[str, str] = {}
        for value in _of_environment(environment):
            self.hide(value)
        for value in environment.values():
            self.learn(value)
        if len(home := environment.get("HOME", "").rstrip("/")) > 1:
            self._known[home] = "~"

    def hide(self, text: str, instead: str = REDACTED) -> None:
        """Have a string replaced wherever it stands; one that is too short is left."""
        if len(text) >= _SHORTEST:
            self._known.setdefault(text, instead)

    def hide_host(self, host: str) -> str:
        """Return what stands for a host, here and wherever it is named."""
        host = host.lower()
        if host in _PUBLIC_HOSTS or _is_here(host):
            return host
        return self._hosts.setdefault(host, f"host-{len(self._hosts) + 1}")

    def known_out(self, text: str) -> str:
        """Return the text without what is known."""
        # The longest first: one may be a part of another.
        for known in sorted(self._known, key=len, reverse=True):
            text = text.replace(known, self._known[known])
        for host in sorted(self._hosts, key=len, reverse=True):
            whole = re.compile(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", re.IGNORECASE)
            text = whole.sub(self._hosts[host], text)
        return text

    def learn(self, text: str) -> None:
        """Hide what is secret in the URLs of a text, also where it stands alone."""
        for found in _URL.findall(text):
            self.url(found)

    def apply(self, text: str) -> str:
        """Return the text without what is known, and without what looks like it."""
        # URLs before the rest, while they are whole: what is known may be a part of one.
        text = self.known_out(_URL.sub(lambda found: self.url(found[0]), text))
        text = _IP.sub(lambda found: self._address(found[0]), text)
        text = _USER.sub(REDACTED, text)
        text = _HEADER.sub(rf"\1: {REDACTED}", text)
        text = _SCHEME.sub(rf"\1 {REDACTED}", text)
        text = _PREFIX.sub(REDACTED, text)
        text = _UUID.sub(REDACTED, text)
        return _RUN.sub(lambda found: REDACTED if looks_random(found[0]) else found[0], text)

    def _address(self, text: str) -> str:
        """Return what stands for an IP address, and what is none as it is."""
        try:
            ipaddress.ip_address(text)
        except ValueError:
            return text
        return self.hide_host(text)

    def url(self, text: str) -> str:
        """Return a URL's scheme, host and port; of its path no more than what is well known."""
        if text.startswith(DOCS) and "?" not in text:
            return text
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            return REDACTED
        if not host:
            return REDACTED
        for each in _in_url(parts):
            self.hide(each)
        shown = self.hide_host(host)
        shown = f"[{shown}]" if ":" in shown else shown
        path = parts.path if _PLAIN_PATH.fullmatch(parts.path) else "/<path>"
        query = "?<query>" if parts.query else ""
        return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{path}{query}"


def _of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of variables whose names say that they are secrets."""
    for name, value in environment.items():
        if _SECRET_NAME.search(name) and not _PLAIN_WORD.fullmatch(value.strip()):
            yield value.strip()


def _in_url(parts: SplitResult) -> Iterator[str]:
    """Yield what of a URL may be secret."""
    yield from filter(None, (parts.password, parts.username, parts.query, parts.fragment))
    if not _PLAIN_PATH.fullmatch(parts.path):
        yield parts.path


def _is_here(host: str) -> bool:
    """Whether an address says nothing of whose it is: loopback, or of a private network."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return ip.is_loopback or ip.is_private or ip.is_unspecified


def looks_random(run: str) -> bool:
    """Whether a run of letters, digits and dashes is rather drawn than chosen.

    Model names, paths of an API and versions must pass: they have letters of one case, and
    digits in parts of their own.
    """
    parts = _PART.findall(run)
    long = [part for part in parts if len(part) >= _LONG_PART]
    return (
        any(len(part) >= _MIXED_PART and _kinds(part) == 3 for part in parts)
        or any(_kinds(part) > 1 and not part.isalpha() for part in long)
        or (len(run) >= _LONG_RUN and _kinds(run) == 3)
    )


def _kinds(text: str) -> int:
    """Return how many of capitals, small letters and digits there are."""
    return any(map(str.isupper, text)) + any(map(str.islower, text)) + any(map(str.isdigit, text))
