import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import pytest

from edgekd.agent.blocks import TimedBlock
from edgekd.bench import LatencyRecord, Plan, Workload, measure, runner
from edgekd.bench.launch import Launch
from edgekd.bench.runner import affordable, is_enough, sample_warnings
from edgekd.bench.surroundings import surroundings_warnings, too_few_cpus
from edgekd.errors import DisturbedError, MeasurementError
from tests.machine_lock.processes import Another

from .conftest import write_model

pytestmark = pytest.mark.timing


def plan_of(*paths, **rest) -> Plan:
    workloads = {f"{path.stem}{number or ''}": Workload(str(path)) for number, path in enumerate(paths)}
    rest = {"seconds": 0.2, "max_seconds": 0.2, "launches": 6, "warmup_s": 0.02} | rest
    return Plan(workloads, **rest)


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if "edgekd.agent" in " ".join(words_of(each))]


def models() -> list[psutil.Process]:
    """Processes that run a model, not their host."""
    return [each for each in children() if words_of(each)[-1:] == ["child"]]


def words_of(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def eventually(true, patience_s: float = 10) -> bool:
    deadline = time.monotonic() + patience_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(true())


@pytest.fixture(scope="module")
def records(light, heavy):
    return measure(plan_of(light, heavy, reference="light"))


def test_a_slower_model_is_found(records):
    light, heavy = records["light"], records["heavy1"]
    low, high = heavy.latency_vs_reference.ci95
    assert 1.3 < low <= heavy.latency_vs_reference.ratio <= high < 8
    assert light.latency_vs_reference is None
    assert heavy.latency_ms.p50 > 1.5 * light.latency_ms.p50


def test_a_record_says_how_it_came_about(records):
    light = records["light"]
    assert light.load_ms > 0
    assert light.first_ms > 0
    assert (light.runtime, light.device, light.batch, light.threads) == ("onnxruntime", "cpu", 1, 1)
    assert light.providers == ["CPUExecutionProvider"]
    assert len(light.cpus) == 1
    assert light.transfers_ms is None
    assert len(light.raw_ns) == 6, "every launch"
    samples = np.concatenate([np.concatenate(rounds) for rounds in light.raw_ns])
    assert len(samples) == light.latency_ms.n
    assert np.percentile(samples, 50, method="inverted_cdf") / 1e6 == light.latency_ms.p50


def test_record_survives_json(records):
    for record in records.values():
        document = json.loads(json.dumps(record.to_json(), allow_nan=False))
        assert LatencyRecord.from_json(document) == record
        assert document["valid"] == record.valid
    assert not {"latency_vs_reference", "transfers_ms"} & set(records["light"].to_json())


def test_no_process_is_left(records):
    assert children() == []


def test_reference_must_be_among_the_models(light):
    with pytest.raises(MeasurementError, match="'teacher' is not among the models: light"):
        plan_of(light, reference="teacher")


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"threads": 0}, {"launches": 0}])
def test_plans_that_cannot_be_carried_out(light, wrong):
    with pytest.raises(MeasurementError):
        plan_of(light, **wrong)
    with pytest.raises(MeasurementError, match="nothing to time"):
        Plan({})


def test_refusals_arrive_as_one_line(tmp_path):
    with pytest.raises(MeasurementError, match=r"^no such file: [^\n]*none\.onnx; give[^\n]*$"):
        measure(plan_of(tmp_path / "none.onnx"))
    assert children() == []


def test_a_time_limit_too_short_for_one_sample(light):
    with pytest.raises(MeasurementError, match=r"light: .* was not done when the time limit of 0\.3 s was over"):
        measure(plan_of(light, seconds=60), timeout_s=0.3)
    assert children() == []


def test_waiting_for_others_is_a_part_of_the_time_limit(light):
    with Another("timing").must_be_in() as other:
        threading.Timer(2.0, other.let_go).start()
        started = time.monotonic()
        with pytest.raises(MeasurementError, match=r"light: .* was not done when the time limit of 2\.5 s was over"):
            measure(plan_of(light, seconds=60), timeout_s=2.5)
    assert time.monotonic() - started < 4


