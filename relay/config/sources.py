"""Where values are that agent.yaml does not hold itself: variables, files and commands.

And ``Model``, which these and the rest of the schema are built on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from relay.config.problems import looks_secret
from relay.config.values import EnvName, FilePath, HeaderName, JsonPath, PositiveNumber


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    runnable = words[0].isprintable() and bool(words[0]) and not any("\0" in word for word in words)
    try:
        " ".join(words).encode()
    except UnicodeEncodeError:
        runnable = False
    if not runnable or looks_secret(words[0]):
        raise ValueError("must be a program and its arguments, not what it prints")
    return words


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
    """The variable's name."""


class FileSource(Model):
    """A value in a file, whole or at a dotted path in its JSON, re-read when it changes."""

    file: FilePath
    """The file's path; ``~`` is the relay's home, a relative path begins at agent.yaml's folder."""
    json_path: JsonPath | None = Field(default=None, alias="json", min_length=1)
    """Where in the file's JSON the value is, such as ``a.b.c``; left out, the whole file is it,
    unless its JSON is of a form [that is known](#values-that-end)."""
    expires: JsonPath | None = Field(default=None, min_length=1)
    """Where in the JSON it is said when the value ends; by default it is looked for beside it."""

    def located(self, folder: Path) -> FileSource:
        """Return this source with ``~`` and a relative path made absolute."""
        return self.model_copy(update={"file": str(folder / Path(self.file).expanduser())})


class CommandSource(Model):
    """A value printed by a command, run again before it ends, or when ``ttl`` has passed."""

    command: Annotated[tuple[str, ...], AfterValidator(_command)] = Field(
        min_length=1, strict=False
    )
    """The program and its arguments; no shell reads them. It has 10 seconds."""
    ttl: PositiveNumber = 300
    """Seconds for which what it printed is used, where that does not say when it ends."""
    json_path: JsonPath | None = Field(default=None, alias="json", min_length=1)
    """Where in the JSON that it prints the value is, as in a file."""
    expires: JsonPath | None = Field(default=None, min_length=1)
    """Where in the JSON it is said when the value ends, as in a file."""


def source_kind(data: object) -> str | None:
    """Return the tag of the source that this is meant to be, by the key that is in it."""
    if isinstance(data, dict):
        return next((f"<{key}>" for key in ("env", "file", "command") if key in data), None)
    return None


# The tags stand in angle brackets, so that an error's location can be told from them.
Source = Annotated[
    Annotated[EnvSource, Tag("<env>")]
    | Annotated[FileSource, Tag("<file>")]
    | Annotated[CommandSource, Tag("<command>")],
    Discriminator(source_kind),
]

Headers = dict[HeaderName, Source]
