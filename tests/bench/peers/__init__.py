"""The peers that are compared, each started as its own documentation would have it.

All do the same work: they check the token in ``x-api-key``, put the key in its place, take
``/relay/<name>`` off the path, and pass bodies on as they come, both ways. Each is one process
with one thread, writes a line of log for each call to a file, and keeps connections to the
upstreams. ``direct`` is none: it is the way without a peer, which the others are compared with.
``chain`` is the relay once more, with a hop: an nginx that does nothing but send on to the return
address, so that calls cross the relay twice; ``limited`` is the relay with a ledger and limits.
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
CHAIN: Final = "chain"
LIMITED: Final = "limited"
RELAYS: Final = (RELAY, CHAIN, LIMITED)
"""Those that are this project's own."""
ALL: Final = (DIRECT, NGINX, HAPROXY, AIOHTTP, *RELAYS)
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
    hop: int = 0
    """The port of its hop, where it has one."""
    returns: int = 0
    """The port that its hop sends on to."""


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


def hop(setting: Setting) -> list[str]:
    """Return the command of a peer's hop."""
    file = written(HERE / "hop.conf", setting.folder, port=setting.hop, returns=setting.returns)
    return [program("nginx"), "-p", str(setting.folder), "-c", str(file), "-e", "stderr"]


def _relay(setting: Setting) -> list[str]:
    return _serve(setting, {"relays": _relays(setting)})


def _limited(setting: Setting) -> list[str]:
    limits = [
        {"usd": 1_000_000, "per": "day"},
        {"tokens": 10**12, "per": "hour"},
        {"at_once": 9999},
    ]
    ledger = {"path": str(setting.folder / "ledger.db")}
    return _serve(setting, {"relays": _relays(setting), "ledger": ledger, "limits": limits})


def _relays(setting: Setting) -> dict[str, dict[str, object]]:
    upstreams = {CALLS: setting.upstreams.calls, STREAMS: setting.upstreams.streams}
    return {name: {"url": f"http://127.0.0.1:{port}"} for name, port in upstreams.items()}


def _chain(setting: Setting) -> list[str]:
    upstreams = {CALLS: setting.upstreams.calls, STREAMS: setting.upstreams.streams}
    # What the hop gets is the path that it has to send on: it need not change a thing.
    relays: dict[str, dict[str, object]] = {
        name: {
            "url": f"http://127.0.0.1:{port}",
            "hops": [{"name": "hop", "url": f"http://127.0.0.1:{setting.hop}/{name}/hop"}],
        }
        for name, port in upstreams.items()
    }
    return _serve(setting, {"relays": relays, "returns": [f"127.0.0.1:{setting.returns}"]})


def _serve(setting: Setting, configuration: dict[str, object]) -> list[str]:
    (setting.folder / "key").write_text(KEY)
    (setting.folder / "token").write_text(TOKEN)
    configuration |= {
        "grants": [{"name": "anthropic", "source": {"file": "key"}}],
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
    CHAIN: _chain,
    LIMITED: _limited,
}
