"""Examines one relay's upstream: is it the API, does it take the credential?

Asks what costs nothing: the list of models, sent as the relay itself sends calls. Where there is no
such list, an empty message tells an API from something else: an API refuses it as incomplete before
any model gets it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from relay.commands.doctor import headroom, hops, streams, way_out
from relay.commands.doctor.calls import ANSWER_SECONDS, MESSAGES, MODELS, Caller, TimedAnswer
from relay.commands.doctor.findings import Finding, Findings, fail, note, ok, quote, warn
from relay.commands.doctor.hops import Extra
from relay.commands.doctor.host import System
from relay.commands.doctor.path import reach, speaks_tls
from relay.commands.doctor.streams import StreamOptions
from relay.commands.running_relay import holds_credential
from relay.config import RelaySettings, Settings
from relay.credentials.credential import Credential
from relay.credentials.reading import lasting
from relay.credentials.shape import how_to_renew, remarks, why_refused
from relay.errors import (
    RelayError,
    UpstreamConnectTimeout,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from relay.proxy.hop_words import OR_A_HOP


@dataclass(frozen=True, slots=True)
class Held:
    """The values that one relay needs: the credential, extra headers, those of its hops."""

    credential: Credential
    extras: Sequence[Extra] = ()


@dataclass(frozen=True, slots=True)
class Examined:
    """A relay under examination."""

    relay: RelaySettings
    credential: Credential
    headroom: str | None = None
    """The version of the Headroom behind it, if that is what is there."""


async def examine(
    relay: RelaySettings,
    held: Held,
    settings: Settings,
    system: System,
    stream: StreamOptions,
) -> Findings:
    """Examine one relay; steps that depend on a failed one are left out."""
    credential, own = held.credential, [each for each in held.extras if not each.hop]
    yield await _presence(credential, relay, settings)
    found = remarks(credential.reading, credential.name) if credential.ready else ()
    for problem, remedy in found:
        yield warn("grant", f"{credential.name} {problem}", remedy)
    for extra in own:
        yield hops.presence(extra)
    async for finding in hops.examine(relay, held.extras, settings, system):
        yield finding
    reached = True
    async for finding in _reach(relay, system):
        yield finding
        reached = reached and finding.level != "FAIL"
    if not reached:
        return
    version = await headroom.find_version(relay, settings)
    if credential.ready and all(each.credential.ready for each in own):
        with closing(Caller(relay, credential, settings.timeouts)) as caller:
            async for finding in _ask(Examined(relay, credential, version), caller, stream):
                yield finding
    if version is not None:
        async for finding in headroom.examine(relay, version, settings, system):
            yield finding


async def _reach(relay: RelaySettings, system: System) -> Findings:
    """Examine the connection to the upstream, by its egress proxy if there is one."""
    if relay.egress is not None:
        async for finding in way_out.reach(relay, relay.egress, system):
            yield finding
        return
    async for finding in reach(relay, system):
        yield finding
        if (hint := way_out.variable_note(relay, finding)) is not None:
            yield hint


async def _presence(credential: Credential, relay: RelaySettings, settings: Settings) -> Finding:
    if credential.ready:
        text = f"{credential.name} is there, from {credential.origin()}"
        return ok("grant", f"{text}{lasting(credential.reading)}")
    if await holds_credential(settings, relay.name):
        text = f"{credential.name} is not here; the relay that runs has it: ask it to look, too"
        return note("grant", text, "docker compose exec relay relay doctor, where that is Docker's")
    text = f"{credential.name} is MISSING: {credential.explain()}"
    if credential.reading.has_ended:
        return fail("grant", text, how_to_renew(credential.name))
    return fail("grant", text, credential.remedy())


async def _ask(subject: Examined, caller: Caller, stream: StreamOptions) -> Findings:
    relay = subject.relay
    try:
        answer = await caller.ask("GET", MODELS)
    except RelayError as error:
        yield await _no_answer(relay, error)
        return
    if answer.status in (404, 405):
        try:
            answer = await caller.ask("POST", MESSAGES[relay.api], b"{}")
        except RelayError as error:
            yield await _no_answer(relay, error)
            return
        yield _no_models(relay, answer)
        return
    accepted = True
    for finding in judge(subject, answer):
        accepted = accepted and finding.level == "ok"
        yield finding
    if accepted:
        yield await streams.examine(relay, caller, answer, stream)


async def _no_answer(relay: RelaySettings, error: RelayError) -> Finding:
    where = f"{relay.upstream.host}:{relay.upstream.port}"
    if isinstance(error, UpstreamConnectTimeout | UpstreamUnreachable):
        text = f"{where} was there a moment ago, and is not now"
        return fail("path", text, "look whether it restarts all the time")
    if not relay.upstream.tls and await speaks_tls(relay.upstream):
        return fail("path", f"{where} speaks TLS", "use https:// in the relay's URL")
    if isinstance(error, UpstreamTimeout):
        text = f"{where} takes the connection and does not answer within {ANSWER_SECONDS:g} s"
        return fail("path", text, "look at the upstream's log")
    if isinstance(error, UpstreamTruncated):
        text = f"{where} breaks off in the middle of its answer"
        return fail("path", text, "look at the upstream's log, and at what is in between")
    text = f"{where} does not speak HTTP/1.1"
    return fail("path", text, "correct the relay's URL: its port is another service's")


def judge(subject: Examined, answer: TimedAnswer) -> Iterator[Finding]:
    """Yield what the answer to a request for models says of path and credential."""
    relay = subject.relay
    asked = f"GET {_path(relay, MODELS)}: {answer.status}"
    status, milliseconds = answer.status, answer.seconds * 1000
    if 300 <= status < 400:
        yield _redirected(asked, answer)
    elif answer.content_type == "text/html":
        yield fail(
            "path", f"{asked}, and a web page: this is not the API", "correct the relay's URL"
        )
    elif status in (401, 403):
        yield ok("path", f"GET {_path(relay, MODELS)} is answered, in {milliseconds:.0f} ms")
        yield _refused(subject, answer)
    elif status == 429:
        text = f"{asked}: a rate limit{_named(answer)}"
        yield warn("path", text, "wait, and ask again; see relay_ratelimit_* in /metrics")
    elif status >= 500:
        yield _broken(subject, asked, answer)
    elif status != 200:
        yield fail("path", f"{asked}{_named(answer)}", "look at the upstream's log")
    elif (names := streams.models_of(answer)) is None:
        text = f"{asked}, and no list of models: this is hardly the API"
        yield fail("path", text, "correct the relay's URL")
    else:
        yield ok("path", f"{asked} in {milliseconds:.0f} ms")
        yield ok("credential", f"accepted; {len(names)} model{'' if len(names) == 1 else 's'}")


def _path(relay: RelaySettings, path: str) -> str:
    return relay.upstream.prefix.decode() + path


def _named(answer: TimedAnswer) -> str:
    """Return the error's type: never its message, which may repeat a part of the key."""
    error = answer.json().get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    return f", {quote(kind)}" if isinstance(kind, str) and kind.isidentifier() else ""


