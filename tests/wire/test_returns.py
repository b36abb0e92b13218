"""The return address, over raw sockets: what belongs to no call in flight gets nowhere.

Each row is played while a call is in flight, at whose hop it claims to have been. The API hears
nothing of it, and the right return after it succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.harness.chain import HOP, Chain, returned, running_chain
from tests.harness.configuration import Config
from tests.harness.messages import OK, OK_BODY
from tests.harness.peer import Answer
from tests.harness.secrets import KEY, TOKEN

TARGET: Final = f"/anthropic/{HOP}/v1/messages"
CALL: Final[Config] = {"pass": "call"}
OWN: Final[Config] = {"pass": {"file": "hop_pass"}}
OWN_PASS: Final = "sk-pass-8Hn3Xk6Wq1Vt5Zb9Lc2Rm7Jd4Fp0Gy"


class Shown(NamedTuple):
    """What a call in flight is known by at its hop."""

    pass_: str
    id: str


def back(*lines: str, target: str = TARGET, method: str = "POST", host: str = "r.test") -> bytes:
    """Return a return's bytes with these lines and no others."""
    head = [f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "Content-Length: 2"]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + b"{}"


def key(value: str) -> str:
    """Return the line of an API key."""
    return f"x-api-key: {value}"


def bearer(value: str) -> str:
    """Return the line of a bearer."""
    return f"Authorization: Bearer {value}"


def call(value: str) -> str:
    """Return the line that says which call."""
    return f"x-relay-call: {value}"


Row = Callable[[Shown], bytes]

UNKNOWN: Final[dict[str, Row]] = {
    "nothing shown": lambda _: back(),
    "a pass without an id": lambda s: back(key(s.pass_)),
    "an id without a pass": lambda s: back(call(s.id)),
    "an empty pass": lambda s: back(key(""), call(s.id)),
    "an empty id": lambda s: back(key(s.pass_), call("")),
    "the word Bearer alone": lambda s: back("Authorization: Bearer", call(s.id)),
    "a wrong pass": lambda s: back(key(s.pass_[:-1] + "~"), call(s.id)),
    "a pass that is longer": lambda s: back(key(s.pass_ + "x"), call(s.id)),
    "a pass that is shorter": lambda s: back(key(s.pass_[:-1]), call(s.id)),
    "a pass in upper case": lambda s: back(key(s.pass_.upper()), call(s.id)),
    "a pass beyond ASCII": lambda s: back(key(s.pass_ + "\xe9"), call(s.id)),
    "a wrong id": lambda s: back(key(s.pass_), call("0" * 32)),
    "an id that is longer": lambda s: back(key(s.pass_), call(s.id + "0")),
    "an id that is shorter": lambda s: back(key(s.pass_), call(s.id[:-1])),
    "an id in upper case": lambda s: back(key(s.pass_), call(s.id.upper() + "A")),
    "two ids": lambda s: back(key(s.pass_), call(s.id), call("0" * 32)),
    "two ids in one line": lambda s: back(key(s.pass_), call(f"{s.id}, {s.id}")),
    "pass and id exchanged": lambda s: back(key(s.id), call(s.pass_)),
    "a right pass and a wrong bearer": lambda s: back(key(s.pass_), bearer("x"), call(s.id)),
    "a right bearer and a wrong pass": lambda s: back(key("x"), bearer(s.pass_), call(s.id)),
    "a right pass and a wrong second": lambda s: back(key(s.pass_), key("x"), call(s.id)),
    "a right pass and Basic": lambda s: back(key(s.pass_), "Authorization: Basic eDp5", call(s.id)),
    "the pass in Basic": lambda s: back(f"Authorization: Basic {s.pass_}", call(s.id)),
    "the pass as api-key": lambda s: back(f"api-key: {s.pass_}", call(s.id)),
    "the pass as x-goog-api-key": lambda s: back(f"x-goog-api-key: {s.pass_}", call(s.id)),
    "the pass as a cookie": lambda s: back(f"Cookie: x-api-key={s.pass_}", call(s.id)),
    "the pass in the query": lambda s: back(call(s.id), target=f"{TARGET}?x-api-key={s.pass_}"),
    "the id in the query": lambda s: back(key(s.pass_), target=f"{TARGET}?x-relay-call={s.id}"),
    "the id with an underscore": lambda s: back(key(s.pass_), f"x_relay_call: {s.id}"),
    "the agent's token": lambda s: back(key(TOKEN), call(s.id)),
    "the agent's token alone": lambda _: back(key(TOKEN)),
    "the credential": lambda s: back(key(KEY), call(s.id)),
    "the credential alone": lambda _: back(key(KEY)),
    "another relay": lambda s: back(key(s.pass_), call(s.id), target=f"/openai/{HOP}/v1/messages"),
    "another hop": lambda s: back(key(s.pass_), call(s.id), target="/anthropic/x/v1/messages"),
    "no hop": lambda s: back(key(s.pass_), call(s.id), target="/anthropic/v1/messages"),
    "neither": lambda s: back(key(s.pass_), call(s.id), target="/v1/messages"),
    "the agents' path": lambda s: back(
        key(s.pass_), call(s.id), target="/relay/anthropic/v1/messages"
    ),
    "the relay in upper case": lambda s: back(
        key(s.pass_), call(s.id), target=f"/Anthropic/{HOP}/v1/messages"
    ),
    "the hop escaped": lambda s: back(
        key(s.pass_), call(s.id), target="/anthropic/%68eadroom/v1/messages"
    ),
    "two slashes": lambda s: back(
        key(s.pass_), call(s.id), target=f"//anthropic/{HOP}/v1/messages"
    ),
    "a readiness check of another hop": lambda _: back(target="/anthropic/x", method="GET"),
    "a readiness check that posts": lambda _: back(target=f"/anthropic/{HOP}"),
    "a readiness check with a query": lambda _: back(target=f"/anthropic/{HOP}?x", method="GET"),
    "a readiness check with a slash": lambda _: back(target=f"/anthropic/{HOP}/", method="GET"),
}


