"""What ``relay check``, ``token`` and ``health`` do, below the command line."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from relay.commands import CommandError
from relay.commands.admin_address import admin_address, configured_admin, interface_host
from relay.commands.check import describe
from relay.commands.health import ask
from relay.commands.token import fresh_token, write_token
from relay.config import ListenAddress
from tests.harness.configurations import BOTH, OTHER, SHORT, TOKEN, settings_of

API_KEY = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration with its secrets beside it."""
    (tmp_path / "agent.yaml").write_text(BOTH)
    (tmp_path / "key").write_text(API_KEY)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "other").write_text(OTHER)
    return tmp_path


OPENAI_PATHS = "/v1/chat/completions /v1/responses /v1/models /v1/embeddings /v1/files"


# relay check


async def test_check_shows_what_would_be_served(folder: Path) -> None:
    """Every address, relay, client and limit; of secrets, only where they are."""
    assert await describe(settings_of(folder)) == [
        "listen    127.0.0.1:8484",
        "listen    docker0:8484",
        "admin     127.0.0.1:9484",
        "relay     /relay/openai forwards to https://llm.example.com/proxy, API openai",
        f"            paths       {OPENAI_PATHS}",
        f"            credential  openai, is MISSING: {folder}/missing is not there",
        "relay     /relay/anthropic forwards to http://localhost:8787, API anthropic",
        "            paths       /v1/messages /v1/models /v1/files /v1/complete",
        f"            credential  anthropic, is there, from {folder}/key",
        f"client    agent: token is there, from {folder}/token",
        f"client    other: token is there, from {folder}/other",
        f"client    late: token is MISSING: {folder}/late is not there",
        "timeouts  connect 10 s, headers 600 s, idle 330 s, request_body 30 s, write 120 s",
        "drain     30 s",
    ]


async def test_check_shows_no_secret(folder: Path) -> None:
    """Not a part of one."""
    shown = "\n".join(await describe(settings_of(folder)))
    for secret in (API_KEY, TOKEN, OTHER):
        assert secret[6:] not in shown


async def test_check_shows_warnings_and_an_open_door(folder: Path) -> None:
    """What is allowed and hardly meant."""
    lines = await describe(settings_of(folder, SHORT + "timeout: 5\n"))
    assert "client    whoever is on this host: no clients are declared" in lines
    place = f"{folder}/agent.yaml:3: timeout"
    assert lines[-1].startswith(f"warning   {place}: a top-level key is not the relay's")


async def test_check_says_what_is_wrong_with_values(folder: Path) -> None:
    """Of credentials and tokens alike, and of none more than that."""
    (folder / "key").write_text(f'"{API_KEY}"')
    (folder / "token").write_text("changeme")
    (folder / "other").write_text(API_KEY)
    lines = await describe(settings_of(folder))
    assert [line for line in lines if line.startswith("warning")] == [
        (
            "warning   credential anthropic has quotes around it, which would be sent too: "
            "write it without them"
        ),
        "warning   token of client agent is a placeholder: put the real value there",
        (
            "warning   token of client other is an API's credential, and agents would hold it: "
            "make another token, with relay token"
        ),
    ]
    assert API_KEY[4:] not in "\n".join(lines)


async def test_check_runs_commands_once(folder: Path) -> None:
    """To say whether they work, without what they print."""
    source = f"{{command: [/bin/echo, {API_KEY}]}}"
    text = f"grants: [{{name: anthropic, source: {source}}}]\nclaude: {{base_url: http://h}}\n"
    shown = "\n".join(await describe(settings_of(folder, text)))
    assert "anthropic, is there, from the command echo" in shown
    assert API_KEY not in shown


# relay token


def test_tokens_are_long_fresh_and_plain() -> None:
    """256 bits, of letters that need no quoting anywhere."""
    tokens = {fresh_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"relay-[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_token_is_written_for_everybody_who_mounts_the_volume(tmp_path: Path) -> None:
    """Readable by any user, writable by none, and whole from the start."""
    file = tmp_path / "relay_token"
    assert write_token(file)
    assert re.fullmatch(r"relay-[A-Za-z0-9_-]{43}\n", file.read_text())
    assert file.stat().st_mode & 0o777 == 0o444
    assert list(tmp_path.iterdir()) == [file]


def test_token_that_is_there_is_kept(tmp_path: Path) -> None:
    """A restart must not lock the agents out."""
    file = tmp_path / "relay_token"
    file.write_text(TOKEN)
    assert not write_token(file)
    assert file.read_text() == TOKEN


def test_empty_token_file_is_filled(tmp_path: Path) -> None:
    """Somebody's touch is no token."""
    file = tmp_path / "relay_token"
    file.touch()
    assert write_token(file)
    assert file.stat().st_size


def test_token_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """With the file and the reason, and without the token."""
    file = tmp_path / "nowhere/relay_token"
    with pytest.raises(CommandError, match=f"cannot be written to {file}: no such file") as caught:
        write_token(file)
    assert "relay-" not in str(caught.value)


# relay health


@pytest.mark.parametrize(
    ("configured", "environment", "address"),
    [
        (None, {}, "127.0.0.1:9484"),
        ("127.0.0.1:1", {}, "127.0.0.1:1"),
        ("127.0.0.1:1", {"RELAY_ADMIN": "[::1]:2"}, "[::1]:2"),
        (None, {"RELAY_ADMIN": " docker0:2 , 127.0.0.1:3"}, "docker0:2"),
        ("127.0.0.1:1", {"RELAY_ADMIN": ""}, "127.0.0.1:1"),
    ],
)
def test_admin_address_is_the_relays(
    configured: str | None, environment: dict[str, str], address: str
) -> None:
    """By the same order as the relay's own."""
    assert str(admin_address(configured, environment)) == address


@pytest.mark.parametrize(
    ("text", "admin"),
    [
        ("admin: '127.0.0.1:1'\n", "127.0.0.1:1"),
        ("admin: ['127.0.0.1:1', '[::1]:2']\n", "127.0.0.1:1"),
        ("admin: []\n", None),
        ("admin: 5\n", None),
        ("admin: {a: b}\n", None),
        ("listen: x\n", None),
        ("- a\n", None),
        ("", None),
        ("admin: [\n", None),
        ("admin: \x01\n", None),
    ],
)
def test_health_check_needs_no_valid_file(tmp_path: Path, text: str, admin: str | None) -> None:
    """Only the address, if it can be read."""
    file = tmp_path / "agent.yaml"
    file.write_text(text)
    assert configured_admin(file) == admin


def test_health_check_needs_no_file_at_all(tmp_path: Path) -> None:
    """Nor one that is text."""
    assert configured_admin(tmp_path / "missing.yaml") is None
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert configured_admin(tmp_path / "binary") is None


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


def test_interface_is_asked_on_its_first_address() -> None:
    """An address stays as it is."""
    assert interface_host(ListenAddress("lo", 1)) == ListenAddress("127.0.0.1", 1)
    assert interface_host(ListenAddress("::1", 1)) == ListenAddress("::1", 1)
    with pytest.raises(CommandError, match="nowhere0 has no address"):
        interface_host(ListenAddress("nowhere0", 1))
