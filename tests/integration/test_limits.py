"""Limits of a running relay: what is refused, how, and what is counted to that end."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from relay.cli import main
from relay.telemetry.ledger import ledger as ledger_module
from relay.telemetry.ledger.batch import Batches
from relay.telemetry.ledger.file import LedgerFile
from relay.telemetry.ledger.writer import Writer
from tests.harness.chain import running_chain
from tests.harness.configuration import Config, both_relays, configuration
from tests.harness.ledger import a_row, rows_in, until
from tests.harness.limits import (
    DOLLARS,
    SESSION,
    TOKENS,
    answer_in_background,
    limited,
    refused,
    used,
)
from tests.harness.messages import CHAT, EVENTS, MESSAGES, OK, chunk, request
from tests.harness.model_answers import (
    BLOCK_START,
    MESSAGE_JSON,
    MESSAGE_STREAM,
    message_body,
    message_start,
    text_delta,
)
from tests.harness.recordings import recorded_answer
from tests.harness.relay import Relay, running_relay, update_configuration
from tests.harness.secrets import TOKEN
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture
def messages(upstream: Upstream) -> Upstream:
    """An API that answers each call with a message."""
    upstream.answer_with(recorded_answer(MESSAGE_JSON, "identity"))
    return upstream


@pytest.mark.parametrize(
    ("limit", "amount"),
    [
        ({"usd": 2 * DOLLARS, "per": "day"}, r"\$0\.040902 per day"),
        ({"tokens": 2 * TOKENS, "per": "hour"}, "92 tokens per hour"),
    ],
)
async def test_beyond_its_line_a_client_is_refused(
    messages: Upstream, tmp_path: Path, limit: dict[str, object], amount: str
) -> None:
    """With what was reached and when that ends, and nothing that would have it tried again."""
    async with running_relay(tmp_path, limited(messages.port, limit)) as relay:
        agent = await relay.agent()
        for _ in range(2):
            assert (await agent.ask(request())).status == 200
        answer = await agent.ask(request())
        assert answer.status == 402
        assert answer.values("x-should-retry") == [b"false"]
        assert answer.values("retry-after") == []
        error = refused(answer)
        assert error["type"] == "billing_error"
        end = r"It ends at \d{4}-\d\d-\d\d \d\d:00 \(UTC\)\."
        assert re.fullmatch(rf"The limit of {amount} is reached\. {end}", error["message"])
        assert await relay.outcomes(3) == {("ok", "200"): 2, ("rejected", "none"): 1}
        assert await relay.samples("relay_rejections_total", "reason") == {("limit",): 1}
        assert relay.log.lines[-1]["reason"] == "limit"
    assert len(messages.requests) == 2


async def test_in_the_shape_of_openai_it_is_a_400(messages: Upstream, tmp_path: Path) -> None:
    """Which its clients show at once."""
    config = limited(messages.port, {"usd": 0, "per": "month"}, **both_relays(messages.port))
    async with running_relay(tmp_path, config) as relay:
        answer = await relay.ask(request(CHAT))
        assert answer.status == 400
        assert answer.values("x-should-retry") == [b"false"]
        assert refused(answer)["type"] == "billing_error"
    assert messages.requests == []


async def test_what_costs_nothing_passes(upstream: Upstream, tmp_path: Path) -> None:
    """Counting tokens, models, and what is only fetched."""
    upstream.answer_with(OK)
    async with running_relay(
        tmp_path, limited(upstream.port, {"usd": 0, "per": "day"}, {"at_once": 1})
    ) as relay:
        for path, method in (
            (f"{MESSAGES}/count_tokens", "POST"),
            ("/relay/anthropic/v1/models", "GET"),
            ("/relay/anthropic/v1/files", "POST"),
            (f"{MESSAGES}/batches/1", "GET"),
            ("/relay/anthropic", "HEAD"),
        ):
            assert (await relay.ask(request(path, method=method))).status == 200
        assert (await relay.ask(request())).status == 402


async def test_a_session_is_stopped_by_itself(messages: Upstream, tmp_path: Path) -> None:
    """The next one begins at zero; calls without one are one of their client's."""
    async with running_relay(
        tmp_path, limited(messages.port, {"usd": DOLLARS, "per": "session"})
    ) as relay:
        for lines, told in (
            ([SESSION % "a"], "It holds for this session: a new one begins at zero."),
            ([SESSION % "b"], "It holds for this session: a new one begins at zero."),
            ([], "It holds for all calls together that name no session."),
        ):
            assert (await relay.ask(request(MESSAGES, *lines))).status == 200
            answer = await relay.ask(request(MESSAGES, *lines))
            assert answer.status == 402
            assert refused(answer)["message"].endswith(told)
    assert len(messages.requests) == 3


