"""The egress proxy that a variable such as ``$HTTPS_PROXY`` names, to be proposed and written down.

The relay itself does not follow these variables. User and password are kept apart, for they are
written to a file of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from relay.config import parse_proxy
from relay.config.egress import PROXY_VARIABLES

NONE: Final = "none"
"""The value of ``--egress`` that means no proxy."""
SECRET_NAME: Final = "proxy"
_EXCEPTIONS: Final = ("no_proxy", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class WayOut:
    """A proxy, and where it was found."""

    url: str
    """Without user and password; empty where the variable names no proxy that can be used."""
    variable: str = ""
    login: str = field(default="", repr=False)
    """``user:password``, if the variable has it."""


def named_by(environment: Mapping[str, str]) -> WayOut | None:
    """Return the proxy for ``https`` that the environment names."""
    name = next((each for each in PROXY_VARIABLES if environment.get(each, "").strip()), None)
    if name is None:
        return None
    text = environment[name].strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        login, _, host = parts.netloc.rpartition("@")
        url = str(parse_proxy(f"{parts.scheme}://{host}"))
    except ValueError:
        return WayOut("", name)
    user, _, password = login.partition(":")
    return WayOut(url, name, f"{unquote(user)}:{unquote(password)}" if login else "")


def is_excepted(host: str, environment: Mapping[str, str]) -> bool:
    """Whether ``$NO_PROXY`` excepts this host."""
    text = next((environment[name] for name in _EXCEPTIONS if environment.get(name)), "")
    names = [each.strip().lower().lstrip(".").partition(":")[0] for each in text.split(",")]
    return any(name in ("*", host) or host.endswith(f".{name}") for name in filter(None, names))
