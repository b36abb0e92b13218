"""A short slice of the fuzz, the same each time: ``python -m tests.wire.fuzz`` is the long one.

An example is a batch of genomes, which are played at once; Hypothesis shrinks their number
and their bytes. Each can be played again by ``--replay``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.proxy.header_policy import goes_to_agent, goes_upstream
from tests.wire.arena import Arena, Case, running_arena
from tests.wire.drafts import ANSWERS, REQUESTS
from tests.wire.genes import GENOME_SIZE, Genes
from tests.wire.judging import plan_requests
from tests.wire.mutations import FIELD_LINES, mutated
from tests.wire.reference import crossing, crossing_back
from tests.wire.strict import Request, read_request, read_response

GENOMES = st.lists(
    st.binary(min_size=GENOME_SIZE // 2, max_size=GENOME_SIZE), min_size=8, max_size=32
)
RUNS = settings(
    max_examples=250, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@contextmanager
def running(folder: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Arena]]:
    """Run an arena on an event loop that is driven from here."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        context = running_arena(folder.mktemp("fuzz"))
        arena = runner.run(context.__aenter__())
        try:
            yield runner, arena
        finally:
            runner.run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Arena]]:
    """A relay with many slots, and the loop it runs on."""
    with running(tmp_path_factory) as started:
        yield started


@pytest.mark.parametrize("name", sorted({line.partition(b":")[0] for line in FIELD_LINES}))
def test_the_judge_drops_what_the_relay_drops(name: bytes) -> None:
    """Of what is sent; the slice below may not get to a header that only one of them knows."""
    fields = [(name, b"x")]
    request = Request(method=b"GET", target=b"/", minor=1, fields=fields)
    assert bool(crossing(request)) == goes_upstream(name.lower())
    assert bool(crossing_back(fields, [])) == goes_to_agent(name.lower())


@RUNS
@given(genomes=GENOMES)
def test_every_mutation_is_refused_or_means_the_same_upstream(
    arena: tuple[asyncio.Runner, Arena], genomes: list[bytes]
) -> None:
    """A clean refusal, or the very request, with one credential; answers likewise."""
    runner, playing = arena
    findings = runner.run(playing.play(genomes))
    shown = [f"{wrong}\n  python -m tests.wire.fuzz --replay {g.hex()}" for g, wrong in findings]
    assert not findings, "\n".join(shown)


def test_the_slice_meets_every_kind_of_outcome(arena: tuple[asyncio.Runner, Arena]) -> None:
    """It is no test of refusals alone."""
    met = arena[1].outcomes
    assert sum(met.values()) > 1000
    for kind in ("200", "400", "401", "answer whole", "answer torso", "answer 502", "none"):
        assert met.get(kind, 0) >= 10, met


@pytest.mark.parametrize("kind", range(4))
def test_an_empty_genome_is_a_plain_good_call(
    kind: int, arena: tuple[asyncio.Runner, Arena]
) -> None:
    """So what shrinks becomes plain."""
    case: Case = arena[1].case(bytes([kind]))
    assert len(case.sent) == 1
    request = read_request(case.sent[0])
    assert request.complete
    assert request.method == b"POST"
    assert plan_requests(case.sent[0], arena[1].kind(kind)).statuses == [0]
    assert arena[0].run(arena[1].play([bytes([kind])])) == []


@pytest.mark.parametrize("index", range(len(REQUESTS)))
def test_seeds_of_requests_are_strict_http(index: int) -> None:
    """Before anything mutates them."""
    request = read_request(mutated(REQUESTS[index], Genes(b"")))
    assert request.complete


@pytest.mark.parametrize("index", range(len(ANSWERS)))
def test_seeds_of_answers_are_strict_http(index: int) -> None:
    """Before anything mutates them."""
    answer = read_response(mutated(ANSWERS[index], Genes(b"")), closed=True)
    assert answer.complete
