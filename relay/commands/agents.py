"""The kinds of agents: which variables each reads, for `relay env` and `relay run`.

Each variable was tried on the agent itself: Claude Code 2.1.81 and 2.1.330, codex-cli 0.169.0,
opencode 1.18.33, the Anthropic SDKs (Python 2.12, TypeScript 1.12) and OpenAI's (Python 3.54,
TypeScript 6.49).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from relay.errors import Api

Agent = Literal["claude-code", "codex", "opencode", "anthropic", "openai"]

# What agents send where no token is asked for: they insist on having one.
ANY_TOKEN: Final = "unused"  # deliberately worthless


@dataclass(frozen=True, slots=True)
class AgentKind:
    """What one kind of agent reads."""

    api: Api
    token: str
    address: str = ""
    suffix: str = ""
    fixed: tuple[tuple[str, str], ...] = ()
    note: str = ""

    @property
    def apis(self) -> tuple[Api, ...]:
        """The APIs that it can call."""
        return (self.api,)

    def variables(self, urls: Mapping[Api, str], token: str) -> dict[str, str]:
        """Return the variables that send its calls to the relays, given a URL for each API."""
        address = {self.address: urls[self.api] + self.suffix} if self.address else {}
        return address | {self.token: token} | dict(self.fixed)


class Opencode:
    """opencode calls both APIs, and reads a whole configuration from one variable."""

    apis: tuple[Api, ...] = ("anthropic", "openai")
    note = "opencode asks npm for its package of plugins, past the relay; it works without"

    def variables(self, urls: Mapping[Api, str], token: str) -> dict[str, str]:
        """Return its configuration, which precedes its files; its own logins are not used."""
        keys = {api: f"{api.upper()}_API_KEY" for api in urls}
        providers = {
            api: {"options": {"baseURL": f"{url}/v1", "apiKey": f"{{env:{keys[api]}}}"}}
            for api, url in urls.items()
        }
        configuration = {
            "autoupdate": False,
            "share": "disabled",
            "enabled_providers": list(providers),
            "provider": providers,
        }
        return dict.fromkeys(keys.values(), token) | {
            "OPENCODE_CONFIG_CONTENT": json.dumps(configuration),
            "OPENCODE_AUTH_CONTENT": "{}",
            "OPENCODE_DISABLE_MODELS_FETCH": "true",
        }


_CODEX_NOTE: Final = "Codex takes the relay's address from a file: relay env codex --format toml"
KINDS: Final[Mapping[Agent, AgentKind | Opencode]] = {
    # Not ANTHROPIC_API_KEY: Claude Code would ask its user whether to use it.
    "claude-code": AgentKind(
        "anthropic",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        fixed=(
            # Updates and telemetry would bypass the relay; an internal network blocks them.
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            # On its first start it would fetch plugins from a marketplace.
            ("CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL", "1"),
            # On by default only at Anthropic's own address. The first streams a tool's input as it
            # is written (else a long one is minutes of silence), the second sends traceparent.
            ("CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING", "1"),
            ("CLAUDE_CODE_PROPAGATE_TRACEPARENT", "1"),
            # Some versions load every tool of every MCP server into each call where the base
            # URL is not Anthropic's (2.1.81 does, 2.1.330 does not).
            ("ENABLE_TOOL_SEARCH", "true"),
        ),
        note="WebFetch asks api.anthropic.com about each host first, past the relay; only a "
        "setting stops that: relay env claude-code --format settings",
    ),
    "codex": AgentKind("openai", "OPENAI_API_KEY", note=_CODEX_NOTE),
    "opencode": Opencode(),
    # The name that the SDKs and what is built on them read, all of them.
    "anthropic": AgentKind("anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
    "openai": AgentKind("openai", "OPENAI_API_KEY", "OPENAI_BASE_URL", "/v1"),
}
DISCOVERY: Final = {"CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1"}
"""Has Claude Code ask its base URL for models when it starts, and list them in ``/model``."""
DEFAULT_AGENTS: Final[Mapping[Api, tuple[Agent, ...]]] = {
    "anthropic": ("claude-code",),
    "openai": ("openai", "codex"),
}
"""The agents that `relay env` prints for where none is named."""
OWN_FILE: Final[Mapping[str, Agent]] = {"settings": "claude-code", "toml": "codex"}
"""Notations that only one agent reads."""
PROGRAMS: Final[Mapping[str, Agent]] = {
    "claude": "claude-code",
    **{each: each for each in KINDS},
}
"""The agent that a program is, by the program's name."""