async def test_a_limit_of_all_is_one_of_all_clients(messages: Upstream, tmp_path: Path) -> None:
    """Together."""
    clients = [
        {"name": "agent", "token": {"file": "token"}},
        {"name": "other", "token": {"file": "other"}},
    ]
    (tmp_path / "other").write_text("relay-another-token-of-length")
    config = configuration(
        messages.port, clients=clients, limits=[{"usd": 2 * DOLLARS, "per": "day"}]
    )
    async with running_relay(tmp_path, config) as relay:
        for token, status in ((TOKEN, 200), ("relay-another-token-of-length", 200), (TOKEN, 402)):
            answer = await relay.ask(request(token=token))
            assert answer.status == status
        assert "for all clients together" in refused(answer)["message"]
        assert await relay.samples("relay_limit_reached_total", "client", "limit") == {
            ("all", "usd_day"): 1
        }


async def test_calls_at_once_are_so_many(upstream: Upstream, tmp_path: Path) -> None:
    """The next is told to come again in a second, and has a place when one has ended."""
    async with running_relay(tmp_path, limited(upstream.port, {"at_once": 1})) as relay:
        first = await relay.agent()
        await first.send(request())
        caller, _ = await upstream.called()
        answer = await relay.ask(request())
        assert answer.status == 429
        assert answer.values("retry-after") == [b"1"]
        assert answer.values("x-should-retry") == []
        assert refused(answer)["type"] == "rate_limit_error"
        (line,) = await relay.log.calls()
        assert (line["outcome"], line["reason"]) == ("rejected", "limit")
        await caller.send(OK)
        assert (await first.answer()).status == 200
        await first.send(request())
        await caller.request()
        await caller.send(OK)
        assert (await first.answer()).status == 200


@pytest.mark.parametrize(
    "path",
    [f"{MESSAGES}/batches", f"{MESSAGES}/%62atches", f"{MESSAGES}/Batches", f"{MESSAGES}/batches/"],
)
async def test_batches_are_no_way_past_a_limit(
    upstream: Upstream, tmp_path: Path, path: str
) -> None:
    """However they are spelt; who may make them is said at the start."""
    upstream.answer_with(OK)
    limit = {"usd": 100, "per": "day"}
    async with running_relay(tmp_path, limited(upstream.port, limit)) as relay:
        answer = await relay.ask(request(path))
        assert answer.status == 403
        assert answer.values("x-should-retry") == [b"false"]
        assert refused(answer)["type"] == "permission_error"
        (line,) = await relay.log.calls()
        assert (line["outcome"], line["reason"]) == ("rejected", "limit")
        allowed = limited(upstream.port, limit, client={"batches": True})
        update_configuration(relay, allowed)
        relay.app.reload()
        await relay.log.says(r"clients\[0\]\.batches: limits do not see what batches cost$")
        assert (await relay.ask(request(path))).status == 200


