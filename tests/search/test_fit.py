"""The driver of a search, with a worker that computes formulas in the place of trainings."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgekd.cli.fit import fit as command
from edgekd.cli.fit import missed_bound, on_validation, verdict
from edgekd.cli.sweep import sweep as sweep_command
from edgekd.errors import EdgekdError, StorageError
from edgekd.recipe import Quantize, load_recipe
from edgekd.records.candidate_figures import Figures
from edgekd.report.fit_page import facts, fit_headline
from edgekd.report.fit_record import read_fit
from edgekd.report.schema import Check
from edgekd.report.verdict import line
from edgekd.search import fit as driver
from edgekd.search import measured_times, time_spent
from edgekd.search.arm_state import ArmSpace, ArmState, TrialRecord
from edgekd.search.fit import fit
from edgekd.search.forecast import JOB, Forecast
from edgekd.search.goal import Goal
from edgekd.search.jobs import Jobs, run_timed
from edgekd.search.launch import KILLED
from edgekd.search.opening import open_space
from edgekd.search.points import _without_training
from edgekd.search.space import Space
from edgekd.search.study import Finish, Price, TrainCandidate
from edgekd.search.study_log import RUNNING, START, STEPS, StudyLog
from tests.search.formulas import RECIPE, FormulaWorker
from tests.search.runner import FunctionRunner

ROOT = Path(__file__).parents[2]
BEFORE = """\
name: small
data: {source: digits}
teacher: {model: resnet20, train: {epochs: 1}}
stages:
  - distill: {epochs: {search: [1, 8]}}
  - prune: {macs: {search: [0.1, 0.9]}, check_latency: false}
  - quantize
budget: {accuracy_drop: 1}
"""
TIMES = ("seconds", "spent")


def decisions(folder: Path) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    decided = [entry for entry in events if entry["event"] not in (START, RUNNING)]
    return [{key: value for key, value in entry.items() if key not in TIMES} for entry in decided]


def test_killed_anywhere_it_goes_on_with_the_same_decisions(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    space, whole = open_recipe(), tmp_path / "whole"
    result = fit(space, whole)
    assert result.met and result.summary["winner"]["arm"] == "resnet8"
    lines, decided = (whole / "journal.jsonl").read_bytes().splitlines(keepends=True), decisions(whole)
    trainings = FormulaWorker.jobs.count("try")
    for number in range(1, len(lines), 17):
        again = tmp_path / f"again-{number}"
        shutil.copytree(whole / "trials", again / "trials")
        # The next line was being written.
        (again / "journal.jsonl").write_bytes(b"".join(lines[:number]) + lines[number][:7])
        FormulaWorker.jobs.clear()
        assert fit(space, again).summary["winner"] == result.summary["winner"]
        assert decisions(again) == decided
        assert FormulaWorker.jobs.count("try") == trainings - sum(b'"figures"' in line for line in lines[:number])
    # A finished one trains nothing.
    FormulaWorker.jobs.clear()
    fit(space, whole)
    assert set(FormulaWorker.jobs) <= {"contents", "run"}
    assert decisions(whole) == decided


def test_the_time_of_a_job_that_was_killed_counts(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second training takes half a second, and then the machine dies."""
    monkeypatch.setattr(time_spent, "RECORDED_EVERY_S", 0.05)
    folder, began = tmp_path / "fit", time.monotonic()

    def run(job: str, **fields: Any) -> dict[str, Any]:
        if Path(fields["recipe"]).parent.name == "trials" and Path(fields["recipe"]).stem == "002":
            time.sleep(0.5)
            raise KeyboardInterrupt
        return FormulaWorker(tmp_path).run(job, **fields)

    with pytest.raises(KeyboardInterrupt):
        fit(open_recipe(), folder, runner=FunctionRunner(run))
    took, log = time.monotonic() - began, StudyLog(folder / "journal.jsonl")
    started = log.last(START)
    assert started and (started["of"], started["number"]) == ("trials", 2)
    assert started["spent"] + 0.3 < log.seconds <= took


@pytest.mark.parametrize("placement", ["measured", "int8"])
def test_costs_are_those_of_the_file_that_is_deployed_also_where_a_search_is_older(
    open_recipe: Callable[..., Space], tmp_path: Path, placement: str
) -> None:
    open_recipe()
    path, folder, timed = tmp_path / "recipe.yaml", tmp_path / "fit", []
    text = RECIPE.replace("objective: latency", f"  - quantize: {{placement: {placement}}}\nobjective: size")
    path.write_text(text)
    space = open_space(path, ["budget.accuracy_drop=1.0"])

    def run(job: str, **fields: Any) -> dict[str, Any]:
        if job == "try" and Path(fields["recipe"]).parent.name == "prices":
            timed.append(fields["timed"])
        return FormulaWorker(tmp_path).run(job, **fields)

    fit(space, folder, runner=FunctionRunner(run))
    # Which file is placed is decided by times, also where the size is what is made best.
    assert timed and set(timed) == {placement == "measured"}
    journal, count = folder / "journal.jsonl", len(timed)
    assert fit(space, folder, runner=FunctionRunner(run)).met and len(timed) == count
    journal.write_text(journal.read_text().replace('"deployed": true, ', ""))
    assert fit(space, folder, runner=FunctionRunner(run)).met
    assert (len(timed) > count) == (placement == "measured")


