"""What a running relay with this configuration says of itself, by its admin listener.

It may have been started elsewhere, with variables and files that this process cannot see: so its
word counts.
"""

from __future__ import annotations

import json

from relay.commands import CommandError
from relay.commands.admin_address import interface_host, page_url
from relay.commands.client import Client
from relay.config import Settings


async def holds_credential(configured: Settings, relay: str) -> bool:
    """Whether the running relay says that it has the credential of a relay."""
    try:
        url = page_url(interface_host(configured.admin[0]), "/readyz")
        async with Client() as client:
            page = json.loads((await client.ask("GET", url)).body)
        return bool(page["relays"][relay]["credential"]["ready"])
    except (CommandError, ValueError, LookupError, TypeError):
        return False
