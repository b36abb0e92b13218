"""``relay doctor --stream``: a call that costs a little, made only when asked for."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from relay.commands.doctor import StreamOptions
from relay.commands.doctor.calls import TimedAnswer
from relay.commands.doctor.streams import choose, event_times, judge
from relay.config import RelaySettings, load
from tests.harness.configuration import configuration, write_configuration
from tests.harness.messages import response_head
from tests.harness.secrets import OAUTH
from tests.harness.upstream import Upstream
from tests.headroom import Headroom, running_headroom
from tests.integration.diagnosis import Diagnosis, answer, api, diagnosed, openly

pytestmark = pytest.mark.asyncio_loop

WANTED = StreamOptions(wanted=True)


async def streamed(folder: Path, mode: str, **arguments: object) -> tuple[Diagnosis, Headroom]:
    """Diagnose a relay whose upstream streams in this way."""
    async with running_headroom() as headroom:
        headroom.play_next("ok")
        headroom.play_next(mode, **arguments)
        return await diagnosed(folder, openly(headroom.port), stream=WANTED), headroom


async def test_a_stream_that_comes_as_it_is_written(tmp_path: Path) -> None:
    """Asked of a cheap model, for a short answer."""
    diagnosis, headroom = await streamed(tmp_path, "slow", events=4)
    assert "comes through as it is written: 9 events" in diagnosis.the("stream").text
    assert diagnosis.status == 0
    (made,) = (each for each in headroom.record.exchanges if each.body.wants_stream)
    body = json.loads(made.body.text or "")
    assert (made.target, body["max_tokens"], body["model"]) == (
        "/v1/messages",
        100,
        "claude-sonnet-4-5",
    )


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("burst", "is BUFFERED: all 41 events of claude-sonnet-4-5 came at once"),
        ("truncated", "the stream broke off before its end"),
        ("reset", "the stream broke off before its end"),
    ],
)
async def test_a_stream_that_does_not(tmp_path: Path, mode: str, says: str) -> None:
    """It fails, for that is what the relay is there for."""
    diagnosis, _ = await streamed(tmp_path, mode)
    assert diagnosis.the("stream").level == "FAIL"
    assert diagnosis.the("stream").text.startswith(says)
    assert diagnosis.status == 1


async def test_nothing_is_spent_unasked(tmp_path: Path) -> None:
    """Nor where the credential is not accepted."""
    async with running_headroom() as headroom:
        await diagnosed(tmp_path, openly(headroom.port))
        headroom.play_next("401")
        await diagnosed(tmp_path, openly(headroom.port), stream=WANTED)
        bodies = [each.body for each in headroom.record.exchanges]
    assert not any(body.wants_stream or body.model for body in bodies)


def relay_of(folder: Path, **changes: object) -> RelaySettings:
    """Return a relay's settings."""
    return load(write_configuration(folder, configuration(1, **changes))).relays[0]


EVENT = b"event: content_block_delta\ndata: {}\n\n"
PING = b"event: ping\ndata: {}\n\n"


def stream(*pieces: tuple[float, bytes]) -> TimedAnswer:
    """Return an answer with these pieces at these times."""
    return TimedAnswer(response_head(200, ("Content-Type", "text/event-stream")), 0.0, list(pieces))


@pytest.mark.parametrize(
    ("pieces", "level"),
    [
        # A model that thinks for a second, and then writes.
        ([(1.0, EVENT), (1.04, EVENT), (1.2, EVENT)], "ok"),
        # A stand-in, which is done at once: the cut of the pieces tells.
        ([(0.002, EVENT), (0.003, EVENT), (0.004, EVENT)], "ok"),
        ([(0.002, EVENT * 50)], "FAIL"),
        # The fastest there are.
        ([(0.3, EVENT), (0.33, EVENT * 9), (0.36, EVENT * 50)], "ok"),
        # All of it after a wait, in one piece or in several.
        ([(2.0, EVENT * 50)], "FAIL"),
        ([(2.0, EVENT * 9), (2.001, EVENT * 9), (2.002, EVENT * 9), (2.003, EVENT)], "FAIL"),
        # Pings while the rest is kept back are no events of the answer's.
        ([(0.1, PING), (0.4, PING), (0.7, PING), (2.0, EVENT * 50)], "FAIL"),
        # A part of an event is none.
        ([(0.1, EVENT[:9]), (0.4, EVENT[9:20]), (2.0, EVENT[20:] + EVENT * 9)], "FAIL"),
        # An event, and the rest at once at the end.
        ([(0.5, EVENT), (3.0, EVENT * 50)], "FAIL"),
    ],
)
def test_the_times_tell(tmp_path: Path, pieces: list[tuple[float, bytes]], level: str) -> None:
    """Whether events that could have come one by one did."""
    assert judge(relay_of(tmp_path), "m", stream(*pieces)).level == level