def test_several_at_a_time_find_what_one_at_a_time_finds(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three kinds of students are tried together, never two candidates of one kind."""
    space, under_way, most = open_recipe(), [], []

    def run(job: str, **fields: Any) -> dict[str, Any]:
        recipe = load_recipe(Path(fields["recipe"]))
        under_way.append(recipe.student and recipe.student.model)
        assert job != "try" or len(under_way) == len(set(under_way))
        most.append(len(under_way))
        time.sleep(0.01)
        found = FormulaWorker(tmp_path).run(job, **fields)
        under_way.remove(recipe.student and recipe.student.model)
        return found

    together = fit(space, tmp_path / "together", runner=FunctionRunner(run, slots=3)).summary
    assert max(most) > 1
    # As one at a time does.
    assert together["winner"]["arm"] == "resnet8"
    numbers = [entry["number"] for entry in StudyLog(tmp_path / "together/journal.jsonl").of("trial")]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    # Going on, it finds the same winner in what is recorded.
    assert fit(space, tmp_path / "together").summary["winner"] == together["winner"]


def test_a_candidate_that_dies_is_recorded_and_the_rest_goes_on(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FormulaWorker, "dies_at", 2)
    result = fit(open_recipe(), tmp_path / "fit")
    assert result.met
    assert result.summary["failed"] == 1
    failed = next(entry for entry in decisions(tmp_path / "fit") if entry.get("number") == 2)
    assert "memory runs out" in failed["error"]
    assert "memory runs out" in result.summary["left"][failed["arm"]]
    tried = [entry for entry in decisions(tmp_path / "fit") if entry["event"] in ("price", "trial")]
    assert FormulaWorker.jobs.count("try") == len(tried) + 1


def test_a_process_that_is_killed_once_is_not_its_candidate_s_failure(
    open_recipe: Callable[..., Space], tmp_path: Path
) -> None:
    kinds = {"001": KILLED, "002": "DisturbedError"}

    def run(job: str, **fields: Any) -> dict[str, Any]:
        path = Path(fields["recipe"])
        kind = kinds.pop(path.stem, None) if path.parent.name == "trials" and job == "try" else None
        return {"error": "ended by SIGKILL", "kind": kind} if kind else FormulaWorker(tmp_path).run(job, **fields)

    result = fit(open_recipe(), tmp_path / "fit", runner=FunctionRunner(run))
    assert result.met and result.summary["failed"] == 0 and not kinds


@pytest.mark.parametrize(("kind", "tries"), [("DisturbedError", 2), ("MeasurementError", 1), ("died", 1)])
def test_what_another_try_cannot_mend_is_tried_once(kind: str, tries: int) -> None:
    jobs = []

    def run(job: str, **_: Any) -> dict[str, Any]:
        jobs.append(job)
        return {"error": "model.onnx does not load in ONNX Runtime", "kind": kind}

    found = run_timed(FunctionRunner(run), "try")
    assert found["kind"] == kind and len(jobs) == tries


def test_a_job_that_its_search_ends_is_not_tried_again() -> None:
    """Stopping kills its process; the next try would be a whole training that nobody waits for."""
    tried, begun, stopped = [], Event(), Event()

    def run(job: str, **_: Any) -> dict[str, Any]:
        tried.append(job)
        begun.set()
        assert stopped.wait(10)
        return {"error": "ended by SIGKILL", "kind": KILLED}

    class Runner(FunctionRunner):
        def stop(self) -> None:
            stopped.set()

    with Jobs[str](Runner(run)) as jobs:
        jobs.start("a", "try")
        assert begun.wait(10)
    assert tried == ["try"]


def test_out_of_time_goes_on_with_more(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    space, folder = open_recipe(), tmp_path / "fit"
    # By the forecast a cost takes 5 s, and the winner's run 12 s.
    short = fit(space, folder, hours=0.003)
    assert short.is_untried and short.summary["candidates"] == 0
    assert short.finish.reason.startswith("nothing was trained: the first candidate needs about ")
    assert "min, 0.18 were given; start again with --hours 0.0" in short.finish.reason
    assert fit_headline(read_fit(folder)).startswith("Nothing was trained")
    result = fit(space, folder)
    assert result.met and not result.is_untried


def test_time_in_which_no_candidate_can_be_trained_is_refused_before_any_training(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher takes 1 s by the forecast, and the shortest training 1 s."""
    space, folder = open_recipe(), tmp_path / "fit"
    with pytest.raises(EdgekdError, match=r"nothing was trained: .* needs .* min, 0\.033 were given; start again"):
        fit(space, folder, hours=2 / 3600)
    assert FormulaWorker.jobs == ["contents", "step"] and not StudyLog(folder / "journal.jsonl").of("forecast")
    # The machine may be less busy: the next start measures anew.
    assert fit(space, folder, hours=1).met
    monkeypatch.setattr("edgekd.cli.interrupt.leave_on_signal", lambda *_: None)
    with pytest.raises(EdgekdError, match="nothing was trained"):
        command(tmp_path / "recipe.yaml", tmp_path / "other", hours=0.003, set_=["budget.accuracy_drop=1.0"])


def test_what_is_started_together_each_fits_in_the_time_that_is_left(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two can be done at a time, and there is time for the first, a cost, but not for the other, a long training."""
    space, folder, tried = open_recipe(), tmp_path / "fit", []
    steps = [Price("resnet8", 0.5), TrainCandidate("small_cnn", 0.5, 1)]

    def run(job: str, **fields: Any) -> dict[str, Any]:
        tried.append(Path(fields["recipe"]).parent.name)
        # A price is in the log before: the first one is alone.
        return FormulaWorker(tmp_path).run(job, **fields)

    log = StudyLog(tmp_path / "journal.jsonl")
    log.append("price", arm="resnet8", share=0.9, error="no", seconds=1.0)
    search = driver._Search(space, folder, log, FunctionRunner(run, slots=2), 0.1, "")
    search.forecast = Forecast(0.0, {"small_cnn": (1.0, 3600.0)}, 1.0)
    studies = iter([steps, steps[1:]])
    study = {"left": {}, "next": lambda: None, "is_hopeless": False, "too_much": None}
    monkeypatch.setattr(search, "study", lambda: SimpleNamespace(**study, steps=lambda: next(studies)))
    assert search._search()[1] == driver.OUT_OF_TIME
    assert tried == ["prices"]


def test_what_fails_by_its_device_or_its_disk_is_tried_again(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    space, folder = open_recipe(), tmp_path / "fit"
    failing = {
        "": "orin does not respond",
        "prices": "orin was cut",
        "trials": "the disk is full",
        "fit": "orin is off",
    }

    def run(job: str, **fields: Any) -> dict[str, Any]:
        place = "" if job in ("contents", "step") else Path(fields["recipe"]).parent.name
        if place in failing:
            return {"error": failing.pop(place), "kind": "StorageError" if place == "trials" else "UnavailableError"}
        return FormulaWorker(tmp_path).run(job, **fields)

    messages = ["nothing was trained: orin does not", "orin was cut; .* the same command", "disk is full; .* the same"]
    for message in (*messages, "the winner's run failed: orin is off; the same command tries it again"):
        with pytest.raises(EdgekdError, match=message):
            fit(space, folder, runner=FunctionRunner(run))
        assert not [entry for entry in decisions(folder) if "error" in entry]
    result = fit(space, folder, runner=FunctionRunner(run))
    assert result.met and result.summary["failed"] == 0 and result.summary["winner"]["arm"] == "resnet8"


def test_what_fails_beside_another_job_ends_that_one_and_neither_is_recorded(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, folder, met, stopped = open_recipe(), tmp_path / "fit", Barrier(2, timeout=20), Event()
    trials: list[str] = []

    def run(job: str, **fields: Any) -> dict[str, Any]:
        if job != "try" or Path(fields["recipe"]).parent.name != "trials" or stopped.is_set():
            return FormulaWorker(tmp_path).run(job, **fields)
        trials.append(fields["recipe"])
        if met.wait() == 0:
            return {"error": "the disk is full", "kind": "StorageError"}
        assert stopped.wait(20)
        return {"error": "ended by SIGTERM", "kind": KILLED}

    runner = FunctionRunner(run, slots=2)
    monkeypatch.setattr(runner, "stop", stopped.set)
    with pytest.raises(EdgekdError, match="the disk is full; .* the same command tries it again"):
        fit(space, folder, runner=runner)
    assert len(trials) == 2 and not [entry for entry in decisions(folder) if entry["event"] == "trial"]
    result = fit(space, folder, runner=runner)
    assert result.met and result.summary["failed"] == 0 and result.summary["winner"]["arm"] == "resnet8"


def test_a_search_begun_before_an_option_was_there_goes_on(tmp_path: Path) -> None:
    """The key is what the version before ``fuse_teacher`` gave."""
    path = tmp_path / "r.yaml"
    path.write_text(BEFORE)
    known = "775e10ad83f0f2b07e44aeb34804486580d26e87ea61bd43ad9f2ab43a615fd0"
    assert driver._keys(open_space(path, []))[1:] == (known, known)
    path.write_text(BEFORE.replace("- distill: {", "- distill: {fuse_teacher: true, "))
    assert known not in driver._keys(open_space(path, []))


def test_what_nothing_can_meet_is_said(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    result = fit(open_recipe("budget.accuracy_drop=-50"), tmp_path / "fit")
    assert result.finish.unreachable and "with -50 points allowed" in result.finish.unreachable
    costs = fit(open_recipe("budget.size_ratio=0.001", "budget.accuracy_drop=1"), tmp_path / "costs")
    assert costs.finish.unreachable and "the nearest student is predicted at 0.1" in costs.finish.unreachable


def test_costs_out_of_reach_are_said_at_once_and_end_it_before_half_of_the_time(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the forecast the nearest student takes 19 s to train: more than half of 36 s, and little of an hour."""
    space, said = open_recipe("budget.size_ratio=0.001", "budget.accuracy_drop=1"), []
    monkeypatch.setattr(driver.logger, "warning", lambda text: said.append((text, FormulaWorker.jobs.count("run"))))
    short = fit(space, tmp_path / "short", hours=0.01)
    why = "size_ratio: 0.001 is asked for, and the nearest student is predicted at 0.1"
    assert short.finish.unreachable == why and not short.is_untried
    assert (short.report, short.summary["candidates"]) == (None, 0)
    assert verdict(short) == f"Budget not met: {why}"
    long = fit(space, tmp_path / "long", hours=1)
    assert long.finish.unreachable == why and long.summary["candidates"] == 1
    # Before the nearest one is measured.
    assert said == [(f"the budget is out of reach: {why}", 0)] * 2


def test_the_least_energy_wins_where_it_is_made_best(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slowest of those that could win takes the least energy."""
    space, folder, asked = replace(open_recipe(), source={"objective": "energy"}), tmp_path / "fit", []
    search = driver._Search(space, folder, StudyLog(tmp_path / "journal.jsonl"), FormulaWorker(folder), None, "")
    finish = Finish([TrialRecord(number, "resnet8", 0.5, 1) for number in (1, 2, 3)], 0.9, "over")
    names = [str(folder / f"trials/{number:03d}") for number in (1, 2, 3)]
    energies: list[float | None] = [0.5, None, 0.2]

    def run(job: str, **fields: Any) -> dict[str, Any]:
        asked.append(job)
        times = zip(names, (0.1, 0.2, 0.3), energies, strict=True)
        return {"result": {name: {"ratio": each, "valid": True, "energy": energy} for name, each, energy in times}}

    monkeypatch.setattr(search.runner, "run", run)
    said: list[str] = []
    monkeypatch.setattr(measured_times.logger, "warning", said.append)
    assert search.goal.is_cost and search.goal.is_timed
    assert [search._fastest(finish).number for _ in range(2)] == [3, 3]
    # What was measured is not measured again, and what has none does not win.
    assert asked == ["time"] and said == ["of trials 2 no energy was measured, and they do not win by it"]
    [entry] = search.log.of("timed")
    assert (entry["ratios"], entry["energies"]) == ([0.1, 0.2, 0.3], energies)


def test_a_cost_that_is_made_least_without_a_bound_on_any_metric_is_warned_of(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(driver.logger, "warning", said.append)
    fit(open_recipe("budget.size_ratio=0.9"), tmp_path / "fit")
    assert said == [
        "the budget bounds no metric, so the cheapest student wins, whatever it predicts: give budget {drop: "
        "{accuracy: 1.0}}, by how much worse than the teacher's its accuracy may be"
    ]
    said.clear()
    fit(open_recipe("budget.size_ratio=0.9", "objective=accuracy"), tmp_path / "best")
    fit(open_recipe(), tmp_path / "bounded")
    assert not said


def test_another_search_in_the_folder_is_refused(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    fit(open_recipe(), tmp_path / "fit")
    with pytest.raises(StorageError, match="a search of another recipe"):
        fit(open_recipe("budget.accuracy_drop=2"), tmp_path / "fit")
    for other in ("objective=size", "prune.macs={search: [0.2, 0.9]}"):
        with pytest.raises(StorageError, match="a search of another recipe"):
            fit(open_recipe("budget.accuracy_drop=1.0", other), tmp_path / "fit")
    with pytest.raises(StorageError, match="holds no search"):
        fit(open_recipe(), tmp_path)


def test_a_recipe_that_says_the_same_goes_on(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    """A default is written out, data are read by other processes, and the search has another name and other words."""
    known = fit(open_recipe(), tmp_path / "fit").summary["winner"]
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "# Words.\n"
        + RECIPE.replace("name: small", "name: other")
        .replace("{source: digits}", "{source: digits, batch_size: 128, workers: 0, in_memory: true}")
        .replace("objective:", "targets: [{device: cpu}]\nobjective:")
    )
    space = open_space(path, ["budget.drop={accuracy: 1.0}"])
    with pytest.raises(StorageError, match="a search of another recipe"):
        # The same bound in its long form is another word for it, and may be another metric's.
        fit(space, tmp_path / "fit")
    assert fit(open_space(path, ["budget.accuracy_drop=1.0"]), tmp_path / "fit").summary["winner"] == known
    for other in ("data.batch_size=64", "seed=1", "distill.hard_weight=0.2", "targets=[{device: cpu, threads: 2}]"):
        with pytest.raises(StorageError, match="a search of another recipe"):
            fit(open_space(path, ["budget.accuracy_drop=1.0", other]), tmp_path / "fit")


def test_other_contents_at_the_same_paths_are_refused(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    space, folder, contents = open_recipe(), tmp_path / "fit", {"the data": "a", "the teacher": "b"}

    def run(job: str, **fields: Any) -> dict[str, Any]:
        return {"result": contents} if job == "contents" else FormulaWorker(tmp_path).run(job, **fields)

    assert fit(space, folder, runner=FunctionRunner(run)).met
    tried = len(StudyLog(folder / "journal.jsonl").of("trial"))
    contents = {"the data": "a", "the teacher": "c"}
    with pytest.raises(StorageError, match=r"^the teacher changed since .*of a network: its checkpoint or its code"):
        fit(space, folder, runner=FunctionRunner(run))
    contents = {"the data": "d", "the teacher": "c"}
    with pytest.raises(StorageError, match=r"^the data and the teacher .* put that back, or begin another search with"):
        fit(space, folder, runner=FunctionRunner(run))
    # One that is older than the record goes on, and has it from then on.
    journal = folder / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"event": "contents"' not in line))
    assert fit(space, folder, runner=FunctionRunner(run)).met
    log = StudyLog(journal)
    assert log.of("contents")[0]["hashes"] == contents and len(log.of("trial")) == tried


def test_which_of_several_targets_is_judged_is_said_before_any_training_and_in_the_report(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is not measured, so the budget is judged on the second, as a run does it."""
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    boards = "targets=[{device: pi, architecture: arm}, {device: cpu, threads: 2}, {device: cpu}]"
    said: list[tuple[str, int]] = []
    monkeypatch.setattr(driver.logger, "warning", lambda text: said.append((text, len(FormulaWorker.jobs))))
    fit(open_recipe("budget.accuracy_drop=1.0", boards), tmp_path / "fit")
    others = "pi, onnxruntime, 1 thread; cpu, onnxruntime, 1 thread"
    words = f"the budget is judged on cpu, onnxruntime, 2 threads alone; no bound is checked on {others}"
    assert said[0] == (words, 0)
    shown = dict(facts(read_fit(tmp_path / "fit")))
    assert shown["Judged on"] == f"cpu, onnxruntime, 2 threads alone, not on {others}"
    said.clear()
    fit(open_recipe(), tmp_path / "one")
    assert not said and "Judged on" not in dict(facts(read_fit(tmp_path / "one")))


def test_a_result_is_gone_while_the_next_winner_takes_its_run_folder(
    open_recipe: Callable[..., Space], tmp_path: Path
) -> None:
    space, folder = open_recipe(), tmp_path / "fit"
    assert fit(space, folder).met and fit_headline(read_fit(folder)) == "Budget met"

    def run(job: str, **fields: Any) -> dict[str, Any]:
        return {"error": "orin is off"} if job == "run" else FormulaWorker(tmp_path).run(job, **fields)

    with pytest.raises(EdgekdError, match="the winner's run failed: orin is off"):
        fit(space, folder, runner=FunctionRunner(run))
    assert fit_headline(read_fit(folder)) == "The search has not ended; the same command goes on with it"


def test_the_winners_recipe_is_whole(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    space = open_recipe()
    fit(space, tmp_path / "fit")
    recipe = load_recipe(tmp_path / "fit/winner.yaml")
    number = json.loads((tmp_path / "fit/fit.json").read_text())["winner"]["trial"]
    assert recipe == load_recipe(tmp_path / f"fit/trials/{number:03d}.yaml")


def within(share: float, slower: float) -> SimpleNamespace:
    """The report of a run whose latency is bounded by 0.3 of the teacher's."""
    check = SimpleNamespace(name="latency_ratio", value=slower * share, met=slower * share <= 0.3)
    return SimpleNamespace(budget=SimpleNamespace(met=check.met, checks=(check,)))


TIGHT = ("budget.accuracy_drop=3.0", "budget.latency_ratio=0.3", "objective=accuracy")


def test_a_bound_on_time_is_kept_by_measured_times_before_any_test_sample_is_spent(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file takes 6 % longer than predicted, and the largest share within the bound by predictions is 0.29."""
    monkeypatch.setattr(FormulaWorker, "slower", 1.06)
    reported = []

    def report(folder: Path) -> SimpleNamespace:
        reported.append(load_recipe(folder.with_suffix(".yaml")).stages[1].macs)
        return within(reported[-1], 1.06)

    monkeypatch.setattr(driver, "load_report", report)
    result = fit(open_recipe(*TIGHT), tmp_path / "fit")
    assert result.met and result.summary["tested"] == len(reported) == FormulaWorker.jobs.count("run") == 1
    # The next smaller share that leaves room for an error of 3 %, and not one much smaller.
    assert 0.95 < reported[0] / (0.97 * 0.3 / 1.06) <= 1
    [first, second] = StudyLog(tmp_path / "fit/journal.jsonl").of("timed")
    assert first["ratios"][0] > 0.3 >= second["ratios"][0]
    assert [first["factors"][0], second["factors"][0]] == [pytest.approx([1.06, 1.06])] * 2


def test_a_search_goes_on_from_a_bound_on_time_that_the_winner_s_run_missed(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times of the finalists are as predicted, and the run, which measures longer, finds 7 % more."""
    folder, space = tmp_path / "fit", open_recipe(*TIGHT)

    def report(place: Path) -> SimpleNamespace:
        return within(load_recipe(place.with_suffix(".yaml")).stages[1].macs, 1.07)

    monkeypatch.setattr(driver, "load_report", report)
    said: list[str] = []
    monkeypatch.setattr(measured_times.logger, "warning", said.append)
    first = fit(space, folder)
    assert said == ["the winner's time exceeds its bound; the same command goes on, with this time known"]
    second = fit(space, folder)
    assert len(said) == 1
    assert not first.met and second.met and second.summary["tested"] == 2
    assert second.summary["winner"]["share"] < first.summary["winner"]["share"]
    # Nothing is left to do.
    events = decisions(folder)
    assert fit(space, folder).met and decisions(folder) == events


def test_times_that_are_not_valid_are_neither_used_nor_recorded(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, folder = open_recipe(), tmp_path / "fit"
    search = driver._Search(space, folder, StudyLog(tmp_path / "journal.jsonl"), FormulaWorker(folder), None, "")
    best = [TrialRecord(number, "resnet8", 0.5, 1) for number in (1, 2, 3)]
    finish = Finish(best, 0.9, "over")
    found: dict[str, Any] = {"error": "the machine is busy"}
    monkeypatch.setattr(search.runner, "run", lambda job, **fields: found)
    said: list[str] = []
    monkeypatch.setattr(measured_times.logger, "warning", said.append)
    assert search._fastest(finish).number == 1
    names = [str(folder / f"trials/{number:03d}") for number in (1, 2, 3)]
    times = zip(names, (0.3, 0.2, 0.1), (True, True, False), strict=True)
    found = {"result": {name: {"ratio": ratio, "valid": valid} for name, ratio, valid in times}}
    assert search._fastest(finish).number == 2
    assert "the machine is busy" in said[0] and "of trials 3 there is no valid time" in said[1]
    assert not search.log.of("timed")
    found["result"][names[2]]["valid"] = True
    assert search._fastest(finish).number == 3
    assert search.log.of("timed")[0]["ratios"] == [0.3, 0.2, 0.1]


def test_failures_do_not_shorten_the_forecast_and_winners_are_counted(
    open_recipe: Callable[..., Space], tmp_path: Path
) -> None:
    space, folder = open_recipe(), tmp_path / "fit"
    log = StudyLog(tmp_path / "journal.jsonl")
    log.append("trial", arm="resnet8", level=1, figures={}, seconds=100.0)
    log.append("trial", arm="resnet8", level=1, error="no", seconds=2.0)
    forecast = Forecast(0.0, {"resnet8": (1.0, 2.0)}, 1.0)
    assert forecast.training(TrainCandidate("resnet8", 0.5, 1), log) == 100.0
    # Of an arm of which nothing is known, jobs take as long as the first one.
    other = Forecast(0.0, {"resnet8": (1.0, 2.0)}, 1.0, first_job=2 * JOB)
    assert other.training(TrainCandidate("resnet8", 0.5, 0), log) == 1.0 + 2 * JOB
    assert other.price(log) == 2 * JOB
    assert fit(space, folder).summary["tested"] == 1
    journal = StudyLog(folder / "journal.jsonl")
    assert "seconds" in journal.of("end")[0]
    journal.append("end", how="out of time", met=False, trial=1000)
    assert fit(space, folder).summary["tested"] == 2


@pytest.mark.parametrize(("device", "rungs"), [("{device: orin, runtime: tensorrt}", "half"), ("{device: cpu}", "ptq")])
def test_costs_are_asked_for_in_the_precision_that_the_ladder_begins_with(
    tmp_path: Path, device: str, rungs: str
) -> None:
    """TensorRT computes in float16, by which nothing is lost: the ladder ends there, with a file twice as large."""
    path = tmp_path / "r.yaml"
    path.write_text(f"{BEFORE}targets: [{device}]\n")
    recipe = load_recipe(path, ["distill.epochs=1", "prune.macs=0.5"])
    [*_, last] = _without_training(recipe).stages
    assert isinstance(last, Quantize) and last.rungs == (rungs,)


def test_a_smaller_share_costs_no_more() -> None:
    """Times that fall with a larger share were not measured any finer."""
    prices: dict[float, Figures | None] = {
        share: Figures(0.9, 0.0, 0.01, 100, round(1e6 * share), 10**6, 500, 1000, ms, 1.0)
        for share, ms in {0.2: 0.31, 0.4: 0.28, 0.7: 0.6, 1.0: 1.0}.items()
    }
    arm = ArmState(ArmSpace("one", 0.2, 1.0), Goal("latency", 0.01), prices)
    between = (0.28 * 0.6) ** 0.5
    for share, cost in ((0.2, 0.28), (0.3, 0.28), (0.4, 0.28), ((0.4 * 0.7) ** 0.5, between), (1.0, 1.0)):
        assert arm.cost(share) == pytest.approx(cost)


def test_the_folder_of_a_run_is_left_alone(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    """It has a lock of the same name as a search's, and a page that a search would write over."""
    for name, text in {".lock": "", "edgekd-run.json": "{}", "report.html": "the run's"}.items():
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).write_text(text)
    with pytest.raises(StorageError, match="run is not empty and holds no search: choose another folder with --out"):
        fit(open_recipe(), tmp_path / "run")
    assert {each.name for each in (tmp_path / "run").iterdir()} == {".lock", "edgekd-run.json", "report.html"}
    # What a search leaves that could not reach its cluster is no other's.
    (tmp_path / "begun").mkdir()
    for name in (".lock", "ray.log"):
        (tmp_path / "begun" / name).touch()
    assert fit(open_recipe(), tmp_path / "begun").met


def test_an_address_that_is_empty_is_refused(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a variable that is not set: to train here instead would be no answer."""
    open_recipe()
    monkeypatch.setattr("edgekd.cli.interrupt.leave_on_signal", lambda *_: None)
    for run, options in ((command, {}), (sweep_command, {"grid": ["prune.macs=0.3,0.5", "distill.epochs=1,2"]})):
        with pytest.raises(EdgekdError, match="--address : expected HOST:PORT of a Ray cluster's head"):
            run(tmp_path / "recipe.yaml", out=tmp_path / "out", address="", **options)  # type: ignore[operator]
    assert not (tmp_path / "out").exists() and not FormulaWorker.jobs


def test_a_length_that_the_recipe_leaves_to_the_data_is_that_of_a_run(
    open_recipe: Callable[..., Space], tmp_path: Path
) -> None:
    """A recovery takes 300 steps at least: 30 epochs of 10 steps, where the recipe gives none."""

    def run(job: str, **fields: Any) -> dict[str, Any]:
        found = FormulaWorker(tmp_path).run(job, **fields)
        return {"result": {**found["result"], STEPS: 10}} if job == "contents" else found

    def epochs(folder: Path) -> set[int]:
        recipes = [load_recipe(path) for path in [folder / "winner.yaml", *folder.glob("trials/*.yaml")]]
        return {recipe.stages[1].epochs for recipe in recipes}  # type: ignore[attr-defined]

    fit(open_recipe(), tmp_path / "new", runner=FunctionRunner(run))
    assert epochs(tmp_path / "new") == {30}
    # A search that began without them goes on as it was.
    fit(open_recipe(), tmp_path / "older")
    fit(open_recipe(), tmp_path / "older", runner=FunctionRunner(run))
    assert epochs(tmp_path / "older") == {5}


def test_values_that_do_not_go_together_are_a_candidate_s_failure(
    open_recipe: Callable[..., Space], tmp_path: Path
) -> None:
    """Each is valid beside the usual value of the other, and the first of them is chosen."""
    open_recipe()
    prune = "{macs: {search: [0.1, 0.9]}, epochs: 1, rewind: {choice: [null, 2]}, step_epochs: {choice: [1, 4]}}"
    stages = f"  - distill: {{epochs: 2}}\n  - prune: {prune}\nobjective: latency\n"
    text = RECIPE.partition("  - distill")[0].replace("{choice: [teacher, resnet8, small_cnn]}", "{model: resnet8}")
    path = tmp_path / "recipe.yaml"
    path.write_text(text + stages)

    def run(job: str, **fields: Any) -> dict[str, Any]:
        found = FormulaWorker(tmp_path).run(job, **fields)
        rewinds = job == "try" and load_recipe(Path(fields["recipe"])).stages[1].rewind  # type: ignore[attr-defined]
        return {"result": {**found["result"], "drop": found["result"]["drop"] - 0.005}} if rewinds else found

    result = fit(open_space(path, ["budget.accuracy_drop=2.0"]), tmp_path / "fit", runner=FunctionRunner(run))
    assert result.met and result.summary["failed"] == 1
    [failed] = [each for each in StudyLog(tmp_path / "fit/journal.jsonl").of("trial") if "error" in each]
    assert failed["choices"] == {"stages.prune.rewind": 2, "stages.prune.step_epochs": 4}
    assert "a training of 2 epochs has no last 4" in failed["error"]
    assert load_recipe(tmp_path / "fit/winner.yaml").stages[1].rewind == 2  # type: ignore[attr-defined]


def test_why_no_student_of_a_kind_can_be_made_is_said_and_others_go_on(
    open_recipe: Callable[..., Space], tmp_path: Path
) -> None:
    why = "Frobnicate has no form in ONNX"

    def run(job: str, **fields: Any) -> dict[str, Any]:
        if job == "try" and load_recipe(Path(fields["recipe"])).student is None:
            return {"error": why, "kind": "ExportError"}
        return FormulaWorker(tmp_path).run(job, **fields)

    result = fit(open_recipe(), tmp_path / "fit", runner=FunctionRunner(run))
    assert result.met and result.summary["winner"]["arm"] == "resnet8"
    assert result.summary["left"]["teacher"] == f"no student of it can be made: {why}"


def test_times_of_another_machine_are_measured_again_and_nothing_is_trained_again(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the second one the teacher alone takes longer, twice as long."""
    space, folder, said = open_recipe(), tmp_path / "fit", []
    monkeypatch.setattr(driver, "machine_of", lambda target: "a Xeon")
    first = fit(space, folder).summary["winner"]
    monkeypatch.setattr(driver.logger, "warning", said.append)
    FormulaWorker.jobs.clear()
    assert fit(space, folder).summary["winner"] == first
    assert set(FormulaWorker.jobs) == {"contents", "run"} and not said
    monkeypatch.setattr(driver, "machine_of", lambda target: "a Cortex")
    monkeypatch.setattr(FormulaWorker, "slower", 0.5)
    tried: list[str] = []

    def run(job: str, **fields: Any) -> dict[str, Any]:
        found = FormulaWorker(tmp_path).run(job, **fields)
        if job == "try":
            tried.append(Path(fields["recipe"]).parent.name)
            # The teacher's time, too, is found anew.
            assert fields["teacher_ms"] in (None, 2.0)
            return {"result": {**found["result"], "teacher_ms": 2.0}}
        return found

    FormulaWorker.jobs.clear()
    fit(space, folder, runner=FunctionRunner(run))
    assert set(tried) == {"prices"} and FormulaWorker.jobs.count("step") == FormulaWorker.jobs.count("time") == 1
    assert said == [f"times in {folder} are of another machine: they are measured again, on a Cortex"]
    read = read_fit(folder)
    assert len(read.priced) == len(tried)
    assert {each.figures and each.figures.teacher_ms for each in read.priced} == {2.0}


def test_a_search_that_is_moved_with_its_recipe_goes_on(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    open_recipe()
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (first / "teacher.pt").touch()
    (first / "r.yaml").write_text(RECIPE.replace("train: {epochs: 1}", "checkpoint: teacher.pt"))
    budget = ["budget.accuracy_drop=1.0"]
    known = fit(open_space(first / "r.yaml", budget), first / "fit").summary["winner"]
    shutil.copytree(first, second)
    assert fit(open_space(second / "r.yaml", budget), second / "fit").summary["winner"] == known
    # One that is older goes on where it began.
    new, _, older = driver._keys(open_space(first / "r.yaml", budget))
    assert new != older
    for folder in (first, second):
        journal = folder / "fit/journal.jsonl"
        journal.write_text(journal.read_text().replace(new, older))
    assert fit(open_space(first / "r.yaml", budget), first / "fit").summary["winner"] == known
    with pytest.raises(StorageError, match="a search of another recipe"):
        fit(open_space(second / "r.yaml", budget), second / "fit")


def test_where_quality_is_made_best_the_winner_s_drop_is_freed_of_luck(
    open_recipe: Callable[..., Space], tmp_path: Path
) -> None:
    result = fit(open_recipe("budget.size_ratio=0.95", "objective=accuracy"), tmp_path / "fit")
    log, found = StudyLog(tmp_path / "fit/journal.jsonl"), result.summary["validation"]
    last = {entry["arm"]: entry["figures"]["drop"] for entry in log.of("trial") if entry["level"] == 2}
    assert len(last) == 3 and found["drop"] == min(last.values()) and found["corrected_by"] == "candidates"
    # Three quarters of the variance of these three are that of their errors.
    own = 0.6 * 0.001**2
    true = np.var(list(last.values()), ddof=1) - own
    assert found["corrected_drop"] == pytest.approx(
        found["drop"] + own / (true + own) * (np.mean(list(last.values())) - found["drop"])
    )
    assert "by all candidates that it was chosen from" in on_validation(found)


def test_the_winner_s_change_has_the_sign_and_the_unit_of_its_metric() -> None:
    error = {"metric": "mae", "drop": 3.2, "error": 0.512, "n": 35, "assurance": 0.93}
    assert on_validation(error) == (
        "35 validation samples: mean absolute error +3.20 (± 0.51) to the teacher, which keeps the budget with a "
        "probability of 93%"
    )
    further = {"rmse": {"drop": 4.0, "error": 0.6}, "r2": {"drop": 0.1, "error": 0.04}}
    assert on_validation({**error, "others": further}) == (
        "35 validation samples: mean absolute error +3.20 (± 0.51), root mean squared error +4.00 (± 0.6), coefficient "
        "of determination −0.100 (± 0.04) to the teacher, which keeps the budget with a probability of 93%"
    )
    share = {"metric": "box_map", "drop": 0.012, "error": 0.004, "n": 100, "corrected_drop": -0.01}
    assert on_validation({**share, "corrected_error": 0.003}) == (
        "100 validation samples: box mAP −1.2 points (± 0.4) to the teacher; +1.0 points (± 0.3) by the curve through "
        "all of its kind"
    )


def test_a_bound_on_what_was_not_measured_is_missed_for_its_reason() -> None:
    check = Check(name="latency_ms", bound=2.0, value=None, unit="ms", met=False, note="others took a core")
    assert missed_bound(line(check)) == "latency not measured, at most 2 ms (others took a core)"
    check = Check(name="mae_drop", bound=1500.0, value=31200.0, unit="", met=False)
    assert missed_bound(line(check)) == "mae drop 31200, at most 1500, 29700 too much"


def test_what_was_not_tried_in_the_time_is_not_called_out_of_reach(
    open_recipe: Callable[..., Space], tmp_path: Path
) -> None:
    """One kind of students is trained and misses the bound by far; the other is not trained yet."""
    space, log = open_recipe(), StudyLog(tmp_path / "journal.jsonl")
    figures = Figures(0.6, 0.3, 0.001, 400, 5 * 10**5, 10**6, 500, 1000, 0.5, 1.0).to_json()
    for arm in ("resnet8", "small_cnn"):
        for share in (0.1, 0.9):
            log.append("price", arm=arm, share=share, figures=figures, seconds=1.0)
    log.append("trial", number=1, arm="resnet8", share=0.9, level=2, choices={}, figures=figures, seconds=1.0)
    search = driver._Search(space, tmp_path / "fit", log, FormulaWorker(tmp_path), 0.001, "")
    search.forecast = Forecast(0.0, {"resnet8": (1.0,) * 3, "small_cnn": (1.0,) * 3}, 1.0)
    ended = search._end(search.study(), TrainCandidate("small_cnn", 0.5, 2))
    assert ended is not None and ended[1] == driver.OUT_OF_TIME
    assert [trial.number for trial in ended[0].best] == [1] and ended[0].unreachable is None
    assert ended[0].assurance is not None and ended[0].assurance < 0.01


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("prices", "teacher: no student of it can be made: no form in ONNX; resnet8: "),
        ("trials", "no candidate was trained to its end: no form in ONNX"),
    ],
)
def test_a_search_in_which_everything_fails_is_an_error_and_no_budget_that_is_missed(
    open_recipe: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, why: str
) -> None:
    space, folder = open_recipe(), tmp_path / "fit"

    def run(job: str, **fields: Any) -> dict[str, Any]:
        if job == "try" and Path(fields["recipe"]).parent.name == place:
            return {"error": "no form in ONNX", "kind": "ExportError"}
        return FormulaWorker(tmp_path).run(job, **fields)

    result = fit(space, folder, runner=FunctionRunner(run))
    assert result.made_nothing and not result.met and not result.is_untried
    assert result.finish.unreachable and result.finish.unreachable.startswith(why)
    shown = read_fit(folder)
    assert fit_headline(shown) == "No student could be made" and dict(facts(shown))["Why"].startswith(why)
    monkeypatch.setattr("edgekd.cli.interrupt.leave_on_signal", lambda *_: None)
    with pytest.raises(
        EdgekdError, match=f"^no student could be made: {why}.*; what failed is not .*report.html has more$"
    ):
        command(tmp_path / "recipe.yaml", folder, set_=["budget.accuracy_drop=1.0"])
    # Costs that are out of reach are a budget that is missed, whatever was trained by then.
    short = fit(open_recipe("budget.size_ratio=0.001", "budget.accuracy_drop=1"), tmp_path / "costs", hours=0.01)
    assert short.finish.unreachable and not short.made_nothing


def test_a_budget_that_is_met_is_not_called_out_of_reach(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    """By the validation samples nothing keeps it; the report, a test double's, has it kept on the test samples."""
    result = fit(open_recipe("budget.accuracy_drop=-50"), tmp_path / "fit")
    assert result.met and result.finish.unreachable and result.summary["unreachable"] is None
    assert verdict(result) == "Budget met" and "Out of reach" not in dict(facts(read_fit(tmp_path / "fit")))
