"""Where the admin pages of an interface are asked."""

import pytest

from relay.commands import CommandError
from relay.commands.admin_address import interface_host
from relay.config import ListenAddress


def test_interface_is_asked_on_its_first_address() -> None:
    """An address stays as it is."""
    assert interface_host(ListenAddress("lo", 1)) == ListenAddress("127.0.0.1", 1)
    assert interface_host(ListenAddress("::1", 1)) == ListenAddress("::1", 1)
    with pytest.raises(CommandError, match="nowhere0 has no address"):
        interface_host(ListenAddress("nowhere0", 1))
