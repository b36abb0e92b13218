"""The peers that are compared, each started as its own documentation would have it.

All do the same work: they check the token in ``x-api-key``, put the key in its place, take
``/relay/<name>`` off the path, and pass bodies on as they come, both ways. Each is one process
with one thread, writes a line of log for each call to a file, and keeps connections to the
upstreams. ``direct`` is none: it is the way without a peer, which the others are compared with.
"""

from __future__ import annotations

import json
import shutil
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.calling import KEY, TOKEN
from tests.bench.processes import module

DIRECT: Final = "direct"
NGINX: Final = "nginx"
HAPROXY: Final = "haproxy"
AIOHTTP: Final = "aiohttp"
RELAY: Final = "relay"
ALL: Final = (DIRECT, NGINX, HAPROXY, AIOHTTP, RELAY)
CALLS: Final = "calls"
STREAMS: Final = "streams"
HERE: Final = Path(__file__).parent
# Debian puts daemons where a user's PATH does not look.
_PATHS: Final = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


@dataclass(frozen=True, slots=True)
class Upstreams:
    """The ports that peers forward to."""

    calls: int
    streams: int


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a peer is to work."""

    folder: Path
    """For its configuration and its log."""
    port: int
    upstreams: Upstreams


class Template(string.Template):
    """A file of a peer's, in whose language ``$`` has a meaning."""

    delimiter = "@"


def written(template: Path, folder: Path, **values: object) -> Path:
    """Fill a template in, and return the file."""
    file = folder / template.name
    file.write_text(Template(template.read_text()).substitute(values))
    return file


def program(name: str) -> str:
    """Return the path of a program, or "" where it is not installed."""
    return shutil.which(name) or shutil.which(name, path=_PATHS) or ""


def _nginx(setting: Setting) -> list[str]:
    file = _from_template("nginx.conf", setting)
    return [program("nginx"), "-p", str(setting.folder), "-c", str(file), "-e", "stderr"]


def _haproxy(setting: Setting) -> list[str]:
    file = _from_template("haproxy.cfg", setting)
    return [program("haproxy"), "-db", "-f", str(file)]


def _from_template(name: str, setting: Setting) -> Path:
    return written(
        HERE / name,
        setting.folder,
        port=setting.port,
        calls=setting.upstreams.calls,
        streams=setting.upstreams.streams,
        token=TOKEN,
        key=KEY,
    )


def _aiohttp(setting: Setting) -> list[str]:
    ports = map(str, (setting.port, setting.upstreams.calls, setting.upstreams.streams))
    return [*module("tests.bench.peers.plain_aiohttp"), *ports, TOKEN, KEY]


def _relay(setting: Setting) -> list[str]:
    (setting.folder / "key").write_text(KEY)
    (setting.folder / "token").write_text(TOKEN)
    configuration = {
        "grants": [{"name": "anthropic", "source": {"file": "key"}}],
        "relays": {
            CALLS: {"url": f"http://127.0.0.1:{setting.upstreams.calls}"},
            STREAMS: {"url": f"http://127.0.0.1:{setting.upstreams.streams}"},
        },
        "listen": [f"127.0.0.1:{setting.port}"],
        "admin": "127.0.0.1:0",
        "clients": [{"name": "agent", "token": {"file": "token"}}],
    }
    file = setting.folder / "agent.yaml"
    file.write_text(json.dumps(configuration))  # JSON is YAML
    return [*module("relay"), "serve", "--config", str(file)]


COMMANDS: Final[dict[str, Callable[[Setting], list[str]]]] = {
    NGINX: _nginx,
    HAPROXY: _haproxy,
    AIOHTTP: _aiohttp,
    RELAY: _relay,
}
