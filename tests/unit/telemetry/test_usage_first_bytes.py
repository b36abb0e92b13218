"""What a body is, told by its first bytes, as soon as they tell."""

import pytest

from relay.telemetry.usage.first_bytes import kind_of

BODIES = {
    b"{": "json",
    b"\xef\xbb\xbf{": "json",
    b"\xef\xbb\xbf\n{": "json",
    b"data:": "events",
    b"event:": "events",
    b"id:": "events",
    b"retry:": "events",
    b":": "events",
    b"\xef\xbb\xbfdata:": "events",
    b"<": "other",
    b"[": "other",
    b"de": "other",
    b"data ": "other",
    b"Event": "other",
    b"\x0b{": "other",
    b"\xef{": "other",
    b"\xff": "other",
    b"\x00": "other",
}


@pytest.mark.parametrize("start", BODIES)
def test_the_first_bytes_tell(start: bytes) -> None:
    """Whatever follows them; and before the last of them nothing is certain."""
    assert kind_of(start) == BODIES[start]
    assert kind_of(start + b"x: {") == BODIES[start]
    for length in range(len(start)):
        assert kind_of(start[:length]) in (None, BODIES[start])


@pytest.mark.parametrize("start", [b"", b"\xef\xbb", b"\xef\xbb\xbf\n", b"e", b"event", b"i"])
def test_too_few_tell_nothing(start: bytes) -> None:
    """More must come."""
    assert kind_of(start) is None
