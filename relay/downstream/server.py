"""What one purpose is served on: its listening sockets, and the connections that came to them."""

from __future__ import annotations

from relay.config import ListenAddress
from relay.downstream.connections import Connections
from relay.downstream.listener import CannotListen, Listeners
from relay.downstream.server_connection import Handler, ServerConnection


class Server:
    """Listens for one purpose, and has one handler answer.

    ``section`` is where agent.yaml says the addresses; ``most`` is how many connections there may
    be, without end where it is None.
    """

    def __init__(
        self, handler: Handler, purpose: str, section: str, most: int | None = None
    ) -> None:
        self.connections = Connections(most)
        self._listeners = Listeners(
            lambda: ServerConnection(handler, self.connections), purpose, section
        )
        self.addresses: tuple[ListenAddress, ...] | None = None
        """Where it listens, once it does."""

    @property
    def bound(self) -> list[ListenAddress]:
        """The addresses that are listened on, with their ports."""
        return self._listeners.bound

    def open(self, addresses: tuple[ListenAddress, ...]) -> None:
        """Listen on these addresses.

        Raises:
            CannotListen: One of them cannot be listened on; then none of them is.
        """
        try:
            self._listeners.open(addresses)
        except CannotListen:
            self._listeners.close()
            raise
        self.addresses = addresses

    def close(self) -> None:
        """Accept no further connections."""
        self._listeners.close()

    def abort(self) -> None:
        """Accept no further connections, and drop those that there are."""
        self._listeners.close()
        self.connections.abort()