def test_events_count_when_they_are_whole() -> None:
    """However they are cut."""
    cut = [EVENT[:5], EVENT[5:] + EVENT, PING]
    assert event_times(stream(*((float(i), piece) for i, piece in enumerate(cut)))) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("listed", "wanted", "chosen"),
    [
        (["claude-opus-4-5", "claude-haiku-4-5", "claude-3-5-haiku"], None, "claude-haiku-4-5"),
        (["gpt-4o-mini-tts", "gpt-5-nano", "gpt-4o-mini", "o3"], None, "gpt-4o-mini"),
        (["text-embedding-3-small", "llama"], None, "llama"),
        (["whisper-1"], None, None),
        ([], None, None),
        (["a", "b"], "b", "b"),
        (["a"], "b", "a"),
        ([], "b", "b"),
    ],
)
def test_the_model_is_a_cheap_one(
    listed: list[str], wanted: str | None, chosen: str | None
) -> None:
    """Unless one is named that this upstream has."""
    assert choose(listed, wanted) == chosen


def test_cheap_marks_do_not_hide_each_other() -> None:
    """The order of the preference decides, not the order of the list."""
    names = ["x-mini", "x-flash", "x-nano", "gpt-4.1-mini", "gpt-4o-mini", "gpt-4.1-nano", "haiku"]
    picked = [choose(names[:count], None) for count in range(1, len(names) + 1)]
    assert all(first != second for first, second in pairwise(picked))


@pytest.mark.parametrize(
    ("played", "says"),
    [
        (
            answer(200, {"content": []}),
            "FAIL stream: a stream was asked of claude-haiku-4-5, and application/json",
        ),
        (
            answer(404, {}),
            "warn stream: not checked: claude-haiku-4-5 was refused with 404 -> name another",
        ),
        (
            answer(529, {}),
            "warn stream: not checked: claude-haiku-4-5 was refused with 529 -> try again",
        ),
        (answer(200, b"", kind="text/event-stream"), "FAIL stream: not an event came"),
    ],
)
async def test_no_stream_at_all(
    upstream: Upstream, tmp_path: Path, played: bytes, says: str
) -> None:
    """It is said what came instead."""
    upstream.answer_with(api(models=answer(), messages=played))
    diagnosis = await diagnosed(tmp_path, openly(upstream.port), stream=WANTED)
    assert str(diagnosis.the("stream")).startswith(says)


async def test_openais_api_is_asked_in_its_own_way(upstream: Upstream, tmp_path: Path) -> None:
    """With the model that was named, if it has that."""
    models = answer(200, {"data": [{"id": "gpt-4o-mini"}, {"id": "own-model"}]})
    upstream.answer_with(api(models=models))
    relays = {"openai": {"url": f"http://127.0.0.1:{upstream.port}"}}
    grants = [{"name": "openai", "source": {"file": "openai_key"}}]
    config = openly(upstream.port, grants=grants, claude=None, relays=relays)
    await diagnosed(tmp_path, config, stream=StreamOptions(wanted=True, model="own-model"))
    made = upstream.requests[-1]
    assert made.target == b"/v1/chat/completions"
    assert json.loads(made.body)["model"] == "own-model"


async def test_a_subscriptions_token_may_serve_claude_code_alone(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Then nothing is wrong."""
    upstream.answer_with(api(models=answer(), messages=answer(400, {})))
    grants = [{"name": "claude", "source": {"file": "oauth"}}]
    config = openly(upstream.port, grants=grants)
    diagnosis = await diagnosed(tmp_path, config, stream=WANTED)
    assert upstream.requests[-1].values("authorization") == [f"Bearer {OAUTH}".encode()]
    assert diagnosis.the("stream").level == "note"
    assert diagnosis.status == 0
