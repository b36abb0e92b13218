"""The frozen schema of agent.yaml, one model for each thing that can be declared.

Each model stands for itself, so that a mistake in one hides none in another; what they
mean together is settled in ``loading``. Validators say what would be right, without the
value that is wrong.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Tag,
)

from relay.config.addresses import parse_upstream
from relay.config.problems import looks_secret
from relay.errors import Api, RelayError
from relay.headers import HOP_BY_HOP
from relay.lines import TOKEN
from relay.routing import RELAY_NAME, check_target

BUILT_IN_GRANTS: Final = ("anthropic", "claude", "openai")

_HEADER_NAME: Final = re.compile(TOKEN.decode())
_HEADER_VALUE: Final = re.compile(r"[\t -~]*")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
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
        raise ValueError("must be a dotted path into the file, such as a.b.c")
    return text


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    runnable = words[0].isprintable() and bool(words[0]) and not any("\0" in word for word in words)
    try:
        " ".join(words).encode()
    except UnicodeEncodeError:
        runnable = False
    if not runnable or looks_secret(words[0]):
        raise ValueError("must be a program and its arguments, not what it prints")
    return words


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


def _upstream(text: str) -> str:
    parse_upstream(text)
    return text


def _prefix(text: str) -> str:
    try:
        check_target(b"GET", text.encode())
    except (RelayError, UnicodeEncodeError):
        raise ValueError("must be a plain path that begins with /") from None
    if "?" in text:
        raise ValueError("must be a path without a query")
    return text


EnvName = Annotated[str, AfterValidator(_env_name)]
FilePath = Annotated[str, AfterValidator(_file_path)]
JsonPath = Annotated[str, AfterValidator(_json_path)]
Name = Annotated[str, AfterValidator(_name)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
HeaderFormat = Annotated[str, AfterValidator(_header_format)]
UpstreamUrl = Annotated[str, AfterValidator(_upstream)]
PathPrefix = Annotated[str, AfterValidator(_prefix)]


class Model(BaseModel):
    """Frozen, strict about unknown keys, and silent about values."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        strict=True,
        populate_by_name=True,
        allow_inf_nan=False,
    )


class EnvSource(Model):
    """A value in an environment variable, read when the relay starts."""

    env: EnvName


class FileSource(Model):
    """A value in a file, whole or at a dotted path in its JSON, re-read when it changes."""

    file: FilePath
    json_path: JsonPath | None = Field(default=None, alias="json", min_length=1)

    def located(self, folder: Path) -> FileSource:
        """Return this source with ``~`` and a relative path made absolute."""
        return self.model_copy(update={"file": str(folder / Path(self.file).expanduser())})


class CommandSource(Model):
    """A value printed by a command, run again when ``ttl`` seconds have passed."""

    command: Annotated[tuple[str, ...], AfterValidator(_command)] = Field(
        min_length=1, strict=False
    )
    ttl: PositiveFloat = 300


def _source_kind(data: object) -> str | None:
    if isinstance(data, dict):
        return next((f"<{key}>" for key in ("env", "file", "command") if key in data), None)
    return None


# The tags stand in angle brackets, so that an error's location can be told from them.
Source = Annotated[
    Annotated[EnvSource, Tag("<env>")]
    | Annotated[FileSource, Tag("<file>")]
    | Annotated[CommandSource, Tag("<command>")],
    Discriminator(_source_kind),
]


class Grant(Model):
    """A credential and, for a custom one, how it goes into a request."""

    name: Name
    source: Source | None = None
    header: HeaderName | None = None
    format: HeaderFormat = "{}"
    remove: tuple[HeaderName, ...] = Field(default=(), strict=False)
    add: dict[HeaderName, HeaderValue] = Field(default_factory=dict)


class Client(Model):
    """Someone who may call, and the token to call with."""

    name: Name
    token: Source


class Claude(Model):
    """The shorthand for the relay named ``anthropic``."""

    base_url: UpstreamUrl | None = None


class Relay(Model):
    """A named relay, at /relay/<name>/."""

    url: UpstreamUrl | None = None
    grant: Name | None = None
    api: Api | None = None
    allow: tuple[PathPrefix, ...] | None = Field(default=None, min_length=1, strict=False)
    ca_file: FilePath | None = None
    max_body: PositiveInt | None = None


class Timeouts(Model):
    """Limits in seconds; none of them bounds a whole call."""

    connect: PositiveFloat = 10
    """Resolving, connecting and the TLS handshake."""
    headers: PositiveFloat = 600
    """From the request's last byte to the response's head."""
    idle: PositiveFloat = 330
    """Silence within an answer."""
    request_body: PositiveFloat = 30
    """Silence within a request."""
    write: PositiveFloat = 120
    """A peer that takes no byte of what is there for it."""


class Drain(Model):
    """How many seconds a stopping relay waits for the calls in flight."""

    drain: NonNegativeFloat = 30


class Price(Model):
    """What a model costs, in US dollars per million tokens; what is left out is derived."""

    input: NonNegativeFloat
    output: NonNegativeFloat
    cache_read: NonNegativeFloat | None = None
    cache_write_5m: NonNegativeFloat | None = None
    cache_write_1h: NonNegativeFloat | None = None
    cache_write_unknown: NonNegativeFloat | None = None
