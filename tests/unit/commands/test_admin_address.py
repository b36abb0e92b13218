"""Where the admin pages are, by the variable and the file."""

from pathlib import Path

import pytest

from relay.commands.admin_address import admin_address, configured_admin, page_url
from relay.config import ListenAddress


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


@pytest.mark.parametrize(
    ("asked", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1/calls"),
        ("0.0.0.0", "http://127.0.0.1:1/calls"),
        ("::1", "http://[::1]:1/calls"),
        ("::", "http://[::1]:1/calls"),
    ],
)
def test_page_has_a_url(asked: str, url: str) -> None:
    """By an address that can be called, which ``health`` uses as well."""
    assert page_url(ListenAddress(asked, 1), "/calls") == url
