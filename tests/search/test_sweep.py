from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from edgekd.errors import EdgekdError, RecipeError, StorageError
from edgekd.records.candidate_figures import Figures
from edgekd.report.fit_page import write_fit_page
from edgekd.report.fit_record import read_fit
from edgekd.search import candidates, worker
from edgekd.search import sweep as sweeping
from edgekd.search.folder import JOURNAL
from edgekd.search.opening import open_space
from edgekd.search.space import Space
from edgekd.search.study_log import StudyLog
from edgekd.search.sweep import grid_overrides, grid_points, sweep
from edgekd.strict_json import JsonObject
from tests.recipe.conftest import SMALL
from tests.report.search import figures
from tests.search.runner import FunctionRunner

GRID = ["stages.prune.macs=0.5,0.7", "student.args.width=8,16"]


@pytest.fixture
def space(tmp_path: Path) -> Space:
    path = tmp_path / "r.yaml"
    path.write_text(SMALL)
    return open_space(path, grid_overrides(GRID), apart=False)


def trying(do: Callable[..., JsonObject], slots: int = 1) -> FunctionRunner:
    """Does trials by ``do``; data and networks stay what they are."""
    hashes = {"the data": "a", "the teacher": "b", "the student": "c", "the student of trial 3": "d"}
    return FunctionRunner(lambda job, **fields: {"result": hashes} if job == "contents" else do(job, **fields), slots)


def test_a_grid_has_every_combination(space: Space) -> None:
    assert not space.files
    assert [(p["stages.prune.macs"], p["student.args.width"]) for p in grid_points(space)] == [
        (0.5, 8), (0.7, 8), (0.5, 16), (0.7, 16),
    ]  # fmt: skip
    with pytest.raises(RecipeError, match="--grid prune.macs=0.5: expected KEY=VALUE,VALUE"):
        grid_overrides(["prune.macs=0.5"])
    with pytest.raises(RecipeError, match="a sweep takes values, not the range from 0.2 to 0.9"):
        grid_points(open_space(space.path, ["prune.macs={search: [0.2, 0.9]}"]))
    again = "--grid stages.prune.macs=0.7,0.9: prune.macs has values already; give all of them at once"
    with pytest.raises(RecipeError, match=again):
        grid_overrides(["prune.macs=0.3,0.5", "stages.prune.macs=0.7,0.9"])


def test_a_range_in_one_kind_of_student_is_refused_beside_a_choice_in_another(space: Space) -> None:
    """Both have a field of one name."""
    ways = "{choice: {range: [distill, prune: {macs: {search: [0.2, 0.9]}}], values: [distill, prune: {macs: %s}]}}"
    with pytest.raises(RecipeError, match="stages.prune.macs: a sweep takes values, not the range from 0.2 to 0.9"):
        grid_points(open_space(space.path, [f"stages={ways % '{choice: [0.3, 0.5]}'}"], apart=False))


def test_a_grid_of_more_points_than_there_is_memory_for_is_refused(space: Space) -> None:
    values = ",".join(map(str, range(1, 11)))
    keys = ("importance_batches", "steps", "step_epochs", "batchnorm_batches", "sensitivity", "sparse_epochs", "epochs")
    grid = grid_overrides([f"prune.{key}={values}" for key in keys])
    with pytest.raises(RecipeError, match=f"the grid has {10**7} points, at most 1000 are tried"):
        grid_points(open_space(space.path, grid, apart=False))


