"""What the API was called with, and what in a call is none of its business."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from tests.harness.peer import Request
from tests.harness.secrets import OTHER_TOKEN, TOKEN

_TOKENS: Final = (TOKEN.encode(), OTHER_TOKEN.encode())


@dataclass(frozen=True)
class Call:
    """A request as the API got it."""

    request: Request

    @property
    def method(self) -> str:
        """The method."""
        return self.request.method.decode()

    @property
    def target(self) -> str:
        """Path and query."""
        return self.request.target.decode()

    @property
    def path(self) -> str:
        """The path alone."""
        return self.target.partition("?")[0]

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The header lines, names in lower case, in the order in which they came."""
        return [(name.decode().lower(), text.decode()) for name, text in self.request.fields]

    def values(self, name: str) -> list[str]:
        """Return the values of the headers of this name."""
        return [text for key, text in self.headers if key == name]

    @property
    def data(self) -> dict[str, Any]:
        """The JSON object in the body."""
        data = json.loads(self.request.body)
        assert isinstance(data, dict)
        return data

    @property
    def prompt(self) -> str:
        """The text of the last message, whatever it is made of."""
        return json.dumps(self.data["messages"][-1]["content"])

    def leaks(self) -> list[str]:
        """Return where in the call there is a client's token."""
        parts = [("request line", self.request.start), ("body", self.request.body)]
        parts += [(f"header {name.decode()}", text) for name, text in self.request.fields]
        parts += [("header name", name) for name, _ in self.request.fields]
        return [part for part, text in parts if any(token in text for token in _TOKENS)]
