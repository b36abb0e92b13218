"""``/``: the page, and the stylesheet and scripts that it is made of.

All files are read when this module is imported, so that no request touches the disk.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from aiohttp import web

from relay import DOCS, __version__

_CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def _read() -> dict[str, tuple[bytes, str]]:
    """Return each file's content and type, by its name."""
    found = {}
    for file in files("relay.admin").joinpath("static").iterdir():
        content_type = _CONTENT_TYPES.get(f".{file.name.rpartition('.')[2]}")
        if content_type is not None:
            text = file.read_text("utf-8")
            text = text.replace("{{docs}}", DOCS).replace("{{version}}", __version__)
            found[file.name] = (text.encode(), content_type)
    return found


_FILES: Final = _read()


async def show(_: web.Request) -> web.Response:
    """Return the page."""
    return _answer("index.html")


async def part(request: web.Request) -> web.Response:
    """Return one of its files."""
    name = request.match_info["name"]
    if name not in _FILES:
        raise web.HTTPNotFound
    return _answer(name)


def _answer(name: str) -> web.Response:
    body, content_type = _FILES[name]
    return web.Response(body=body, headers={"content-type": content_type})
