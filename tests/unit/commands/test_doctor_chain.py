"""What a probe says of each hop, in words, and how it is read."""

from __future__ import annotations

import json

import pytest

from relay.commands.doctor.chain import judge
from relay.commands.doctor.hops import way_back
from relay.commands.doctor.probe import Outcome, probed_path, told
from relay.config import RelaySettings, Settings
from relay.config.addresses import parse_listen, parse_upstream
from relay.config.built_in_grants import built_in_grant
from relay.config.schema import Timeouts
from relay.config.settings import DEFAULT_ALLOW, HopSettings
from relay.errors import Api
from relay.proxy.probe_events import events_of

WAYS = {"first": "http://first", "second": "http://second"}


def relay_to(*hops: str, api: Api = "anthropic", allow: tuple[bytes, ...] = ()) -> RelaySettings:
    """Return a relay with hops at these addresses."""
    settings = tuple(
        HopSettings(name, parse_upstream(url)) for name, url in zip(WAYS, hops, strict=False)
    )
    return RelaySettings(
        name="r",
        upstream=parse_upstream("https://api.test"),
        grant=built_in_grant("anthropic", None, ()),
        api=api,
        allow=allow or DEFAULT_ALLOW[api],
        hops=settings,
    )


TWO = relay_to("http://localhost:1", "http://localhost:2")


def lines(outcome: Outcome) -> list[str]:
    """Return what is said of two hops."""
    return [f"{each.level} {each.text}" for each in judge(TWO, outcome, WAYS)]


@pytest.mark.parametrize("operation", ["messages", "chat_completions", "responses"])
def test_what_is_told_is_read_in_each_apis_shape(operation: str) -> None:
    """Also where a hop cut the text in other places."""
    events = events_of(operation)
    text = json.dumps({"hops": [{"name": "first", "streams": True}, {"name": "second"}]})
    pieces = [events.text(piece) for piece in ("It streams.\n", text[:9], text[9:])]
    body = events.opening() + b"".join(pieces) + events.closing()
    assert told(body) == {"first": True, "second": False}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"data: [1]\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b'data: {"choices":[7]}\n\n',
        b'data: {"delta":{"text":"{\\"hops\\": 7}"}}\n\n',
        b'data: {"delta":{"text":"{\\"hops\\": ["}}\n\n',
    ],
)
def test_what_is_not_the_relays_tells_nothing(body: bytes) -> None:
    """A hop's own answer, or one that it changed."""
    assert told(body) is None


@pytest.mark.parametrize(
    ("states", "streams", "expected"),
    [
        (
            {"first": "passed", "second": "passed"},
            {"first": True, "second": False},
            [
                "ok r/first: calls come back from it, and answers stream",
                "FAIL r/second: calls come back from it, and it HOLDS answers BACK: ",
            ],
        ),
        (
            {"first": "skipped", "second": "passed"},
            {"second": True},
            [
                "warn r/first: the relay that runs cannot reach http://localhost:1; calls go on",
                "ok r/second: calls come back from it, and answers stream",
            ],
        ),
        (
            {"first": "passed", "second": "passed"},
            None,
            ["warn r/first: calls come back from it; whether", "warn r/second: calls come"],
        ),
    ],
)
def test_a_whole_answer(
    states: dict[str, str], streams: dict[str, bool] | None, expected: list[str]
) -> None:
    """Each hop for itself."""
    said = lines(Outcome(200, states=states, streams=streams))
    assert len(said) == len(expected)
    assert all(line.startswith(begin) for line, begin in zip(said, expected, strict=True))


@pytest.mark.parametrize(
    ("outcome", "first", "second"),
    [
        (
            Outcome(502, "", {"first": "answered", "second": "unreachable"}),
            "ok r/first: calls come back from it",
            "FAIL r/second: the relay that runs cannot reach http://localhost:2",
        ),
        (
            Outcome(502, "connect_error", {"first": "unreachable"}),
            "FAIL r/first: the relay that runs cannot reach http://localhost:1",
            "note r/second: not tried: the call did not get there",
        ),
        (
            Outcome(
                502, "", {"first": "refused", "second": "refused"}, refused=frozenset({"path"})
            ),
            "ok r/first: calls come back from it",
            "FAIL r/second: comes back, and is refused at the return address",
        ),
    ],
)
def test_the_last_that_it_got_to_is_to_blame(outcome: Outcome, first: str, second: str) -> None:
    """Those in front of it have sent on."""
    assert lines(outcome) == [first, second]


def test_a_probe_that_is_refused_says_why() -> None:
    """No hop is to blame."""
    (said,) = lines(Outcome(401, "rejected\x1b[31m"))
    assert said == "FAIL r: the relay that runs refuses to try its hops: 401, rejected?[31m"


@pytest.mark.parametrize(
    ("api", "allow", "path"),
    [
        ("anthropic", (), "/v1/messages"),
        ("openai", (), "/v1/chat/completions"),
        ("openai", (b"/v1/responses",), "/v1/responses"),
        ("openai", (b"/v1/models",), None),
    ],
)
def test_a_path_that_the_relay_allows(api: Api, allow: tuple[bytes, ...], path: str) -> None:
    """A message of its API."""
    assert probed_path(relay_to(api=api, allow=allow)) == path


@pytest.mark.parametrize(
    ("hop", "returns", "says"),
    [
        ("http://localhost:1", "127.0.0.1:5", "http://127.0.0.1:5/r/first (Headroom: ANTHROPIC_T"),
        ("http://10.0.0.9:1", "127.0.0.1:5", ", which only this host reaches: name another in re"),
        ("http://localhost:1", "nosuchbridge:5", "an address of returns, none of which is there"),
    ],
)
def test_where_a_hop_is_to_send_on_to(hop: str, returns: str, says: str) -> None:
    """With the variables that take it; or why that does not help."""
    relay = relay_to(hop)
    settings = Settings(
        file="agent.yaml",
        relays=(relay,),
        clients=(),
        listen=(),
        admin=(),
        timeouts=Timeouts(),
        drain=0,
        returns=(parse_listen(returns),),
    )
    assert says in way_back(settings, relay, relay.hops[0])
