"""What ``relay health`` asks a relay for, and where."""

import socket
import threading

import pytest

from relay.commands import CommandError
from relay.commands.health import ask
from relay.config import ListenAddress
from tests.harness.pages import serving_pages


def page(path: str) -> tuple[int, bytes]:
    """Return one of two pages, one of which is not well."""
    return 200 if path == "/healthz" else 503, path.encode()


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
    with serving_pages(page, bound) as port:
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
