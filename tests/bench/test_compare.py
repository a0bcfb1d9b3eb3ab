import time

import numpy as np
import pytest

from edgekd.agent.blocks import TimedBlock, runs_per_block
from edgekd.bench.compare import interleave, ratio_to, summarise
from edgekd.bench.plan import Workload
from edgekd.bench.runtimes import open_session
from edgekd.errors import MeasurementError

pytestmark = pytest.mark.timing


def recorder(log: list[str], name: str):
    return lambda: log.append(name)


def test_every_round_runs_every_candidate_in_a_new_order():
    log: list[str] = []
    interleave({name: recorder(log, name) for name in "abc"}, 0.03, block_runs=1, seed=1)
    log = log[3:]  # what is run once before, to see the threads at work
    rounds = [tuple(log[start : start + 6 : 2]) for start in range(0, len(log), 6)]
    assert log[::2] == log[1::2], "one run to settle and one that counts"
    assert len(rounds) >= 30
    assert {tuple(sorted(one)) for one in rounds} == {("a", "b", "c")}
    assert len(set(rounds)) == 6


def test_order_follows_the_seed():
    logs: list[list[str]] = []
    for _ in range(2):
        logs.append([])
        interleave({name: recorder(logs[-1], name) for name in "ab"}, 0.03, block_runs=1, seed=7)
    both = min(map(len, logs))
    assert both >= 100
    assert logs[0][:both] == logs[1][:both]


def test_blocks_are_about_ten_milliseconds_of_a_warm_candidate():
    assert runs_per_block([9_000_000] * 20 + [1_000_000] * 10) == 10
    assert runs_per_block([50_000_000] * 3) == 1
    candidates = {"short": lambda: time.sleep(0.0005), "long": lambda: time.sleep(0.005)}
    blocks = interleave(candidates, 0.1, warmup_s=0.02)
    assert len(blocks["short"]) == len(blocks["long"]) >= 3
    assert len(blocks["short"][0].ns) > len(blocks["long"][0].ns)


def test_nothing_to_time_is_refused():
    with pytest.raises(MeasurementError):
        interleave({}, 1.0)


def test_summary_by_hand():
    summary = summarise(np.arange(1, 401) * 1_000_000)
    assert summary.to_json() == {
        "p50": 200.0,
        "p90": 360.0,
        "p95": 380.0,
        "p99": 396.0,
        "min": 1.0,
        "mean": 200.5,
        "n": 400,
        "ci95_p50": [180.0, 221.0],
        "ci95_p90": [348.0, 372.0],
        "ci95_p95": [371.0, 389.0],
        "ci95_p99": [392.0, 400.0],
    }


def test_summary_leaves_out_what_too_few_samples_do_not_carry():
    assert summarise(np.arange(1, 400)).p99 is None
    assert set(summarise([TimedBlock([1, 2]), TimedBlock([3])]).to_json()) == {"p50", "p90", "p95", "min", "mean", "n"}


def test_a_model_against_itself_is_as_fast_as_itself(light):
    run = open_session(Workload(str(light))).run
    held, ratios = 0, []
    for seed in range(8):
        blocks = interleave({"a": run, "b": run}, 0.1, block_runs=20, seed=seed)
        figure = ratio_to(blocks["a"], blocks["b"], seed)
        held += figure.ci95[0] <= 1 <= figure.ci95[1]
        ratios.append(figure.ratio)
    assert held >= 5
    assert abs(np.median(ratios) - 1) < 0.03