def test_its_jobs_are_those_of_the_worker(space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test double trains nothing; what reads the job is the worker's own."""
    made = Figures.from_json(figures(0.01, 0.5))
    monkeypatch.setattr(worker, "try_recipe", lambda recipe, *_, **__: made)
    runner = FunctionRunner(lambda job, **fields: worker.carry_out({"job": job, **fields}))
    found = sweep(space, tmp_path / "sweep", runner)
    assert found == 0
    trials = StudyLog(tmp_path / "sweep" / JOURNAL).of("trial")
    assert [entry["figures"] for entry in trials] == [made.to_json()] * 4


def test_a_sweep_goes_on_where_it_was_and_has_a_page(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test double trains nothing: the second point fails, and the machine dies at the third."""
    folder, seen = tmp_path / "sweep", []

    def do(name: str, **fields: object) -> JsonObject:
        seen.append(Path(str(fields["recipe"])).stem)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return {"error": "diverged"} if len(seen) == 2 else {"result": figures(0.01 * len(seen), 1 / len(seen))}

    runner = trying(do)
    messages: list[str] = []
    for module in (sweeping, candidates):
        monkeypatch.setattr(module.logger, "info", messages.append)
        monkeypatch.setattr(module.logger, "warning", messages.append)
    with pytest.raises(KeyboardInterrupt):
        sweep(space, folder, runner)
    first, result, _, failed, _ = messages
    assert first.startswith("trial 1 of 4: ") and "validation samples" in result
    assert failed == "trial 2 gave no network: diverged"
    assert sweep(space, folder, runner) == 1
    assert seen == ["001", "002", "003", "003", "004"]
    fit = read_fit(folder)
    assert [trial.number for trial in fit.front] == [4, 3, 1]
    assert "3 of them on the front" in write_fit_page(folder).read_text()
    other = open_space(space.path, grid_overrides(["prune.macs=0.5,0.6"]), apart=False)
    with pytest.raises(StorageError, match="another recipe or grid"):
        sweep(other, folder, runner)


def test_what_the_data_or_the_disk_refuse_is_no_point_s_failure(space: Space, tmp_path: Path) -> None:
    """A test double trains nothing: where the second point is tried first, there are no data."""
    folder, kinds = tmp_path / "sweep", ["", "DataError", "", "StorageError"]

    def do(name: str, **fields: object) -> JsonObject:
        kind = kinds.pop(0) if kinds else ""
        return {"error": "/data: no such folder", "kind": kind} if kind else {"result": figures(0.01, 0.5)}

    for known in (1, 2):
        with pytest.raises(EdgekdError, match="no such folder; .* has more; the same command tries it again"):
            sweep(space, folder, trying(do))
        assert len(StudyLog(folder / JOURNAL).of("trial")) == known
    assert sweep(space, folder, trying(do)) == 0


def test_other_contents_at_the_same_paths_are_refused(space: Space, tmp_path: Path) -> None:
    """A test double trains nothing. Macs alone give no other network to start from."""
    folder, contents, asked = tmp_path / "sweep", {"the data": "a", "the teacher": "b"}, []

    def run(job: str, **fields: Any) -> JsonObject:
        if job != "contents":
            return {"result": figures(0.01, 0.5)}
        asked.append(fields)
        return {"result": contents}

    assert sweep(space, folder, FunctionRunner(run)) == 0
    [fields] = asked
    assert (Path(fields["recipe"]).stem, list(fields["others"])) == ("001", ["trial 3"])
    contents = {"the data": "c", "the teacher": "b"}
    with pytest.raises(StorageError, match=r"^the data changed since the search in .* begin another search with --out"):
        sweep(space, folder, FunctionRunner(run))
    contents = {"the data": "a", "the teacher": "b"}
    assert sweep(space, folder, FunctionRunner(run)) == 0


def test_what_cannot_be_read_ends_it_before_any_training(space: Space, tmp_path: Path) -> None:
    runner = FunctionRunner(lambda job, **_: {"error": f"{job}: no such folder", "kind": "DataError"})
    with pytest.raises(EdgekdError, match="^nothing was trained: contents: no such folder$"):
        sweep(space, tmp_path / "sweep", runner)


def test_points_that_are_tried_at_the_same_time_are_each_tried_once(space: Space, tmp_path: Path) -> None:
    """A test double trains nothing: the second point waits for the third, and then the machine dies."""
    folder, third, dead = tmp_path / "sweep", Event(), Event()

    def do(name: str, **fields: object) -> JsonObject:
        number = int(Path(str(fields["recipe"])).stem)
        if number == 3:
            third.set()
        if number == 2 and not dead.is_set():
            assert third.wait(10)
            dead.set()
            raise KeyboardInterrupt
        return {"result": figures(0.01, 1 / number)}

    with pytest.raises(KeyboardInterrupt):
        sweep(space, folder, trying(do, slots=3))
    before = {entry["number"] for entry in StudyLog(folder / JOURNAL).of("trial")}
    assert 2 not in before
    assert sweep(space, folder, trying(do, slots=3)) == 0
    numbers = [entry["number"] for entry in StudyLog(folder / JOURNAL).of("trial")]
    assert sorted(numbers) == [1, 2, 3, 4] and before <= set(numbers)


def test_points_that_another_machine_timed_are_timed_again(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test double trains nothing: the first machine dies at the third point, and the second is twice as fast."""
    folder, seen, ms = tmp_path / "sweep", list[str](), 1.0

    def do(name: str, **fields: object) -> JsonObject:
        seen.append(Path(str(fields["recipe"])).stem)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return {"result": figures(0.01, ms)}

    monkeypatch.setattr(sweeping, "machine_of", lambda target: "a Xeon")
    with pytest.raises(KeyboardInterrupt):
        sweep(space, folder, trying(do))
    ms = 0.5
    monkeypatch.setattr(sweeping, "machine_of", lambda target: "a Cortex")
    assert sweep(space, folder, trying(do)) == 0
    assert seen == ["001", "002", "003", "001", "002", "003", "004"]
    fit = read_fit(folder)
    assert [trial.number for trial in fit.trials] == [1, 2, 3, 4]
    assert {trial.figures and trial.figures.ms for trial in fit.trials} == {0.5}


def test_an_argument_that_is_called_like_a_cut_is_none(tmp_path: Path) -> None:
    """A network's own depth says nothing of what a cut keeps."""
    (tmp_path / "net.py").write_text("def make(depth=1.0, **_): ...\n")
    path = tmp_path / "r.yaml"
    path.write_text(SMALL.replace("model: small_cnn", "model: 'net.py:make'"))
    for grid, shares in (("student.args.depth=0.33,0.67", [1.0, 1.0]), ("prune.macs=0.5,0.7", [0.5, 0.7])):
        space, folder = open_space(path, grid_overrides([grid]), apart=False), tmp_path / grid[:5]
        hashes = {"the data": "a", "the teacher": "b"}

        def do(job: str, hashes: JsonObject = hashes, **_: Any) -> JsonObject:
            return {"result": hashes if job == "contents" else figures(0.01, 0.5)}

        assert sweep(space, folder, FunctionRunner(do)) == 0
        assert [entry["share"] for entry in StudyLog(folder / JOURNAL).of("trial")] == shares
