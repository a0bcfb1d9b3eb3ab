import gc
import time

import numpy as np
import pytest

from edgekd.agent.clock import is_steady, warm_up
from edgekd.bench import sample

pytestmark = pytest.mark.timing


def test_sleeps_are_measured_in_nanoseconds():
    times = sample(lambda: time.sleep(0.002), warmup_s=0.01, warmup_runs=2, seconds=0.05, min_runs=5)
    assert times.dtype == np.int64
    assert times.min() >= 2e6
    assert np.median(times) < 20e6


def test_min_and_max_runs_bound_the_time():
    assert len(sample(lambda: None, 0, 0, seconds=0, min_runs=7)) == 7
    assert len(sample(lambda: None, 0, 0, seconds=60, min_runs=7, max_runs=50)) == 50


def test_collector_is_off_while_sampling_and_on_again():
    seen = []
    sample(lambda: seen.append(gc.isenabled()), 0, 1, seconds=0, min_runs=3)
    assert seen[-3:] == [False] * 3
    assert gc.isenabled()


def test_collector_is_on_again_after_an_error():
    calls = iter(range(3))
    with pytest.raises(StopIteration):
        sample(lambda: next(calls), 0, 1, seconds=0, min_runs=10)
    assert gc.isenabled()


def test_warm_up_waits_until_a_slow_start_is_over():
    naps = iter([*np.linspace(0.02, 0.002, 12), *[0.002] * 1000])
    times = warm_up(lambda: time.sleep(next(naps)), seconds=0.05, runs=9)
    assert len(times) > 12


def test_warm_up_gives_up_on_what_never_settles():
    growing = iter(np.linspace(0, 0.02, 1000))
    started = time.perf_counter()
    warm_up(lambda: time.sleep(next(growing)), seconds=0.02, runs=3)
    assert time.perf_counter() - started < 1


def test_steady_compares_the_last_two_thirds():
    assert is_steady([900] * 10 + [100] * 10 + [101] * 10)
    assert not is_steady([100] * 20 + [103] * 10)
    assert not is_steady([100, 100])