async def test_a_call_that_is_left_is_not_free(upstream: Upstream, tmp_path: Path) -> None:
    """What was written until then counts by its size, and is an estimate in the ledger."""
    config = limited(upstream.port, {"tokens": 1_000, "per": "day"}, ledger={"path": "ledger.db"})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        await agent.send(request(body=b"x" * 400))
        caller, _ = await upstream.called()
        events = [message_start(), BLOCK_START, *[text_delta("häßlich\n" * 100)] * 5]
        await caller.send(EVENTS + chunk(b"".join(events)))
        answer, came = await agent.head(), b""
        while not came.endswith(events[-1]):
            came += await agent.piece(answer)
        agent.leave()
        await until(lambda: bool(rows_in(tmp_path / "ledger.db")))
        (row,) = rows_in(tmp_path / "ledger.db")
        # 4000 characters, of which one token is stated by the beginning.
        assert (row["output"], row["estimate_tokens"]) == (1, 999)
        assert row["estimate"] == 999 * 25
        assert (await relay.ask(request())).status == 402


async def test_a_call_left_before_its_answer_counts_its_request(
    upstream: Upstream, tmp_path: Path
) -> None:
    """As fresh input, where the session's call before had nothing from the cache."""
    config = limited(upstream.port, {"tokens": 100, "per": "day"}, ledger={"path": "ledger.db"})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        await agent.send(request(body=b"x" * 400))
        await upstream.called()
        agent.leave()
        await until(lambda: bool(rows_in(tmp_path / "ledger.db")))
        (row,) = rows_in(tmp_path / "ledger.db")
        assert (row["cost"], row["estimate_tokens"], row["estimate"]) == (None, 100, 100 * 15)
        assert (await relay.ask(request())).status == 402


async def test_a_request_is_from_the_cache_where_the_one_before_was(
    upstream: Upstream, tmp_path: Path
) -> None:
    """In the same session; of limits in tokens it is no part then."""
    upstream.answer_with(
        lambda sent: recorded_answer(MESSAGE_STREAM, "identity") if sent.body == b"{}" else OK
    )
    config = limited(upstream.port, ledger={"path": "ledger.db"})
    async with running_relay(tmp_path, config) as relay:
        for session, body in (("a", b"{}"), ("a", b"x" * 400), ("b", b"x" * 400)):
            await relay.ask(request(MESSAGES, SESSION % session, body=body))
            await relay.log.more()
    rows = rows_in(tmp_path / "ledger.db")
    written = len(OK.partition(b"\r\n\r\n")[2]) // 4
    assert [row["estimate_tokens"] for row in rows] == [0, written, 100 + written]


async def test_a_model_without_a_price_is_not_free(upstream: Upstream, tmp_path: Path) -> None:
    """It counts at costs.unknown, and the log says so once."""
    upstream.answer_with(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (len(message_body("house")), message_body("house"))
    )
    async with running_relay(
        tmp_path, limited(upstream.port, {"usd": 0.001, "per": "day"})
    ) as relay:
        assert (await relay.ask(request())).status == 200
        await relay.log.says("nobody knows what the model house costs; limits count it at")
        assert (await relay.ask(request())).status == 402


async def test_a_restart_keeps_what_is_spent(messages: Upstream, tmp_path: Path) -> None:
    """By period and by session, as the ledger has it."""
    limits: list[dict[str, object]] = [
        {"usd": 2 * DOLLARS, "per": "week"},
        {"usd": DOLLARS, "per": "session"},
    ]
    config = limited(messages.port, *limits, ledger={"path": "ledger.db"})
    for session, status in (("a", 200), ("a", 402), ("b", 200), ("c", 402)):
        async with running_relay(tmp_path, config) as relay:
            answer = await relay.ask(request(MESSAGES, SESSION % session))
            assert answer.status == status
    assert "per week" in refused(answer)["message"]


