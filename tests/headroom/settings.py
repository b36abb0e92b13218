"""How a stand-in is set up: what it plays, its limits, and for a hop the way on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# uvicorn's own default, observed on Headroom.
IDLE_LIMIT_SECONDS = 5.0
# Observed: Headroom's limit of a request body.
BODY_LIMIT_BYTES = 100 * 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """What is the same for all requests to one stand-in; without an upstream it answers itself."""

    default_mode: str | None = None
    """Of requests that ask for none: unless stated, `forward` where there is an upstream."""
    default_arguments: Mapping[str, str] = field(default_factory=dict)
    idle_limit_seconds: float = IDLE_LIMIT_SECONDS
    body_limit_bytes: int = BODY_LIMIT_BYTES
    allowed_base_urls: str | None = None
    """As HEADROOM_ALLOWED_BASE_URLS."""
    proxy_token: str | None = field(default=None, repr=False)
    """As HEADROOM_PROXY_TOKEN: what callers beyond loopback must show."""
    credential: str | None = field(default=None, repr=False)
    """Of an API: the only one that it takes; without one it takes any."""
    trusts_loopback: bool = True
    """Whether callers on loopback need no token, as with the real one."""
    upstream: str | None = None
    """Where calls of Anthropic's API go on, with a path or without; empty: not known yet."""
    openai_upstream: str | None = None
    """Where calls of OpenAI's API go on."""
    compresses: bool = False
    """Whether prompts get shorter on their way."""
    caches: bool = False
    """Whether a call that is not streamed is answered from memory the second time."""
    retry_scale: float = 1.0
    """Of the seconds before it tries again: 0 where a test only counts the attempts."""

    @property
    def upstreams(self) -> Mapping[str, str]:
        """Return the addresses by the names of the APIs."""
        given = {"anthropic": self.upstream, "openai": self.openai_upstream}
        return {name: url for name, url in given.items() if url}

    @property
    def is_hop(self) -> bool:
        """Tell whether calls go on at all."""
        return not (self.upstream is None and self.openai_upstream is None)

    @property
    def mode(self) -> str:
        """Return what is played unless a request or a test asks for another mode."""
        return self.default_mode or ("forward" if self.is_hop else "ok")
