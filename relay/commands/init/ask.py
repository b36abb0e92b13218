"""The questions, each of which is also a flag: what no flag answers is asked on a terminal.

With ``--yes`` every question has the answer that it proposes; the same flags then give the same
files. Nothing is written before the last answer is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from relay.commands import BadArguments
from relay.commands.init.detect import (
    APIS,
    BRIDGE,
    HEADROOM,
    Credential,
    Found,
    headroom_version,
    secret_name,
)
from relay.commands.init.way_out import NONE, SECRET_NAME, WayOut, is_excepted
from relay.config import parse_proxy, parse_upstream

Case = Literal["compose", "host"]
T = TypeVar("T")

PORT: Final = 8484
ADMIN_PORT: Final = 9484

_YES_OR_NO: Final = {"y": True, "yes": True, "n": False, "no": False}
_WHAT: Final[Mapping[Credential, str]] = {
    "anthropic": "an API key of Anthropic's",
    "claude": "a token of `claude setup-token`, for your own subscription",
    "subscription": "Claude Code's own login on this host, for your own subscription",
    "openai": "an API key of OpenAI's",
}


class Console:
    """A user at a terminal."""

    def ask(self, question: str) -> str:
        """Return the answer; empty means the proposed one. Raises EOFError where there is none."""
        return input(question)

    def say(self, text: str) -> None:
        """Show a line."""
        print(text)  # noqa: T201  # a conversation, not a log


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says; None where it says nothing."""

    case: Case | None = None
    credentials: tuple[Credential, ...] = ()
    upstream: str | None = None
    chain: bool | None = None
    bridge: bool | None = None
    store: bool | None = None
    egress: str | None = None
    port: int | None = None
    admin_port: int | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen."""

    case: Case
    credentials: tuple[Credential, ...]
    upstream: str
    headroom: str | None
    """The version of the Headroom that answers at ``upstream``."""
    chain: bool
    """Whether it sends on to the relay, which keeps the credential for the last leg."""
    bridge: bool
    store: tuple[Credential, ...]
    """The credentials to be copied from their variables into ``secrets``."""
    port: int
    admin_port: int
    egress: WayOut | None = None
    """The proxy on the way to the API."""
    store_login: bool = False
    """Whether what the variable says of user and password is copied into ``secrets``."""

    @property
    def stack_headroom(self) -> bool:
        """Whether it is the Headroom that compose.yaml runs, and sets up."""
        unanswered = self.upstream == HEADROOM and self.headroom is None
        return self.case == "compose" and self.chain and unanswered


def choose(flags: Flags, found: Found, console: Console | None) -> Choices:
    """Return all choices: from flags, from answers, from what was found, in this order.

    Raises:
        BadArguments: A flag cannot be used.
    """
    credentials = _check_credentials(flags.credentials)
    wanted = _egress(flags.egress)
    upstream = _upstream(flags.upstream) if flags.upstream is not None else None
    case = flags.case or _ask_case(found, console)
    credentials = credentials or _ask_credentials(found, console)
    upstream = upstream or _ask_upstream(console)
    headroom = headroom_version(upstream)
    chain = _ask_chain(flags, upstream, headroom, console)
    ends = _ends(upstream, credentials, chain=chain)
    if wanted is not None and not ends:
        raise BadArguments("--egress is for an API beyond this host, by https")
    egress = wanted if flags.egress is not None else _ask_egress(ends, found, console)
    return Choices(
        case=case,
        credentials=credentials,
        upstream=upstream,
        headroom=headroom,
        chain=chain,
        bridge=_ask_bridge(flags, found, console),
        store=_ask_store(flags, credentials, found, console),
        port=flags.port or _port(found.value("RELAY_PORT", ""), PORT),
        admin_port=flags.admin_port or _port(found.value("RELAY_ADMIN_PORT", ""), ADMIN_PORT),
        egress=egress,
        store_login=_ask_store_login(flags, egress, console),
    )


def _ask(console: Console | None, question: str, proposed: str, read: Callable[[str], T]) -> T:
    """Ask until there is a usable answer."""
    while console is not None:
        try:
            return read(console.ask(f"{question} [{proposed}] ").strip() or proposed)
        except BadArguments as error:
            console.say(str(error))
    return read(proposed)


def _port(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default


def _ask_case(found: Found, console: Console | None) -> Case:
    question = "Run the relay by Docker Compose (compose), or on this host (host)?"
    return _ask(console, question, "compose" if found.compose_file else "host", _case)


def _case(text: str) -> Case:
    if text not in ("compose", "host"):
        raise BadArguments("answer compose or host")
    return "compose" if text == "compose" else "host"


def _flag(text: str) -> bool:
    try:
        return _YES_OR_NO[text.lower()]
    except KeyError:
        raise BadArguments("answer y or n") from None


def _ask_credentials(found: Found, console: Console | None) -> tuple[Credential, ...]:
    if console is not None:
        console.say("Which credentials should the relay hold? Several with commas.")
        for name, what in _WHAT.items():
            place = found.credentials.get(name)
            console.say(f"  {name:<13} {what}" + (f": found, {place}" if place else ""))
    return _ask(console, "Credentials", ",".join(_proposed(found)), _credentials)


def _proposed(found: Found) -> tuple[Credential, ...]:
    """Return the first credential found for Anthropic's API, and OpenAI's if found."""
    order: tuple[Credential, ...] = ("anthropic", "claude", "subscription")
    claude = tuple(name for name in order if name in found.credentials)[:1]
    openai: tuple[Credential, ...] = ("openai",) if "openai" in found.credentials else ()
    return claude + openai or ("anthropic",)


def _credentials(text: str) -> tuple[Credential, ...]:
    known = {str(name): name for name in _WHAT}
    names = [name.strip() for name in text.split(",")]
    if not all(name in known for name in names):
        raise BadArguments(f"answer with some of {', '.join(known)}")
    return _check_credentials(tuple(dict.fromkeys(known[name] for name in names)))


def _check_credentials(credentials: tuple[Credential, ...]) -> tuple[Credential, ...]:
    if len([name for name in credentials if name != "openai"]) > 1:
        raise BadArguments("choose one of anthropic, claude and subscription: they are for one API")
    return credentials


def _ask_upstream(console: Console | None) -> str:
    if console is not None:
        version = headroom_version(HEADROOM)
        state = f"Headroom {version} answers" if version else "no Headroom answers yet"
        console.say(f"{state} at {HEADROOM}; https://api.anthropic.com goes without one.")
    return _ask(console, "Where should calls go?", HEADROOM, _upstream)


def _upstream(text: str) -> str:
    try:
        parse_upstream(text)
    except ValueError as error:
        raise BadArguments(f"the address {error}") from None
    return text


def _ask_chain(flags: Flags, upstream: str, headroom: str | None, console: Console | None) -> bool:
    """Return whether Headroom sends on to the relay; asked where one runs already."""
    if flags.chain is not None:
        if flags.chain and is_api(upstream):
            raise BadArguments("--chain wants an LLM proxy's address as --upstream, not the API's")
        return flags.chain
    if headroom is None:
        return upstream == HEADROOM
    question = "Should Headroom send on to the relay, and so never see the credential?"
    return _ask(console, question, "y", _flag)


def is_api(upstream: str) -> bool:
    """Whether calls go straight to an API."""
    return upstream.rstrip("/") in APIS.values()


def _ask_bridge(flags: Flags, found: Found, console: Console | None) -> bool:
    if flags.bridge is not None:
        return flags.bridge
    question = "Should agents in ordinary containers, with internet, reach it as well?"
    proposed = "y" if BRIDGE in found.value("RELAY_LISTEN", "") else "n"
    return _ask(console if found.bridge else None, question, proposed, _flag)


def _ends(upstream: str, credentials: tuple[Credential, ...], *, chain: bool) -> list[str]:
    """Return the remote hosts that calls end at by TLS."""
    if chain or is_api(upstream):
        others = any(name != "openai" for name in credentials)
        wanted = {"anthropic": others, "openai": "openai" in credentials}
        return [parse_upstream(APIS[api]).host for api in APIS if wanted[api]]
    address = parse_upstream(upstream)
    return [address.host] if address.tls and not address.is_loopback else []


def _ask_egress(ends: list[str], found: Found, console: Console | None) -> WayOut | None:
    """Ask whether to use the proxy that a variable names, if it is for one of these hosts."""
    way = found.way_out
    if way is None or not way.url or all(is_excepted(host, found.stack) for host in ends):
        return None
    question = f"Should calls to the API go out through ${way.variable}'s proxy, {way.url}?"
    return way if _ask(console, question, "y", _flag) else None


def _egress(text: str | None) -> WayOut | None:
    """Return the proxy that a flag names."""
    if text is None or text == NONE:
        return None
    try:
        return WayOut(str(parse_proxy(text)))
    except ValueError as error:
        raise BadArguments(f"the proxy {error}") from None


def _ask_store_login(flags: Flags, egress: WayOut | None, console: Console | None) -> bool:
    if egress is None or not egress.login:
        return False
    if flags.store is not None:
        return flags.store
    question = (
        f"Keep the proxy's user and password in secrets/{SECRET_NAME}, for you alone to read?"
    )
    return _ask(console, question, "n", _flag)


def _ask_store(
    flags: Flags, credentials: tuple[Credential, ...], found: Found, console: Console | None
) -> tuple[Credential, ...]:
    """Return the credentials that are only in a variable, and are to be kept in a file."""
    loose = [name for name in credentials if found.credentials.get(name, "").startswith("$")]
    if flags.store is not None:
        return tuple(loose) if flags.store else ()
    return tuple(
        name
        for name in loose
        if _ask(
            console, f"Keep it in secrets/{secret_name(name)}, for you alone to read?", "n", _flag
        )
    )
