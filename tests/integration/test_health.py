"""What ``relay health`` asks a relay for, and where."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from relay.commands import CommandError
from relay.commands.health import ask
from relay.config import ListenAddress


class Pages(BaseHTTPRequestHandler):
    """Two pages, one of which is not well."""

    def do_GET(self) -> None:
        """Answer."""
        body = self.path.encode()
        self.send_response(200 if self.path == "/healthz" else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Pages6(HTTPServer):
    """The same on IPv6."""

    address_family = socket.AF_INET6


@contextmanager
def pages(host: str) -> Iterator[int]:
    """Serve the pages on a port of this host."""
    kind = Pages6 if ":" in host else HTTPServer
    with kind((host, 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("bound", "asked"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("::1", "::1"), ("::1", "::")],
)
def test_page_is_asked_for_where_it_is(
    bound: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All addresses are asked on loopback, and no proxy is in between."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with pages(bound) as port:
        assert ask(ListenAddress(asked, port), "/healthz") == (200, "/healthz")
        assert ask(ListenAddress(asked, port), "/readyz") == (503, "/readyz")


def test_nobody_there_is_an_error() -> None:
    """With the address that was asked."""
    with socket.socket() as handle:
        handle.bind(("127.0.0.1", 0))
        port = handle.getsockname()[1]
        with pytest.raises(CommandError, match=f"no relay answers at 127.0.0.1:{port}"):
            ask(ListenAddress("127.0.0.1", port), "/healthz")


def test_somebody_else_there_is_an_error() -> None:
    """What does not speak HTTP is no relay."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(CommandError, match="no relay answers"):
            ask(ListenAddress("127.0.0.1", server.getsockname()[1]), "/healthz")
        thread.join()
