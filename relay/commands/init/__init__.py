"""``relay init``: writes an agent.yaml and what goes with it, for the case at hand.

`detect` looks around, `ask` settles what is wanted, `templates` makes the texts, `write` writes
them; then the result is read as by ``relay check``. There are two cases: the relay in Docker beside
compose.yaml (config/agent.yaml, .env; the stack makes the token), and the relay on this host
(agent.yaml, relay_token). No secret is shown; one is copied, from its variable into ``secrets``,
only with ``--store``. In a Git repository no secret is written unless .gitignore excludes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from relay.commands.check import describe
from relay.commands.init.ask import Choices, Console, Flags, choose
from relay.commands.init.detect import Found, look_around, secret_name, value_of
from relay.commands.init.messages import next_steps, what_was_found
from relay.commands.init.templates import (
    CONFIG_FOLDER,
    TOKEN_FILE,
    agent_yaml,
    compose_variables,
    outdated,
)
from relay.commands.init.way_out import SECRET_NAME
from relay.commands.init.write import (
    SECRET,
    Draft,
    ignored,
    is_under_git,
    merged,
    read_text,
    variables_in,
    write_all,
)
from relay.commands.token import fresh_token
from relay.config import Settings, load

__all__ = ["Console", "Flags", "Setup"]

# The image's own user, for files that root writes.
_IMAGE_IDS: Final = (10001, 10001)


class Setup:
    """One run of the command: look around and choose, write, check."""

    def __init__(
        self, folder: Path, flags: Flags, environment: Mapping[str, str], console: Console | None
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._wants_store = bool(flags.store)
        self._found: Found = look_around(folder, environment)
        self._choices: Choices = choose(flags, self._found, console)

    def found(self) -> Iterator[str]:
        """Yield the lines that say what was found, and what is missing."""
        yield from what_was_found(self._choices, self._found)
        missing = set(self._choices.credentials) - self._found.credentials.keys()
        if self._wants_store and missing - {"subscription"}:
            yield "note      --store found nothing to keep: set it, and run this again with --force"

    def write(self, *, force: bool) -> Iterator[str]:
        """Write the files, and yield a line for each.

        Raises:
            CommandError: Something else is there, and there is no ``force``: then nothing was
                written; or a file cannot be read or written.
        """
        for state, path in write_all(list(self._drafts(force=force)), force=force):
            yield f"{state:<9} {path}"

    async def check(self) -> list[str]:
        """Return the lines of ``relay check`` and the warnings for what was written.

        Raises:
            ConfigurationError: It cannot be used.
        """
        settings = self._load()
        lines = [line.partition(" ") for line in await describe(settings)]
        served = [f"serves    {text.strip()}" for word, _, text in lines if word == "relay"]
        return served + [f"warning   {warning}" for warning in self._warnings(settings)]

    def _warnings(self, settings: Settings) -> Iterator[str]:
        """Yield the warnings, but for the ledger's folder, which is in the container."""
        for warning in settings.warnings:
            if self._choices.case == "host" or ": ledger.path: " not in warning:
                yield warning

    def next_steps(self) -> Iterator[str]:
        """Yield the commands to run next."""
        yield from next_steps(self._choices, self._found, self._folder)

    def _load(self) -> Settings:
        if self._choices.case == "host":
            return load(self._config, self._environment)
        # As in the container: its variables, its folder of secrets, and the token of the stack.
        inside = {"RELAY_TOKEN": fresh_token(), "RELAY_SECRETS": str(self._folder / "secrets")}
        return load(self._config, inside | self._variables())

    @property
    def _config(self) -> Path:
        inner = CONFIG_FOLDER if self._choices.case == "compose" else ""
        return self._folder / inner / "agent.yaml"

    def _variables(self) -> dict[str, str]:
        """Return the variables of .env."""
        return compose_variables(self._choices, self._found, (os.getuid(), os.getgid()))

    def _env(self, current: str, *, force: bool) -> str:
        unused = outdated(self._choices, variables_in(current))
        return merged(current, self._variables(), unused, force=force)

    def _drafts(self, *, force: bool) -> Iterator[Draft]:
        drafts = list(self._files(force=force))
        if is_under_git(self._folder):
            file = self._folder / ".gitignore"
            secret = [each.path for each in drafts if each.mode == SECRET]
            names = [each.relative_to(self._folder).parts[0] for each in secret]
            text = ignored(read_text(file) or "", dict.fromkeys(names))
            yield Draft(file, text, when_there="update")
        yield from drafts

    def _files(self, *, force: bool) -> Iterator[Draft]:
        yield Draft(self._config, agent_yaml(self._choices, self._found))
        if self._choices.case == "host":
            token = f"{fresh_token()}\n"
            yield Draft(self._folder / TOKEN_FILE, token, SECRET, when_there="keep")
        else:
            file = self._folder / ".env"
            text = self._env(read_text(file) or "", force=force)
            yield Draft(file, text, SECRET, when_there="update")
        owner = _IMAGE_IDS if self._choices.case == "compose" and os.getuid() == 0 else None
        for name in self._choices.store:
            path = self._folder / "secrets" / secret_name(name)
            value = f"{value_of(name, self._environment)}\n"
            yield Draft(path, value, SECRET, when_there="keep", owner=owner)
        if self._choices.egress is not None and self._choices.store_login:
            path = self._folder / "secrets" / SECRET_NAME
            value = f"{self._choices.egress.login}\n"
            yield Draft(path, value, SECRET, when_there="keep", owner=owner)