async def test_a_reload_keeps_what_is_spent(messages: Upstream, tmp_path: Path) -> None:
    """And brings other limits; zero stops a client."""
    config = limited(messages.port, {"usd": 1, "per": "day"})
    async with running_relay(tmp_path, config) as relay:
        assert (await relay.ask(request())).status == 200
        for usd, status in ((DOLLARS, 402), (0, 402), (2 * DOLLARS, 200)):
            update_configuration(relay, limited(messages.port, {"usd": usd, "per": "day"}))
            relay.log.text.clear()
            relay.app.reload()
            await relay.log.says("^reloaded ")
            assert (await relay.ask(request())).status == status


async def test_a_ledger_that_cannot_be_read_is_said(messages: Upstream, tmp_path: Path) -> None:
    """Limits go on from memory, and begin at zero."""
    (tmp_path / "ledger.db").write_bytes(b"something else")
    config = limited(messages.port, {"usd": DOLLARS, "per": "day"}, ledger={"path": "ledger.db"})
    async with running_relay(tmp_path, config) as relay:
        await relay.log.says("is damaged; move it away, .*; limits begin at zero$")
        warning = (await relay.readiness())[1]["ledger"]["warning"]
        assert warning.endswith("; limits begin at zero")
        assert (await relay.ask(request())).status == 200
        assert (await relay.ask(request())).status == 402


