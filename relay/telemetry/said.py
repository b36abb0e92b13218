"""What the log has said once, and is not to say again: names of an API's or an agent's own."""

from __future__ import annotations


class Said:
    """Remembers names, up to so many: of those beyond nothing is said at all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._names: set[str] = set()

    def is_news(self, name: str) -> bool:
        """Whether this is the first time that a name is to be told of; it is remembered."""
        if name in self._names or len(self._names) >= self._most:
            return False
        self._names.add(name)
        return True
