"""What single values of agent.yaml must look like: names, paths, headers, addresses, numbers.

Each is a type for the models of ``schema``. A validator says what would be right, and never
repeats what is wrong: that may be a key in the wrong place.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from relay.config.addresses import parse_proxy, parse_upstream
from relay.config.problems import looks_secret
from relay.errors import RelayError
from relay.http.grammar import TOKEN
from relay.http.headers import HOP_BY_HOP
from relay.http.target import check_target

RELAY_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")

_HEADER_NAME: Final = re.compile(TOKEN.decode())
_HEADER_VALUE: Final = re.compile(r"[\t -~]*")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPONENT: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d{1,3}", re.ASCII)
_FIELD_FORMAT: Final = re.compile(r"[^{}]*\{[^{}\s]*\}[^{}]*")
_FRAMING_HEADERS: Final = HOP_BY_HOP | {b"host", b"content-length", b"expect"}


def _env_name(text: str) -> str:
    if not _ENV_NAME.fullmatch(text) or looks_secret(text):
        raise ValueError("must be the name of an environment variable, not its value")
    return text


def _file_path(text: str) -> str:
    if not text.isprintable() or not text.strip() or looks_secret(text):
        raise ValueError("must be the path of a file, not what is in it")
    try:
        Path(text).expanduser()
    except RuntimeError:
        raise ValueError("names the home folder of a user that there is not") from None
    return text


def _json_path(text: str) -> str:
    if not text.isprintable() or looks_secret(text):
        raise ValueError("must be a dotted path into JSON, such as a.b.c")
    return text


NAME_RULE: Final = "must be letters, digits, '-', '_' and '.', not \"none\", and nothing like a key"


def is_name(text: str) -> bool:
    """Whether this can name a relay, a grant or a client; a misplaced key cannot."""
    # "none" is the label of what is not known.
    wrong = text in (".", "..", "none") or looks_secret(text)
    return RELAY_NAME.fullmatch(text) is not None and not wrong


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(NAME_RULE)
    return text


def _hop_name(text: str) -> str:
    if not is_name(text) or "." in text:
        raise ValueError(NAME_RULE.replace(", '-', '_' and '.'", ", '-' and '_'"))
    return text


def _header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text) or text.lower().encode() in _FRAMING_HEADERS:
        raise ValueError("must be the name of a header, and not one of the connection's own")
    return text


def _header_value(text: str) -> str:
    if not _HEADER_VALUE.fullmatch(text):
        raise ValueError("must be printable ASCII on one line")
    return text


def _header_format(text: str) -> str:
    if text.count("{}") != 1:
        raise ValueError('must hold {} once, where the credential goes; for example "Bearer {}"')
    return _header_value(text)


def _field_format(text: str) -> str:
    if not _FIELD_FORMAT.fullmatch(text) or looks_secret(text):
        raise ValueError(
            'must hold the name of a field once, in braces; for example "Bearer {access_token}"'
        )
    return _header_value(text)


def _upstream(text: str) -> str:
    parse_upstream(text)
    return text


def _proxy(text: str) -> str:
    parse_proxy(text)
    return text


def _prefix(text: str) -> str:
    try:
        check_target(b"GET", text.encode())
    except (RelayError, UnicodeEncodeError):
        raise ValueError("must be a plain path that begins with /") from None
    if "?" in text:
        raise ValueError("must be a path without a query")
    return text


def _number(data: object) -> object:
    """Return a number that has an exponent, which YAML 1.1 takes for a text; else the data."""
    if not isinstance(data, str) or not _EXPONENT.fullmatch(data):
        return data
    number = float(data)
    return int(number) if number.is_integer() else number


EnvName = Annotated[str, AfterValidator(_env_name)]
FilePath = Annotated[str, AfterValidator(_file_path)]
JsonPath = Annotated[str, AfterValidator(_json_path)]
Name = Annotated[str, AfterValidator(_name)]
HopName = Annotated[str, AfterValidator(_hop_name)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
HeaderFormat = Annotated[str, AfterValidator(_header_format)]
FieldFormat = Annotated[str, AfterValidator(_field_format)]
UpstreamUrl = Annotated[str, AfterValidator(_upstream)]
ProxyUrl = Annotated[str, AfterValidator(_proxy)]
PathPrefix = Annotated[str, AfterValidator(_prefix)]
Number = Annotated[NonNegativeFloat, BeforeValidator(_number)]
PositiveNumber = Annotated[PositiveFloat, BeforeValidator(_number)]
PositiveWhole = Annotated[PositiveInt, BeforeValidator(_number)]
Whole = Annotated[NonNegativeInt, BeforeValidator(_number)]
Share = Annotated[float, Field(gt=0, le=1)]
