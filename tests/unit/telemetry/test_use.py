"""What calls have used since the start, by model, client and session."""

from __future__ import annotations

from collections.abc import Mapping

from relay.telemetry.call import CallRecord
from relay.telemetry.usage import Meter, Part
from relay.telemetry.use import SHOWN, Use
from tests.harness.prices import MadeUpPrices


def answered(session: str = "s", *parts: Part) -> CallRecord:
    """Return a call that has used this."""
    record = CallRecord(relay="anthropic", client="agent", session_id=session)
    record.meter = Meter("messages", 200, b"application/json")
    record.stop()
    usage = record.meter.finish("clean", 0.0)
    record.usage = usage._replace(parts=parts or (Part("m", {"input": 10, "output": 2}),))
    return record


def row(report: Mapping[str, object], table: str, number: int = 0) -> Mapping[str, object]:
    """Return one row of a report's table."""
    return dict(rows(report, table)[number])


def rows(report: Mapping[str, object], table: str) -> list[Mapping[str, object]]:
    """Return the rows of a report's table."""
    spans = report["spans"]
    assert isinstance(spans, list)
    (span,) = spans
    return list(span[table])


def test_tokens_are_summed_by_model_client_and_session() -> None:
    """By direction; each part of an answer under its own model, the call once for the rest."""
    use = Use()
    cached = {"input": 1, "cache_read": 20, "cache_write_5m": 3, "cache_write_1h": 4, "output": 5}
    use.take(answered("s", Part("large", cached), Part("small", {"input": 7})))
    use.take(answered("t", Part("large", {"output": 1})))
    report = use.report()
    sums = {"calls": 2, "input": 8, "cache_read": 20, "cache_write": 7, "output": 6}
    assert sums.items() <= row(report, "clients").items()
    assert row(report, "clients")["name"] == "agent"
    assert (row(report, "models", 0)["name"], row(report, "models", 0)["output"]) == ("large", 6)
    assert (row(report, "models", 1)["name"], row(report, "models", 1)["input"]) == ("small", 7)
    assert [row(report, "sessions", n)["name"] for n in (0, 1)] == ["t", "s"]


def test_costs_are_those_of_the_service() -> None:
    """As in the ledger, and in the metrics."""
    use = Use()
    use.price(MadeUpPrices("free"))
    record = answered()
    assert record.usage is not None
    record.usage = record.usage._replace(tier="fast")
    use.take(record)
    assert row(use.report(), "models")["cost_usd"] == 0.24


def test_what_used_nothing_is_not_counted() -> None:
    """Refused calls, and those whose answers state no tokens."""
    use = Use()
    version = use.version
    use.take(CallRecord(outcome="rejected"))
    use.take(answered("s", Part("m", {})))
    assert (rows(use.report(), "sessions"), use.version) == ([], version)


def test_costs_are_summed_where_there_are_prices() -> None:
    """What has none is counted; without a list of prices nothing costs anything."""
    use = Use()
    assert use.report()["priced"] is False
    use.price(MadeUpPrices("free"))
    use.take(answered())
    use.take(answered("s", Part("free", {"input": 5})))
    report = use.report()
    assert report["priced"] is True
    assert (row(report, "clients")["cost_usd"], row(report, "clients")["unpriced"]) == (0.12, 1)


def test_the_latest_sessions_are_kept() -> None:
    """However many there are, memory is bounded, and no more are shown than one reads."""
    use = Use()
    for number in range(1_200):
        use.take(answered(f"s{number}"))
    assert len(use._sessions._sums) == 1_000
    sessions = rows(use.report(), "sessions")
    assert isinstance(sessions, list)
    assert [each["name"] for each in sessions] == [f"s{n}" for n in range(1_199, 1_199 - SHOWN, -1)]


def test_what_has_no_name_is_null() -> None:
    """A call without a session belongs to none."""
    use = Use()
    use.take(answered(""))
    assert row(use.report(), "sessions")["name"] is None
