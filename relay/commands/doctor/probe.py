"""Sends a probe: a small call through a running relay and its hops that ends at the relay itself.

It costs nothing and needs no credential: see ``relay.proxy.probe``. Its outcome is read from
headers of the answer, from the text of its stream, and from the relay's counters.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from relay.commands.admin_address import interface_host, page_url
from relay.commands.client import Answer, Client, json_object
from relay.config import ListenAddress, RelaySettings
from relay.errors import Api, PathRefused
from relay.http.sse import EventReader
from relay.proxy.routing import check_path

PROBE_SECONDS: Final = 30.0
"""The relay itself takes four, where a hop holds back what it is given."""
_PAGE_LIMIT: Final = 4 * 1024 * 1024
_PATHS: Final[dict[Api, tuple[str, ...]]] = {
    "anthropic": ("/v1/messages",),
    "openai": ("/v1/chat/completions", "/v1/responses"),
}
# Hops may know only some models. No model is called, unless by a hop with a key of its own.
_MODELS: Final[dict[Api, str]] = {"anthropic": "claude-haiku-4-5", "openai": "gpt-4o-mini"}
_MAX_TOKENS: Final = 16
_REJECTIONS: Final = re.compile(rb'^relay_rejections_total\{reason="(\w+)"\} (\S+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a probe."""

    status: int
    error: str = ""
    """The relay's own name for what went wrong."""
    states: Mapping[str, str] | None = None
    """By each hop that it reached, what happened there; None where it reached none."""
    streams: Mapping[str, bool] | None = None
    """By each hop, whether it passes on a stream as it comes; None where this is unknown."""
    refused: frozenset[str] = frozenset()
    """Reasons of refusals that the relay counted meanwhile: most likely of the hops' requests."""
    bypasses: Mapping[str, str] | None = None
    """By each hop that sent calls past the relay, what the relay says of it."""


class Running:
    """A relay that runs, with what is needed to call it."""

    def __init__(
        self, http: Client, listen: ListenAddress, admin: ListenAddress, token: bytes | None
    ) -> None:
        self._http = http
        self._listen = interface_host(listen)
        self._admin = interface_host(admin)
        self._token = token

    async def ask(self, path: str, *, seconds: float) -> Answer:
        """Make a free call as an agent does.

        Raises:
            NoAnswer: There is none.
        """
        url = f"http://{self._listen}{path}"
        return await self._http.ask("GET", url, seconds=seconds, token=self._token)

    async def hops(self, relay: str) -> dict[str, str]:
        """Return the hops that it has, each with what it says of one that went past it.

        Raises:
            NoAnswer: It does not answer.
        """
        url = page_url(self._admin, "/readyz")
        page = json_object((await self._http.ask("GET", url, limit=_PAGE_LIMIT)).body)
        listed = _within(_within(page.get("relays")).get(relay)).get("hops")
        hops = listed if isinstance(listed, list) else []
        return {
            str(hop.get("name")): str(hop.get("bypass", ""))
            for hop in hops
            if isinstance(hop, dict)
        }

    async def probe(self, relay: RelaySettings, path: str, model: str | None) -> Outcome:
        """Send a relay's chain a call; return what became of it.

        Raises:
            NoAnswer: The relay gave none, or not a whole one.
        """
        before = await self._rejections()
        answer = await self._http.ask(
            "POST",
            f"http://{self._listen}/relay/{relay.name}{path}",
            seconds=PROBE_SECONDS,
            token=self._token,
            probe=_body(path, model or _MODELS[relay.api]),
        )
        after = await self._rejections()
        streams = told(answer.body)
        # The header misses hops that sent their answer's head before they came back.
        states = dict(_states(answer.hops)) | dict.fromkeys(streams or (), "passed")
        return Outcome(
            answer.status,
            answer.error,
            states or None,
            streams,
            frozenset(reason for reason in after if after[reason] > before.get(reason, 0)),
            {name: said for name, said in (await self.hops(relay.name)).items() if said},
        )

    async def _rejections(self) -> dict[str, float]:
        url = page_url(self._admin, "/metrics")
        page = (await self._http.ask("GET", url, limit=_PAGE_LIMIT)).body
        return {reason.decode(): float(count) for reason, count in _REJECTIONS.findall(page)}


def probed_path(relay: RelaySettings) -> str | None:
    """Return where a message can be sent to, or None where the relay allows none."""
    for path in _PATHS[relay.api]:
        try:
            check_path(path.encode(), relay.allow)
        except PathRefused:
            continue
        return path
    return None


def _body(path: str, model: str) -> bytes:
    """Return a message that is in no cache."""
    text = f"relay doctor {secrets.token_hex(8)}"
    body: dict[str, object] = {"model": model, "stream": True}
    if path.endswith("/responses"):
        body |= {"input": text, "max_output_tokens": _MAX_TOKENS}
    else:
        body |= {"messages": [{"role": "user", "content": text}], "max_tokens": _MAX_TOKENS}
    return json.dumps(body).encode()


def _states(value: str) -> Iterator[tuple[str, str]]:
    """Yield the hops in the relay's header, each with its outcome."""
    for item in value.split(","):
        name, mark, state = item.strip().partition("=")
        if mark:
            yield name, state


def told(body: bytes) -> dict[str, bool] | None:
    """Return what the text of a stream says of the hops, or None where it is not the relay's."""
    events = EventReader().feed(body)
    text = "".join(_text(json_object(event.data)) for event in events)
    begin = text.find('{"hops"')
    hops = json_object(text[begin:].encode()).get("hops") if begin >= 0 else None
    if not isinstance(hops, list):
        return None
    return {
        str(hop.get("name")): hop.get("streams") is True for hop in hops if isinstance(hop, dict)
    }


def _text(event: Mapping[str, object]) -> str:
    """Return the piece of text in an event of any of the APIs."""
    delta = event.get("delta")
    choices = event.get("choices")
    if isinstance(choices, list) and choices:
        delta = _within(_within(choices[0]).get("delta")).get("content")
    text = delta.get("text") if isinstance(delta, dict) else delta
    return text if isinstance(text, str) else ""


def _within(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