def _redirected(asked: str, answer: TimedAnswer) -> Finding:
    location = b"".join(answer.head.values(b"location")[:1]).decode("latin-1")
    try:
        parts = urlsplit(location)
        where = quote(f"{parts.scheme}://{parts.hostname}{parts.path}" if parts.hostname else "")
    except ValueError:
        where = ""
    text = f"{asked}, a redirect{f' to {where}' if where else ''}; the relay follows none"
    return fail("path", text, "use the address it redirects to, if it is yours, in the relay's URL")


def _refused(subject: Examined, answer: TimedAnswer) -> Finding:
    credential, grant = subject.credential, subject.relay.grant.name
    text = f"refused: {answer.status}{_named(answer)}"
    if cause := why_refused(credential.reading, grant):
        return fail("credential", text, f"it {cause}")
    place = f"and put it where this one is from: {credential.origin()}"
    if answer.status == 403:
        remedy = "the credential may not do this, or something in between refuses: see its log"
        return fail("credential", text, remedy)
    if grant == "claude":
        renew = "make another with `claude setup-token`"
        return fail("credential", text, f"it may have expired: {renew}, {place}")
    return fail("credential", text, f"make another key, {place}")


def _broken(subject: Examined, asked: str, answer: TimedAnswer) -> Finding:
    text = f"{asked}{_named(answer)}"
    if answer.status == 529:
        return warn("path", f"{text}: overloaded", "wait, and ask again")
    if subject.headroom is not None:
        remedy = "Headroom does not reach the API: see its log and its --anthropic-api-url; "
        remedy += OR_A_HOP
        return fail("path", text, remedy)
    return fail("path", text, "the upstream has a fault: look at its log")


def _no_models(relay: RelaySettings, answer: TimedAnswer) -> Finding:
    """Judge the answer to an empty message, where there is no list of models."""
    models, messages = _path(relay, MODELS), _path(relay, MESSAGES[relay.api])
    if answer.status in (400, 413, 422):
        text = f"there is no {models}, but {messages} is there; the credential is not checked"
        return warn("path", text, "nothing, if calls work")
    if answer.status in (401, 403):
        return fail(
            "credential", f"refused: {answer.status}{_named(answer)}", "make another credential"
        )
    text = f"neither {models} nor {messages} is there: {answer.status}"
    remedy = "correct the path in the relay's URL"
    if relay.upstream.prefix.endswith(b"/v1"):
        remedy = "leave /v1 out of the relay's URL: agents send it"
    return fail("path", text, remedy)
