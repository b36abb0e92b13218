"""Whether a value can be the credential that it should be, by its looks alone.

A value and whose it is in, a remark out, which names the remedy and no part of the value.
Only what is surely wrong is remarked on: behind a relay may be a gateway that has keys of its
own shape, so that what is merely unknown passes. Nothing here keeps a value from being used.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from relay.config import GRANT_VARIABLES
from relay.credentials.ends import said
from relay.credentials.reading import Reading

_ASSIGNMENT: Final = re.compile(r"(?:export\s+)?[A-Z][A-Z0-9_]*=[^=]")
_HEADER: Final = re.compile(r"(?:bearer|basic)\s|(?:x-api-key|authorization)\s*:", re.IGNORECASE)
_REFERENCE: Final = re.compile(
    r"\$\w+|\$\{.*\}|\$\(.*\)|%\w+%|<.*>|\{\{.*\}\}|(?:op|vault|env|file|secret|ref\+\w+):\S+"
)
_PATH: Final = re.compile(r"(?:~|\.{1,2}|/(?:run|etc|home|root|var|opt|usr|tmp))/\S+")
# Of such words alone no key is made: what documentation and other proxies write in its place.
_PLACEHOLDER_WORD: Final = re.compile(
    r"""(.)\1* | 123\d* | a|an|the|this|to|with|my|me|your|some|no|not|none|nil|null|here
    | put|set|add|insert|paste|enter|replace|change|changeme|use|used|unused|unset|undefined
    | needed|required|goes|todo|tbd|empty|real|actual|live|local|test|testing|demo|dummy|fake
    | example|sample|placeholder|foo|bar|baz|abc|xyz|user|agent|client|relay|proxy|managed
    | anthropic|claude|code|openai|sk|ant|proj|api\d*|oat\d*|oauth|auth|key|apikey|token
    | secret|password|value|credentials?|your(?:api)?(?:key|token)""",
    re.VERBOSE,
)
# Characters: what servers commonly take for all headers together, and the end of what is looked at.
_LONGEST: Final = 8192
_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]*")
_WORD: Final = re.compile(r"[a-z0-9]+")
_QUOTES: Final = "\"'`"
_RENEW_LOGIN: Final = "run claude where its login is, which renews it"
_RENEW: Final = "have it renewed by what it is from"


class Remark(NamedTuple):
    """What is wrong with a value, as the rest of a sentence about it, and what to do."""

    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem}: {self.remedy}"


class _Kind(NamedTuple):
    """What an issuer's prefix says, and the grants that such a value is right in."""

    prefix: str
    what: str
    remedy: str
    grants: tuple[str, ...] = ()


# The first that fits counts. Sources: platform.claude.com/docs/en/api/admin-api/apikeys,
# code.claude.com/docs/en/authentication, platform.openai.com/docs/api-reference/authentication;
# the prefixes of logins as Claude Code stores them.
_KINDS: Final = (
    _Kind("sk-ant-admin", "an Admin API key, which makes no calls", "make an API key"),
    _Kind("sk-ant-ort", "a login's refresh token", "take its access token, by json: beside file"),
    _Kind("sk-ant-sid", "a browser's session", "make an API key, or run claude setup-token"),
    _Kind("sk-ant-oat", "a subscription's token", "use grants: [claude]", ("claude",)),
    _Kind("sk-ant-api", "an API key", "use grants: [anthropic]", ("anthropic",)),
    _Kind("sk-ant-", "Anthropic's", "use grants: [anthropic] or [claude]", ("anthropic", "claude")),
    _Kind("sk-admin-", "an admin key of OpenAI's, which makes no calls", "make an API key"),
    _Kind("sk-proj-", "OpenAI's", "use grants: [openai]", ("openai",)),
    _Kind("sk-svcacct-", "OpenAI's", "use grants: [openai]", ("openai",)),
)


def remarks(reading: Reading, grant: str | None) -> list[Remark]:
    """Return what is wrong with a reading that has a value.

    Without a grant the value is a client's token, which is no secret to agents.
    """
    found = [why_refused(reading, grant)]
    if reading.end_is_unread:
        found.append(Remark("has no moment at its path expires", "correct that path"))
    if reading.readable_by_all and grant is not None:
        found.append(Remark("can be read by everybody on this host", "chmod 600 its file"))
    return [each for each in found if each is not None]


def why_refused(reading: Reading, grant: str | None) -> Remark | None:
    """Return what would have an API refuse the value, as far as it can be told from here."""
    if reading.value is None:
        return None
    if reading.expires_at is not None and reading.has_ended:
        return Remark(f"expired at {said(reading.expires_at)}", how_to_renew(grant))
    return remark(reading.value, grant)


def how_to_renew(grant: str | None) -> str:
    """Return who gives a grant's value a later end: not the relay, which holds no login."""
    return _RENEW_LOGIN if grant == "claude" else _RENEW


def remark(value: str, grant: str | None) -> Remark | None:
    """Return what is wrong with a value in a grant, or as a client's token."""
    found = _written_wrongly(value) or _standing_in(value)
    if found is None and (grant is None or grant in GRANT_VARIABLES):
        # A grant of one's own may want even these.
        found = _with_its_header(value) or _of_another_kind(value, grant)
    return found


def is_weak(token: str) -> bool:
    """Whether a client's token could be guessed by trying: fewer than 128 bits, by its length.

    The answer to a challenge lets whoever reaches the relay try as many as they have time for.
    """
    secret = token.removeprefix("relay-")
    bits = 4 if _HEXADECIMAL.fullmatch(secret) else 6
    return len(secret) * bits < 128


def _written_wrongly(value: str) -> Remark | None:
    if len(value) > _LONGEST:
        return Remark("is longer than servers take in a header", "write the value alone")
    if value[0] in _QUOTES or value[-1] in _QUOTES:
        return Remark("has quotes around it, which would be sent too", "write it without them")
    if _ASSIGNMENT.match(value):
        return Remark("begins with NAME=, which would be sent too", "write the value alone")
    if value[0] == "{" and value[-1] == "}" and '"' in value:
        return Remark("is JSON", "say where in it the value is, by json: a.b.c")
    return None


def _standing_in(value: str) -> Remark | None:
    """Remark on what stands where a value should be."""
    if "..." in value or "***" in value:
        return Remark("is shortened, as in examples and in lists of keys", "put all of it there")
    if _REFERENCE.fullmatch(value):
        return Remark("is a reference that nothing has replaced", "put the value itself there")
    if _PATH.fullmatch(value):
        return Remark("is a path", "name the file by source: {file: PATH}")
    if all(map(_PLACEHOLDER_WORD.fullmatch, _WORD.findall(value.lower()))):
        return Remark("is a placeholder", "put the real value there")
    return None


def _with_its_header(value: str) -> Remark | None:
    if _HEADER.match(value):
        return Remark("begins with its header's name or scheme", "write the value alone")
    if " " in value:
        return Remark("has a blank in it", "write the value alone")
    return None


def _of_another_kind(value: str, grant: str | None) -> Remark | None:
    kind = next((each for each in _KINDS if value.startswith(each.prefix)), None)
    if kind is None or grant in kind.grants:
        return None
    if grant is None:
        problem = "is an API's credential, and agents would hold it"
        return Remark(problem, "make another token, with relay token")
    if grant == "openai" and kind.prefix.startswith("sk-ant-"):
        return Remark("is Anthropic's, not OpenAI's", "put a key of OpenAI's there")
    return Remark(f"is {kind.what}", kind.remedy)