def test_a_time_limit_in_the_middle_keeps_what_was_measured(light):
    record = measure(plan_of(light, seconds=30, max_seconds=30, launches=30), timeout_s=2.5)["light"]
    assert 1 <= len(record.raw_ns) < 30
    assert record.latency_ms.n > 0
    assert "time_limit" in [warning.code for warning in record.warnings]


def test_a_process_killed_in_the_middle_is_explained(light):
    def kill() -> None:
        assert eventually(models)
        time.sleep(0.5)
        models()[0].send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(DisturbedError, match=r"light: the measuring process was ended by SIGKILL; the system may"):
        measure(plan_of(light, seconds=20, max_seconds=20))
    killer.join()
    assert children() == []


def test_no_orphan_when_the_parent_is_killed(tmp_path):
    endless = write_model(tmp_path / "endless.onnx", width=2048, layers=60)
    code = (
        "from edgekd.bench import Plan, Workload, measure\n"
        f"measure(Plan({{'a': Workload({str(endless)!r}, shape=(4096, 2048))}}, seconds=60))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    found: list[psutil.Process] = []
    assert eventually(lambda: found.extend(psutil.Process(parent.pid).children(recursive=True)) or len(found) > 1)
    time.sleep(1.0)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert eventually(lambda: all(not each.is_running() or is_zombie(each) for each in found))


def is_zombie(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


QUIET = np.array([[2.0, 0.0], [1.0, 0.0]])


def launch(**medians: float) -> Launch:
    rounds = {name: [TimedBlock([int(value * 1e6)] * 60)] * 4 for name, value in medians.items()}
    return Launch({}, rounds, {}, QUIET)


@pytest.fixture
def undecided(light, heavy) -> Plan:
    return replace(plan_of(light, heavy, reference="light", launches=8), seconds=1.0, max_seconds=4.0)


def test_it_goes_on_while_the_ratio_is_in_question(undecided):
    noisy = [launch(light=1.0, heavy1=1.0 + shift) for shift in (-0.04, -0.03, -0.02, 0, 0.01, 0.02, 0.03, 0.04)]
    assert not is_enough(undecided, noisy)
    assert is_enough(replace(undecided, question=2.0), noisy), "2 is far outside"
    assert is_enough(replace(undecided, resolution=0.2), noisy), "nothing of interest is left"
    assert affordable(undecided, noisy) == 24
    assert is_enough(replace(undecided, max_seconds=1.0), noisy), "the bound"


def test_beside_so_many_that_caches_are_cold_it_is_not_measured(undecided):
    """At ordinary priority; blocks that are shielded from others count."""
    hit = [TimedBlock([40_000_000], lost_ns=28_000_000)] * 6
    cold = Launch({}, {"light": hit, "heavy1": hit}, {}, QUIET)
    [warning] = runner.counted_warnings(undecided, [cold] * 8, "heavy1")
    assert warning.code == "others_took_time" and "others took 70% of the time" in warning.message
    shielded = replace(cold, shielded={name: [TimedBlock([12_000_000])] * 6 for name in cold.rounds})
    assert runner.counted_warnings(undecided, [shielded] * 8, "heavy1") == []


def disturbed_in_turns(shared: int) -> Launch:
    """A launch of eight rounds on a pool: others hit one file in the even rounds, the other in the odd ones."""
    whole = TimedBlock([1_000_000] * 10, pool=1)
    hit = whole._replace(waited_ns=9_000_000, switches=9)
    turns = [[whole, hit] * 4, [hit, whole] * 4]
    turns = [[whole] * shared + each[shared:] for each in turns]
    return Launch({}, dict(zip(("light", "heavy1"), turns, strict=True)), {}, QUIET)


@pytest.mark.parametrize("shared, counted", [(0, 0), (1, 8), (8, 64)])
def test_a_ratio_counts_the_rounds_that_both_files_share(undecided, shared, counted):
    """Enough rounds of each file, of which none is the same, leave no ratio: to say so is no error."""
    launches = [disturbed_in_turns(shared) for _ in range(8)]
    assert sum(runner.counted_rounds(undecided, launches, "light")) == (64 if shared == 8 else 32)
    assert sum(runner.counted_rounds(undecided, launches, "heavy1")) == counted
    assert runner.counted_warnings(undecided, launches, "light") == []
    codes = [warning.code for warning in runner.counted_warnings(undecided, launches, "heavy1")]
    assert codes == ([] if shared == 8 else ["others_took_time"])
    ratio = runner.vs_reference(undecided, launches, "heavy1")
    assert (ratio and ratio.ratio) == (1.0 if counted else None)
    assert is_enough(undecided, launches) == (shared == 8)


def test_the_interval_knows_of_other_sittings(undecided):
    """However alike launches are, the next sitting may differ; what they cannot show does not keep them from ending."""
    alike = [launch(light=1.0, heavy1=1.0)] * 8
    low, high = runner.vs_reference(undecided, alike, "heavy1").ci95
    np.testing.assert_allclose([np.log(low), np.log(high)], [-1.96 * 0.005, 1.96 * 0.005], rtol=1e-4)
    assert is_enough(undecided, alike)
    one_percent = [launch(light=1.0, heavy1=1.011)] * 8
    assert not is_enough(undecided, one_percent), "it is neither surely 1 nor surely more"
    assert is_enough(undecided, [launch(light=1.0, heavy1=1.02)] * 8)
    half = [TimedBlock([2_000_000] * 10, lost_ns=10_000_000)] * 4
    beside_others = Launch({}, {"light": half, "heavy1": half}, {}, QUIET)
    low, high = runner.vs_reference(undecided, [beside_others] * 8, "heavy1").ci95
    further = 1.96 * np.hypot(0.005, 0.01 * 0.5)
    np.testing.assert_allclose([np.log(low), np.log(high)], [-further, further], rtol=1e-4)


def test_it_goes_on_while_a_median_is_vague(undecided):
    clear = [launch(light=1.0, heavy1=2.0) for _ in range(8)]
    assert is_enough(undecided, clear)
    wide = replace(
        clear[0], rounds={**clear[0].rounds, "light": [TimedBlock(np.linspace(0.5e6, 1.5e6, 60).tolist())] * 4}
    )
    assert not is_enough(undecided, [wide] * 8)


def codes(*blocks: list[int]) -> list[str]:
    one = Launch({}, {"a": [TimedBlock(block) for block in blocks]}, {}, QUIET)
    return [warning.code for warning in sample_warnings([one], "a")]


def test_warnings_by_code():
    assert codes(*[[100, 101, 102]] * 30) == []
    assert codes(*[[100, 101, 102]] * 29) == ["too_few_samples"]
    assert codes(*[[100, 130, 160]] * 30) == ["wide_spread"]
    assert codes(*[[100]] * 20, *[[108]] * 10) == ["not_steady"]


def test_more_threads_than_cpus_is_not_valid(records):
    assert too_few_cpus(4, 4) == []
    crowded = replace(records["light"], warnings=tuple(too_few_cpus(5, 4)))
    assert [warning.code for warning in crowded.warnings] == ["too_few_cpus"]
    assert not crowded.valid


def test_a_processor_slowed_for_its_heat_is_not_valid(records):
    warnings = surroundings_warnings([launch(a=1.0), replace(launch(a=1.0), throttle_events=2)])
    assert [warning.code for warning in warnings] == ["throttled"]
    assert not replace(records["light"], warnings=tuple(warnings)).valid


def test_a_neighbour_on_the_measured_cpu_counts_however_large_the_machine():
    beside = replace(launch(a=1.0), taken=np.array([[64.0, 1.0], [1.0, 0.6]]))
    assert "kept 60% of the CPUs busy" in surroundings_warnings([beside])[0].message
    assert (
        surroundings_warnings([launch(a=1.0)] * 3 + [replace(beside, taken=np.array([[2.0, 0.1], [1.0, 0.1]]))]) == []
    )


def test_several_threads_of_which_the_system_says_nothing(records):
    """Their costs hold what others took: valid with a warning where these are not seen, or are seen to do little."""
    unseen = replace(launch(a=1.0), rounds={"a": [TimedBlock([1_000_000] * 60, waited_ns=None, pool=1)] * 4})
    [warning] = surroundings_warnings([launch(a=1.0), unseen])
    assert warning.code == "neighbours_not_seen" and "how long threads wait" in warning.message
    nobody = replace(unseen, taken=np.zeros((2, 2)))
    assert {warning.code for warning in surroundings_warnings([nobody])} == {"neighbours_not_seen"}
    warnings = surroundings_warnings([replace(unseen, taken=np.array([[2.0, 0.4], [1.0, 0.1]]))])
    assert [warning.code for warning in warnings] == ["busy_neighbour", "others_took_time"]
    assert "others kept 20% of the CPUs busy" in warnings[1].message
    assert not replace(records["light"], warnings=tuple(warnings)).valid


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([0, 0], []),
        ([0, 1], ["another process has the GPU: what ran there meanwhile cannot be seen"]),
        ([3, 2], ["3 other processes have the GPU: what ran there meanwhile cannot be seen"]),
        ([0, None], ["what else ran on the GPU meanwhile cannot be seen on this system"]),
    ],
)
def test_a_gpu_that_others_have_is_warned_of(others, said):
    warnings = surroundings_warnings([launch(a=1.0), replace(launch(a=1.0), gpu=others)])
    assert [(warning.code, warning.message) for warning in warnings] == [("neighbours_not_seen", each) for each in said]


