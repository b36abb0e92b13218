"""One module or package for each command.

A command may import everything below it and does not know how it was called: ``cli`` reads the
arguments, prints, and turns what is raised into an exit status.
"""

from __future__ import annotations


class CommandError(Exception):
    """A command cannot do what it is asked; the text says why."""


class BadArguments(CommandError):
    """What it is asked makes no sense; the text says what would."""
