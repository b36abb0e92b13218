"""What the bench makes of its samples: ratios, verdicts and the picture of them."""

from __future__ import annotations

import re

from tests.bench import cases
from tests.bench.plot import plot
from tests.bench.rounds import Sample, ratio
from tests.bench.targets import Figures, Reached, reached


def _rates(*values: float) -> list[Sample]:
    return [{cases.PER_SECOND: value} for value in values]


def _latencies(*values: float) -> list[Sample]:
    return [{cases.P50: value} for value in values]


def _calls(relay: list[Sample], nginx: list[Sample]) -> Figures:
    figures = Figures()
    figures.samples[cases.CALLS_32] = {"relay": relay, "nginx": nginx}
    return figures


def _only(figures: Figures) -> Reached:
    (found,) = reached(figures)
    return found


def test_a_ratio_is_that_of_samples_of_the_same_round() -> None:
    """A slow second that both had does not count."""
    assert ratio(_rates(10, 5, 30), _rates(20, 10, 12), cases.PER_SECOND) == 0.5


def test_a_rate_at_the_target_meets_it_and_one_below_does_not() -> None:
    """More is better."""
    assert _only(_calls(_rates(45), _rates(100))).verdict == "met"
    assert _only(_calls(_rates(44), _rates(100))).verdict == "NOT met"


def test_added_latency_is_what_comes_on_top_of_the_direct_way() -> None:
    """The upstream's own time is nobody's merit."""
    figures = Figures()
    figures.samples[cases.CALLS_1] = {
        "direct": _latencies(20, 30),
        "nginx": _latencies(70, 80),
        "relay": _latencies(145, 155),
    }
    found = _only(figures)
    assert found.figures == {"nginx": 1, "relay": 2.5}
    assert found.verdict == "NOT met"


def _of_chains(case: str, **values: float) -> Reached:
    """Return what a chain reached in one round of a case, in which all figures are the same."""
    names = (cases.PER_SECOND, cases.P50, cases.P99, cases.CPU)
    figures = Figures()
    figures.samples[case] = {peer: [dict.fromkeys(names, value)] for peer, value in values.items()}
    (found,) = [each for each in reached(figures) if each.target.peer == "chain"]
    return found


def test_of_what_a_hop_adds_its_own_share_is_left_out() -> None:
    """That is what nginx adds; the rest is compared with what the relay adds alone."""
    values = {"direct": 20.0, "nginx": 70.0, "relay": 120.0}
    found = _of_chains(cases.CALLS_1, chain=370, **values)
    assert found.figures == {"chain": 2}
    assert found.verdict == "met"
    assert _of_chains(cases.CALLS_1, chain=371, **values).verdict == "NOT met"
    found = _of_chains(cases.PACED, chain=230, **values)
    assert (found.figures, found.verdict) == ({"chain": 1.5}, "met")


def test_the_cpu_that_a_hop_adds_is_the_relays_alone() -> None:
    """The hop is another process."""
    values = {"direct": 1.0, "nginx": 25.0, "relay": 100.0}
    found = _of_chains(cases.CALLS_32, chain=300, **values)
    assert (found.figures, found.verdict) == ({"chain": 2}, "met")
    assert _of_chains(cases.CALLS_32, chain=301, **values).verdict == "NOT met"


def _own(case: str, peer: str, **samples: Sample) -> Reached:
    """Return what one of the relays reached that has a target of its own in this case."""
    figures = Figures()
    figures.samples[case] = {name: [sample] for name, sample in samples.items()}
    (found,) = [each for each in reached(figures) if each.target.peer == peer]
    return found


def test_the_memory_of_chained_streams_is_measured_with_all_of_them() -> None:
    """The hop's own is another process's."""
    found = _own(cases.CROWD, "chain", chain={cases.HELD: 512.0})
    assert (found.figures, found.verdict) == ({"chain": 512}, "met")


def test_a_ledger_and_limits_are_compared_with_a_relay_without() -> None:
    """In the CPU of a call; idle, they have memory of their own."""
    found = _own(cases.CALLS_32, "limited", relay={cases.CPU: 100}, limited={cases.CPU: 106})
    assert (found.figures, found.verdict) == ({"limited": 1.06}, "NOT met")
    memory: Sample = {cases.IDLE: 70.0, cases.STREAM: 1.0}
    found = _own(cases.MEMORY, "limited", limited=memory)
    assert (found.figures, found.verdict) == ({"limited": 70}, "met")


def test_without_nginx_nothing_is_compared_with_it() -> None:
    """A run of some peers has some of the targets."""
    figures = Figures()
    figures.samples[cases.CALLS_32] = {"relay": _rates(1), "haproxy": _rates(2)}
    assert reached(figures) == []


def test_the_better_peer_is_drawn_to_the_right() -> None:
    """For latencies as well, of which less is better."""
    figures = _calls(_rates(50), _rates(100))
    figures.samples[cases.PACED] = {
        "relay": [{cases.P50: 50, cases.P99: 50}],
        "nginx": [{cases.P50: 100, cases.P99: 100}],
    }
    for case in (cases.CALLS_32, cases.PACED):
        figures.samples[case]["chain"] = [{cases.PER_SECOND: 1, cases.P50: 900, cases.P99: 900}]
    picture = plot(reached(figures))
    dots = re.findall(r'<circle cx="([\d.]+)" cy="(\d+)" r="(\d)"', picture)
    relay = [float(x) for x, y, size in dots if int(y) > 20 and size == "6"]
    (nginx,) = {float(x) for x, y, size in dots if int(y) > 20 and size == "5"}
    assert relay[0] < nginx < relay[1] == relay[2]
