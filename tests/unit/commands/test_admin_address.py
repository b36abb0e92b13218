"""Where the admin pages are, by the variable and the file."""

from pathlib import Path

import pytest

from relay.commands import CommandError
from relay.commands.admin_address import admin_address, page_url
from relay.config import ListenAddress

DEFAULT = "127.0.0.1:9484"


@pytest.mark.parametrize(
    ("text", "variable", "address"),
    [
        ("admin: '127.0.0.1:1'\n", "", "127.0.0.1:1"),
        ("admin: ['127.0.0.1:1', '[::1]:2']\n", "", "127.0.0.1:1"),
        ("admin: '127.0.0.1:1'\n", "[::1]:2", "[::1]:2"),
        ("", " lo:2 , 127.0.0.1:3", "127.0.0.1:2"),
        *[(text, "", DEFAULT) for text in ("admin: []\n", "admin: 5\n", "admin: {a: b}\n")],
        *[(text, "", DEFAULT) for text in ("listen: x\n", "- a\n", "", "admin: [\n")],
        ("admin: \x01\n", "", DEFAULT),
        (b"\xff\xfe", "", DEFAULT),
        (None, "", DEFAULT),
    ],
)
def test_admin_address_is_the_relays(
    tmp_path: Path, text: str | bytes | None, variable: str, address: str
) -> None:
    """By the same order as the relay's own; a health check needs no valid file, nor any."""
    file = tmp_path / "agent.yaml"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert str(admin_address(str(file), {"RELAY_ADMIN": variable})) == address


@pytest.mark.parametrize(
    ("text", "variable", "said"),
    [
        ("", "nothing", r"^\$RELAY_ADMIN: must be host:port"),
        ("", "127.0.0.1:x", r"^\$RELAY_ADMIN: must "),
        ("", "nosuch0:1", "^nosuch0 has no address$"),
        ("admin: nothing\n", "", "^admin: must be host:port"),
    ],
)
def test_what_is_no_address_is_said(tmp_path: Path, text: str, variable: str, said: str) -> None:
    """With where it stands: in the variable, which is looked at first, or in the file."""
    file = tmp_path / "agent.yaml"
    file.write_text(text)
    with pytest.raises(CommandError, match=said):
        admin_address(str(file), {"RELAY_ADMIN": variable})


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