def test_files_that_fix_different_batches_are_not_compared(light, tmp_path):
    fixed = write_model(tmp_path / "fixed.onnx", width=8, shape=[4, 8])
    with pytest.raises(MeasurementError, match=r"different batches \(light 1, fixed1 4\)"):
        measure(plan_of(light, fixed))


def test_a_plan_survives_json(light):
    plan = plan_of(light, reference="light")
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def sent(rounds: dict[str, list[TimedBlock]]) -> dict[str, Any]:
    about = {"load_ms": 1.0, "first_ms": 1.0, "batch": 1, "cpus": None, "providers": []}
    return {
        **{"event": "launch", "shielded": None, "taken": QUIET.tolist(), "throttled": 0, "governor": None, "gpu": []},
        **{"power": None, "clock_khz": {name: [] for name in rounds}},
        **{"opened": dict.fromkeys(rounds, about), "transfers": {name: {} for name in rounds}},
        "rounds": {name: [block.to_json() for block in blocks] for name, blocks in rounds.items()},
    }


class Drawn:
    """An agent whose launches are drawn, as long as it is told to go on."""

    def __init__(self, launches: Iterator[dict[str, Any]]):
        self.launches, self.more = launches, True

    def send(self, answer: dict[str, Any]) -> None:
        self.more = answer["more"]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while self.more:
            yield next(self.launches)


