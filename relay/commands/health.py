"""``relay health``: one question to the admin listener, on the standard library alone.

The image runs it every five seconds, and an HTTP client library would cost 25 MB each time.
"""

from __future__ import annotations

import http.client
from typing import Final

from relay.commands import CommandError
from relay.commands.admin_address import callable_address
from relay.config import ListenAddress

HEALTH_SECONDS: Final = 5.0


def ask(address: ListenAddress, page: str) -> tuple[int, str]:
    """Return an admin page's status and text.

    Raises:
        CommandError: Nobody answers there.
    """
    called = callable_address(address)
    connection = http.client.HTTPConnection(called.host, called.port, timeout=HEALTH_SECONDS)
    try:
        connection.request("GET", page)
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise CommandError(f"no relay answers at {address}") from error
    finally:
        connection.close()
