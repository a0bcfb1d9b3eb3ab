"""Costs: what is left of inferences without what others took, on made-up blocks and beside real neighbours."""

import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.agent.blocks import TimedBlock
from edgekd.bench import Plan, Workload, interleave, measure, ratio_to
from edgekd.bench.undisturbed import levelled, paired_costs, taken_share, undisturbed
from edgekd.errors import MeasurementError

MS = 1_000_000


def test_a_long_inference_gives_back_what_others_took_of_it():
    assert undisturbed(TimedBlock([31 * MS], lost_ns=12 * MS)).tolist() == [19 * MS]


def test_of_many_the_longest_were_preempted():
    times = [500_000] * 18 + [3_500_000, 4_600_000]
    cost = undisturbed(TimedBlock(times, lost_ns=7 * MS))
    assert np.median(cost) == 500_000
    assert cost.sum() == sum(times) - 7 * MS
    assert cost.tolist()[:18] == times[:18] and cost[18] == cost[19] == 550_000


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=40), st.floats(0, 0.98))
def test_levelling_takes_away_so_much_and_of_the_longest(times, share):
    excess = share * sum(times)
    found = levelled(np.array(times, float), excess)
    assert found.sum() == pytest.approx(sum(times) - excess)
    assert (found > 0).all() and (found <= np.array(times) + 1e-6).all()
    lowered = found < np.array(times) - 1e-6
    assert not lowered.any() or np.allclose(found[lowered], found.max())


def test_almost_nothing_is_no_measurement():
    assert undisturbed(TimedBlock([1000 * MS], lost_ns=990 * MS)) is None


def test_threads_that_wait_for_each_other_count_where_few_inferences_were_hit():
    quiet = [300_000] * 33
    assert undisturbed(TimedBlock(quiet, pool=1)).tolist() == quiet
    assert undisturbed(TimedBlock([*quiet, 4 * MS], waited_ns=1_500_000, switches=1, pool=1)) is not None
    assert undisturbed(TimedBlock(quiet, waited_ns=6 * MS, switches=2, pool=1)) is None, "one thread ran alone"
    assert undisturbed(TimedBlock([18 * MS], waited_ns=8 * MS, switches=3, pool=1)) is None


def test_where_the_system_says_nothing_of_the_threads_wall_times_are_all_there_is():
    times = [300_000] * 32 + [4 * MS]
    assert undisturbed(TimedBlock(times, waited_ns=None, switches=9, pool=1)).tolist() == times


def test_a_round_counts_where_both_do():
    clean, hit = TimedBlock([9 * MS], pool=1), TimedBlock([18 * MS], waited_ns=8 * MS, pool=1)
    ours, theirs = paired_costs([clean, hit, clean, clean], [clean, clean, hit, clean])
    assert len(ours) == len(theirs) == 2
    assert taken_share([TimedBlock([4 * MS], lost_ns=MS), TimedBlock([4 * MS], lost_ns=3 * MS)]) == 0.5


@contextmanager
def busy(count: int):
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def spin(loops: int):
    return lambda: sum(range(loops))


@pytest.mark.slow  # busy processes count as its own time
@pytest.mark.timing
def test_the_ratio_of_a_long_and_a_short_call_is_true_beside_busy_processes():
    """Twice as many as there are processors: a wall time of the long one is three times its cost."""
    calls = {"long": spin(400_000), "short": spin(20_000)}
    quiet = interleave(calls, 0.5, warmup_s=0.05)
    truth = ratio_to(quiet["long"], quiet["short"]).ratio
    with busy(2 * len(os.sched_getaffinity(0))):
        blocks = interleave(calls, 0.8, warmup_s=0.05)
    found = ratio_to(blocks["long"], blocks["short"])
    walls = np.median([np.median(block.ns) for block in blocks["long"]]) / np.median(
        [np.median(block.ns) for block in blocks["short"]]
    )
    assert taken_share(blocks["long"]) > 0.3
    assert abs(found.ratio / truth - 1) < 0.1 < walls / truth - 1


def test_no_round_that_counts_is_no_ratio():
    hit = [TimedBlock([18 * MS], waited_ns=8 * MS, pool=1)] * 9
    with pytest.raises(MeasurementError, match="a ratio needs a block of each in two rounds"):
        ratio_to(hit, hit)


@pytest.mark.slow
@pytest.mark.timing
def test_a_record_tells_what_a_user_would_see_from_what_it_costs(light):
    with busy(2 * len(os.sched_getaffinity(0))):
        plan = Plan({"light": Workload(str(light))}, seconds=0.3, max_seconds=0.3, launches=3, warmup_s=0.02)
        record = measure(plan)["light"]
    assert record.cost_ms is not None and record.cost_ms.taken > 0
    assert record.cost_ms.p50 <= 1.05 * record.latency_ms.p50
    assert record.cost_ms.rounds == record.cost_ms.of
    assert "busy_neighbour" in [warning.code for warning in record.warnings]
