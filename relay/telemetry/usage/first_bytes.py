"""What a body is, told by its first bytes: for some servers label it wrongly, or not at all.

An event stream begins with the name of a field (WHATWG HTML §9.2.6) and a JSON object with its
brace; neither can begin as the other does.
"""

from __future__ import annotations

from typing import Final, Literal

Kind = Literal["json", "events", "other"]

BLANK: Final = b" \t\r\n"
"""May stand before either: some servers send it so that connections stay open."""

_BOM: Final = b"\xef\xbb\xbf"
_FIELDS: Final = (b"event:", b"data:", b"id:", b"retry:", b":")


def kind_of(start: bytes) -> Kind | None:
    """Return what begins with these bytes, which are not blank; None where they are too few."""
    if start.startswith(_BOM):
        start = start[len(_BOM) :].lstrip(BLANK)
    if start.startswith(_FIELDS):
        return "events"
    if start.startswith(b"{"):
        return "json"
    if _BOM.startswith(start):
        return None
    return None if any(field.startswith(start) for field in _FIELDS) else "other"