def right(shown: Shown, *lines: str, target: str = TARGET, **more: str) -> bytes:
    """Return a return whose pass and id are right."""
    return back(key(shown.pass_), call(shown.id), *lines, target=target, **more)


REFUSED: Final[dict[str, tuple[int, Row]]] = {
    "an Origin": (403, lambda s: right(s, "Origin: http://r.test")),
    "an Origin of null": (403, lambda s: right(s, "Origin: null")),
    "another site's page": (403, lambda s: right(s, "Sec-Fetch-Site: cross-site")),
    "the same site's page": (403, lambda s: right(s, "Sec-Fetch-Site: same-site")),
    "no Host": (400, lambda s: right(s).replace(b"Host: r.test\r\n", b"")),
    "two Hosts": (400, lambda s: right(s, "Host: r.test")),
    "a malformed Host": (400, lambda s: right(s, host="r.test/x")),
    "a WebSocket": (426, lambda s: right(s, "Connection: upgrade", "Upgrade: websocket")),
    "CONNECT": (405, lambda s: right(s, method="CONNECT")),
    "TRACE": (405, lambda s: right(s, method="TRACE")),
    "absolute-form": (400, lambda s: right(s, target=f"http://r.test{TARGET}")),
    "dot segments": (400, lambda s: right(s, target=f"/anthropic/{HOP}/v1/../v1/messages")),
    "escaped dot segments": (400, lambda s: right(s, target=f"{TARGET}/%2e%2e/files")),
    "both framings": (400, lambda s: right(s, "Transfer-Encoding: chunked")),
    "two lengths": (400, lambda s: right(s, "Content-Length: 3")),
    "a folded line": (400, lambda s: right(s, "x-folded: a\r\n b")),
    "a bare LF": (400, lambda s: right(s, "x-bare: a\nx-b: c")),
    "a control byte": (400, lambda s: right(s, "x-control: \x01")),
    "a line that is too long": (431, lambda s: right(s, "x-long: " + "a" * 17_000)),
    "too many headers": (431, lambda s: right(s, *[f"x-{i}: y" for i in range(130)])),
    "HTTP/2": (505, lambda s: right(s).replace(b"HTTP/1.1", b"HTTP/2.0")),
    "a path that is not the API's": (403, lambda s: right(s, target=f"/anthropic/{HOP}/stats")),
    "more than its call": (403, lambda s: right(s, target=f"{TARGET}/batches")),
}


async def played(chain: Chain, rows: Sequence[Row]) -> list[Answer]:
    """Play rows while a call is in flight; see that the API hears of the right return alone."""
    agent, hop, sent = await chain.begin()
    shown = Shown(*(b"".join(sent.values(name)).decode() for name in ("x-api-key", "x-relay-call")))
    answers = []
    for row in rows:
        peer = await chain.relay.agent(port=chain.relay.return_port)
        await peer.send(row(shown))
        answers.append(await peer.answer())
        assert chain.api.callers == []
    chain.api.answer_with(OK)
    peer = await chain.relay.agent(port=chain.relay.return_port)
    await peer.send(returned(sent, "/v1/messages", *CARRIED.get(not shown.pass_, ())))
    assert (await peer.answer()).body == OK_BODY
    await hop.send(OK)
    assert (await agent.answer()).status == 200
    chain.relay.check_log()
    assert not any(value in line for value in shown if value for line in chain.relay.log.text)
    return answers


