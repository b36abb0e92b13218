"""Which responses have a body."""

import pytest

from relay.http.body import has_body
from tests.unit.heads import response_head


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (200, b"POST", True),
        (500, b"GET", True),
        (200, b"HEAD", False),
        (204, b"POST", False),
        (304, b"GET", False),
    ],
)
def test_body_is_expected_by_status_and_method(
    status: int, method: bytes, *, expected: bool
) -> None:
    """RFC 9112 §6.3."""
    assert has_body(response_head(status=status), method) is expected