async def test_a_ledger_that_is_not_read_in_time_is_said(
    messages: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a disk that is stuck: the same, until it is read after all."""
    answers = threading.Event()
    opened = Writer._open
    monkeypatch.setattr(Writer, "_open", lambda writer: answers.wait() and opened(writer))
    monkeypatch.setattr(ledger_module, "_RESTORE_SECONDS", 0.01)
    path = tmp_path / "ledger.db"
    with closing(LedgerFile(str(path))) as file:
        Batches(file.connection).write([a_row(cost=1_000_000)])
    config = limited(messages.port, {"usd": 1, "per": "day"}, ledger={"path": "ledger.db"})
    try:
        async with running_relay(tmp_path, config) as relay:
            await relay.log.says(r"ledger .*: is not read within .* s; limits begin at zero$")
            warning = (await relay.readiness())[1]["ledger"]["warning"]
            assert warning.endswith("; limits begin at zero")
            assert (await relay.ask(request())).status == 200
            answers.set()
            await until(lambda: relay.app._ledger.problem == "")
            assert (await relay.ask(request())).status == 402
            assert "warning" not in (await relay.readiness())[1]["ledger"]
    finally:
        answers.set()


async def agent_until_refused(relay: Relay) -> int:
    """Call until the limit is reached; return how many calls were answered."""
    agent, answered = await relay.agent(), 0
    while (status := (await agent.ask(request())).status) != 402:
        answered += status == 200
        if status == 429:
            await asyncio.sleep(0)
    return answered


async def test_metrics_and_log_say_what_is_used(messages: Upstream, tmp_path: Path) -> None:
    """At the share that is wanted, and at the line: each once."""
    limits: list[dict[str, object]] = [
        {"usd": 4 * DOLLARS, "per": "day", "warn": 0.5},
        {"tokens": 1, "per": "session"},
    ]
    async with running_relay(tmp_path, limited(messages.port, *limits)) as relay:
        warn = await relay.samples("relay_limit_warn_ratio", "client", "limit")
        assert warn == {("agent", "usd_day"): 0.5, ("agent", "tokens_session"): 0.8}
        for count in range(1, 5):
            await relay.ask(request(MESSAGES, SESSION % count))
            ratios = await used(relay)
            assert ratios["agent", "usd_day"] == pytest.approx(count / 4)
            assert ratios["agent", "tokens_session"] == TOKENS
        said = [line["message"] for line in relay.log.lines if "limit of $" in str(line)]
        assert said == [
            "the limit of $0.081804 per day of client agent: $0.040902 of it is used",
            "the limit of $0.081804 per day of client agent is reached: its calls are refused",
        ]
        reached = await relay.samples("relay_limit_reached_total", "client", "limit")
        assert reached == {("agent", "usd_day"): 1, ("agent", "tokens_session"): 4}


async def test_a_client_may_call_its_relays_alone(upstream: Upstream, tmp_path: Path) -> None:
    """Others are no path of its."""
    upstream.answer_with(OK)
    config = limited(upstream.port, **both_relays(upstream.port), client={"relays": ["openai"]})
    async with running_relay(tmp_path, config) as relay:
        assert (await relay.ask(request())).status == 403
        assert (await relay.ask(request(CHAT))).status == 200
        assert await relay.samples("relay_rejections_total", "reason") == {("path",): 1}


# Ways past a limit


async def test_what_a_hop_asks_beyond_its_call_is_checked(tmp_path: Path) -> None:
    """The call itself is not, a second time; what a leg cost counts as soon as it is over."""
    client = {"name": "agent", "token": {"file": "token"}}
    limits = [{"usd": 2 * DOLLARS, "per": "day"}, {"at_once": 1}]
    changes: Config = {
        "clients": [client | {"limits": limits}],
        "ledger": {"path": "ledger.db"},
    }
    async with running_chain(tmp_path, changes=changes) as chain:
        chain.api.answer_with(recorded_answer(MESSAGE_JSON, "identity"))
        agent, hop, sent = await chain.begin()
        count = "/v1/messages/count_tokens"
        for target, status in ((None, 200), (None, 200), (count, 200), (None, 402)):
            back = await chain.come_back(sent, target or "/v1/messages")
            answer = await back.answer()
            assert answer.status == status
        assert answer.values("x-relay-error") == [b"limit"]
        await hop.send(OK.replace(b"200 OK", b"502 Bad Gateway"))
        told = await agent.answer()
        assert told.values("x-relay-error") == [b"limit"]
        assert told.values("x-should-retry") == [b"false"]
        await until(lambda: bool(rows_in(tmp_path / "ledger.db")))
        (row,) = rows_in(tmp_path / "ledger.db")
        assert (row["cost"], row["legs"]) == (2 * 20_451, 3)
        assert (await used(chain.relay))["agent", "usd_day"] == pytest.approx(1)


async def test_what_began_before_the_line_may_come_back_once(tmp_path: Path) -> None:
    """The call itself was let through; what its hop asks after that is another matter."""
    changes: Config = {"limits": [{"usd": DOLLARS, "per": "day"}]}
    async with running_chain(tmp_path, changes=changes) as chain:
        chain.api.answer_with(recorded_answer(MESSAGE_JSON, "identity"))
        sent = [(await chain.begin())[2] for _ in range(2)]
        for each, status in ((sent[0], 200), (sent[1], 200), (sent[0], 402), (sent[1], 402)):
            back = await chain.come_back(each)
            assert (await back.answer()).status == status


async def test_a_ledger_that_is_locked_holds_nothing_up(messages: Upstream, tmp_path: Path) -> None:
    """Limits go on from memory."""
    config = limited(
        messages.port, {"usd": 2 * DOLLARS, "per": "day"}, ledger={"path": "ledger.db"}
    )
    async with running_relay(tmp_path, config) as relay:
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for status in (200, 200, 402):
                assert (await relay.ask(request())).status == status
            await relay.log.says(r"ledger .*: is locked by another program$")


async def test_a_background_response_is_billed_when_it_is_fetched(
    upstream: Upstream, tmp_path: Path
) -> None:
    """In the place of what it was taken for, and once."""
    answer_in_background(upstream)
    config = limited(
        upstream.port,
        {"tokens": 3_000, "per": "day"},
        ledger={"path": "ledger.db"},
        **both_relays(upstream.port),
    )
    path = "/relay/openai/v1/responses"
    async with running_relay(tmp_path, config) as relay:
        assert (await relay.ask(request(path))).status == 200
        await relay.log.calls(1)
        relay.app._recorder.flush()
        assert (await used(relay))["agent", "tokens_day"] < 0.1
        for _ in range(2):
            assert (
                await relay.ask(request(f"{path}/resp_1", method="GET", body=None))
            ).status == 200
            assert (await used(relay))["agent", "tokens_day"] == pytest.approx(1)
        assert (await relay.ask(request(path))).status == 400
        tokens = await relay.samples("relay_tokens_total", "type")
        assert tokens == {("input",): 1000, ("output",): 2000}
    first, *others = rows_in(tmp_path / "ledger.db", "outcome = 'ok'")
    assert (first["input"], first["output"], first["estimate"]) == (1000, 2000, 0)
    assert first["cost"] > 0
    assert [(row["output"], row["cost"], row["estimate"]) for row in others] == [(None, 0, 0)] * 2


async def test_a_folder_of_clients(messages: Upstream, tmp_path: Path) -> None:
    """Each is under its limits by itself, and itself in log and ledger; one in the metrics."""
    folder = tmp_path / "clients"
    folder.mkdir()
    clients = [{"name": "sandbox", "folder": "clients", "limits": [{"usd": DOLLARS, "per": "day"}]}]
    config = configuration(messages.port, clients=clients, ledger={"path": "ledger.db"})
    async with running_relay(tmp_path, config) as relay:
        tokens = []
        for name in ("one", "two"):
            assert main(["token", "--client", name, "--for", "8h", "--folder", str(folder)]) == 0
            tokens.append((folder / name).read_text().splitlines()[0])
            for status in (200, 402):
                assert (await relay.ask(request(token=tokens[-1]))).status == status
        (folder / "one").unlink()
        assert (await relay.ask(request(token=tokens[0]))).status == 401
        assert await relay.samples("relay_requests_total", "client", "outcome") == {
            ("sandbox", "ok"): 2,
            ("sandbox", "rejected"): 2,
            ("none", "rejected"): 1,
        }
        assert await used(relay) == {("sandbox", "usd_day"): 1}
        assert (await relay.readiness())[1]["clients"] == {"sandbox": {"clients": 1}}
        page = json.loads((await relay.page("/calls")).body)
        assert [(each["client"], each["used"]) for each in page["limits"]] == [("two", DOLLARS)]
    rows = rows_in(tmp_path / "ledger.db")
    assert {row["client"] for row in rows} == {"one", "two"}


async def test_a_name_that_is_in_two_folders_is_of_the_first(
    messages: Upstream, tmp_path: Path
) -> None:
    """Nobody calls by the rules of another who has the same name: it is left out of the second."""
    tokens = {}
    for folder, name in (("first", "one"), ("second", "one"), ("second", "two")):
        (tmp_path / folder).mkdir(exist_ok=True)
        tokens[folder, name] = f"relay-{folder}-{name}-token"
        (tmp_path / folder / name).write_text(tokens[folder, name])
    clients: list[dict[str, object]] = [
        {"name": "strict", "folder": "first", "limits": [{"usd": 0, "per": "day"}]},
        {"name": "lax", "folder": "second", "limits": [{"usd": 9, "per": "day"}]},
    ]
    async with running_relay(tmp_path, configuration(messages.port, clients=clients)) as relay:
        statuses = [(await relay.ask(request(token=token))).status for token in tokens.values()]
        assert statuses == [402, 401, 200]
        page = json.loads((await relay.page("/calls")).body)
        shown = {each["client"]: each["most"] for each in page["limits"]}
        assert shown == {"one": 0, "two": 9}


async def test_many_agents_overshoot_by_what_is_in_flight(
    messages: Upstream, tmp_path: Path
) -> None:
    """And no more, however many there are."""
    limit = {"usd": 10 * DOLLARS, "per": "day"}
    async with running_relay(tmp_path, limited(messages.port, limit, {"at_once": 4})) as relay:
        answers = await asyncio.gather(*[agent_until_refused(relay) for _ in range(16)])
        assert 10 <= sum(answers) <= 13
