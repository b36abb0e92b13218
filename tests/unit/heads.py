"""Heads as values, made and read back."""

from relay.http.grammar import Field
from relay.http.headers import field
from relay.http.message import RequestHead, ResponseHead
from relay.http.parser import ResponseHeadReader


def fields_of(*pairs: tuple[str, str]) -> tuple[Field, ...]:
    """Return fields with these names and values."""
    return tuple(field(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs)


def request_head(*pairs: tuple[str, str], target: bytes = b"/", minor: int = 1) -> RequestHead:
    """Return a request's head with these fields."""
    return RequestHead(
        method=b"POST",
        target=target,
        minor=minor,
        fields=fields_of(*pairs),
        length=None,
        chunked=False,
    )


def response_head(*pairs: tuple[str, str], status: int = 200, minor: int = 1) -> ResponseHead:
    """Return a response's head with these fields."""
    return ResponseHead(
        status=status,
        reason=b"OK",
        minor=minor,
        fields=fields_of(*pairs),
        length=None,
        chunked=False,
    )


def lines(fields: list[Field]) -> list[tuple[str, str]]:
    """Return fields as pairs of text."""
    return [(f.name.decode("latin-1"), f.value.decode("latin-1")) for f in fields]


def read_response(data: bytes) -> tuple[ResponseHead, bytes]:
    """Return a written answer's head and what follows it."""
    reader = ResponseHeadReader()
    assert reader.feed(data)
    return reader.head(), reader.rest


def names(head: ResponseHead) -> list[bytes]:
    """Return the names of a head's fields."""
    return [f.key for f in head.fields]