CARRIED: Final = {True: [key(OWN_PASS)]}
"""What a hop that is sent no pass shows of its own."""


@pytest.mark.parametrize("kind", [{}, CALL], ids=["client", "call"])
async def test_what_belongs_to_no_call_is_401(tmp_path: Path, kind: Config) -> None:
    """Whatever else is right about it."""
    rows = dict(UNKNOWN)
    if kind:
        del rows["a pass without an id"], rows["an empty id"]
        del rows["the id in the query"], rows["the id with an underscore"]
    async with running_chain(tmp_path, **kind) as chain:
        answers = await played(chain, list(rows.values()))
        for name, answer in zip(rows, answers, strict=True):
            got = (answer.status, answer.outcome, answer.values("x-should-retry"))
            assert got == (401, "rejected", [b"false"]), name
        counted = await chain.relay.samples("relay_rejections_total", "reason")
        assert counted == {("pass",): len(rows)}
        said = [line for line in chain.relay.log.lines if "came back and got 401" in str(line)]
        assert len(said) == 2  # once a minute: of the hop, and of all that is none


async def test_a_hops_own_pass_is_looked_at_as_strictly(tmp_path: Path) -> None:
    """It says whose a call is, and never which."""
    (tmp_path / "hop_pass").write_text(OWN_PASS)
    rows: list[Row] = [
        lambda _: back(key(OWN_PASS)),
        lambda s: back(call(s.id)),
        lambda s: back(key(OWN_PASS[:-1]), call(s.id)),
        lambda s: back(key(OWN_PASS), bearer("x"), call(s.id)),
        lambda _: back(key(OWN_PASS), call("0" * 32)),
    ]
    async with running_chain(tmp_path, **OWN) as chain:
        answers = await played(chain, rows)
        assert [answer.status for answer in answers] == [401] * len(rows)
        await chain.relay.log.says("its pass is right and does not say which call")


async def test_what_is_wrong_in_itself_is_refused_as_agents_are(tmp_path: Path) -> None:
    """The return address is read as strictly as the agents'."""
    async with running_chain(tmp_path) as chain:
        answers = await played(chain, [row for _, row in REFUSED.values()])
        got = {name: answer.status for name, answer in zip(REFUSED, answers, strict=True)}
        assert got == {name: status for name, (status, _) in REFUSED.items()}
        assert all(answer.outcome == "rejected" for answer in answers)


async def test_a_right_return_may_be_shown_in_either_header(tmp_path: Path) -> None:
    """As an agent's token may: hops and their SDKs differ."""
    async with running_chain(tmp_path) as chain:
        chain.api.answer_with(OK)
        _, _, sent = await chain.begin()
        pass_, id_ = (b"".join(sent.values(n)).decode() for n in ("x-api-key", "x-relay-call"))
        for lines in (
            [key(pass_)],
            [bearer(pass_)],
            [key(pass_), bearer(pass_)],
            [key(pass_), "Authorization:"],
        ):
            peer = await chain.relay.agent(port=chain.relay.return_port)
            await peer.send(back(*lines, call(id_)))
            assert (await peer.answer()).status == 200
        assert chain.api.credentials() == [KEY.encode()] * 4


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_hop_may_look_whether_the_relay_is_there(tmp_path: Path, method: str) -> None:
    """Headroom does at start: 200, empty, without a pass, and not counted."""
    async with running_chain(tmp_path) as chain:
        peer = await chain.relay.agent(port=chain.relay.return_port)
        for _ in range(2):
            answer = await peer.ask(
                f"{method} /anthropic/{HOP} HTTP/1.1\r\nHost: r.test\r\n\r\n".encode()
            )
            assert (answer.status, answer.body) == (200, b"")
        assert await chain.relay.samples("relay_rejections_total", "reason") == {}
        assert [line for line in chain.relay.log.lines if line["event"] == "call"] == []


async def test_agents_find_nothing_at_the_return_address_and_hops_nothing_at_theirs(
    tmp_path: Path,
) -> None:
    """What opens the one is worth nothing at the other."""
    async with running_chain(tmp_path) as chain:
        _, _, sent = await chain.begin()
        pass_, id_ = (b"".join(sent.values(n)).decode() for n in ("x-api-key", "x-relay-call"))
        at_return = await chain.relay.agent(port=chain.relay.return_port)
        answer = await at_return.ask(back(key(TOKEN), target="/relay/anthropic/v1/messages"))
        assert answer.status == 401
        for target in ("/relay/anthropic/v1/messages", TARGET):
            at_listen = await chain.relay.agent()
            answer = await at_listen.ask(back(key(pass_), call(id_), target=target))
            assert answer.status in (401, 404)
        assert chain.api.callers == []
