"""Servers of the standard library, each in a thread: for programs that a test runs to their end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers requests of some methods, and writes no log."""

    def do_GET(self) -> None:
        """Answer."""
        self.respond()

    do_HEAD = do_POST = do_GET  # noqa: N815  # http.server's names

    def respond(self) -> None:
        """Answer a request."""
        self.answer(200, b"{}")

    def body(self) -> bytes:
        """Read the request's body."""
        return self.rfile.read(int(self.headers["content-length"]))

    def answer(self, status: int, body: bytes) -> None:
        """Send a whole answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(HTTPServer):
    def __init__(self, host: str, handler: type[Handler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), handler)


@contextmanager
def handling(handler: type[Handler], host: str = "127.0.0.1") -> Iterator[int]:
    """Serve on an address of this host for the length of the context; yield the port."""
    with _Server(host, handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving_pages(
    page: Callable[[str], tuple[int, bytes]], host: str = "127.0.0.1"
) -> Iterator[int]:
    """Answer each GET with the status and the body that its path has; yield the port."""

    class Pages(Handler):
        def respond(self) -> None:
            self.answer(*page(self.path))

    with handling(Pages, host) as port:
        yield port
