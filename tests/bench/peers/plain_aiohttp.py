"""The relay one would write first: an aiohttp server, an aiohttp client, and a loop."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade"})
_CREDENTIALS: Final = frozenset({"host", "authorization", "x-api-key"})


class Relay:
    """Checks the token, puts the key in, and passes bodies on as they come."""

    def __init__(self, upstreams: dict[str, str], token: str, key: str) -> None:
        self._upstreams = upstreams
        self._token = token
        self._key = key
        self._session: ClientSession

    async def open(self, _: web.Application) -> AsyncIterator[None]:
        """Hold the session for as long as the server runs."""
        self._session = ClientSession(
            auto_decompress=False,
            connector=TCPConnector(limit=0),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=None, sock_read=330),
        )
        async with self._session:
            yield

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Relay one call."""
        if request.headers.get("x-api-key") != self._token:
            return web.json_response({"error": "unauthorized"}, status=401)
        url = self._upstreams[request.match_info["name"]] + request.match_info["rest"]
        dropped = _HOP_BY_HOP | _CREDENTIALS
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in dropped]
        headers.append(("x-api-key", self._key))
        body = request.content if request.can_read_body else None
        async with self._session.request(
            request.method,
            url,
            params=request.query,
            headers=headers,
            data=body,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    response.headers.add(name, value)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def main(port: str, calls: str, streams: str, token: str, key: str) -> None:
    """Serve until SIGTERM."""
    upstreams = {"calls": f"http://127.0.0.1:{calls}/", "streams": f"http://127.0.0.1:{streams}/"}
    relay = Relay(upstreams, token, key)
    app = web.Application()
    app.cleanup_ctx.append(relay.open)
    app.router.add_route("*", "/relay/{name}/{rest:.*}", relay.handle)
    web.run_app(app, host="127.0.0.1", port=int(port), backlog=2048, print=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
