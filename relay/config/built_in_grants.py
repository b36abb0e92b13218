"""The grants that come with the relay: one row of a table each.

A row says everything that the relay knows of such a grant by itself; what a value in it looks like
when it is the wrong one is in ``credentials/shape``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from relay.config.settings import GrantSettings, Sources
from relay.config.sources import EnvSource, FileSource
from relay.errors import Api


@dataclass(frozen=True, slots=True)
class BuiltInGrant:
    """Which API a grant is for, where its value is looked for and how it is sent."""

    api: Api
    variable: str
    """Also the name of its file, in lower case."""
    beginning: str
    """What its values begin with; so do the passes that hops get in its place."""
    header: bytes = b"Authorization"
    prefix: bytes = b"Bearer "
    add: tuple[tuple[bytes, bytes], ...] = ()


# Sources: https://docs.anthropic.com/en/api/overview#authentication,
# https://platform.openai.com/docs/api-reference/authentication; the Anthropic API asks for its
# beta of calls with an OAuth token.
BUILT_IN_GRANTS: Final[Mapping[str, BuiltInGrant]] = {
    "anthropic": BuiltInGrant(
        "anthropic", "ANTHROPIC_API_KEY", "sk-ant-api03-", header=b"x-api-key", prefix=b""
    ),
    "claude": BuiltInGrant(
        "anthropic",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "sk-ant-oat01-",
        add=((b"anthropic-beta", b"oauth-2025-04-20"),),
    ),
    "openai": BuiltInGrant("openai", "OPENAI_API_KEY", "sk-"),
}
GRANT_API: Final = {name: grant.api for name, grant in BUILT_IN_GRANTS.items()}
GRANT_VARIABLES: Final = {name: grant.variable for name, grant in BUILT_IN_GRANTS.items()}


def default_sources(variable: str, folders: tuple[str, ...]) -> Sources:
    """Return the variable, then the file of that name in lower case in each folder."""
    files = (FileSource(file=f"{folder}/{variable.lower()}") for folder in folders)
    return (EnvSource(env=variable), *files)


def built_in_grant(name: str, sources: Sources | None, folders: tuple[str, ...]) -> GrantSettings:
    """Return a built-in grant; without sources of its own, with the usual ones."""
    grant = BUILT_IN_GRANTS[name]
    sources = sources or default_sources(grant.variable, folders)
    return GrantSettings(name, sources, grant.header, grant.prefix, add=grant.add)