# An interval of 95 % holds the truth 35 times of 40 or fewer one time in twenty.
@pytest.mark.parametrize(
    ("truth", "runs", "least"),
    [(1.0, 40, 0.9), *(pytest.param(truth, 100, 0.93, marks=pytest.mark.slow) for truth in (1.0, 1.05))],
)
def test_stopping_early_leaves_the_interval_true(undecided, truth, runs, least):
    """The whole rule, looks and all, on launches that differ by 0.7 % in a machine with fits of 5 %."""
    random = np.random.default_rng(int(100 * truth))

    def drawn() -> Iterator[dict[str, Any]]:
        while True:
            loaded = truth * np.exp(random.normal(scale=0.007))
            times = {"light": np.ones(6), "heavy1": loaded * np.exp(0.02 * random.standard_t(3, 6))}
            yield sent({name: [TimedBlock([round(1e6 * one)] * 9) for one in each] for name, each in times.items()})

    held, lengths = [], set()
    for seed in range(runs):
        plan = replace(undecided, seed=seed)
        launches = list(runner.run_launches(plan, Drawn(drawn()), "here"))
        low, high = runner.ratio(plan, launches, "heavy1")[1]
        held.append(low <= truth <= high)
        lengths.add(len(launches))
    assert np.mean(held) >= least
    assert len(lengths) > 1, "it stops at several looks"
