"""Jobs of a worker whose trainings are left out."""

import errno
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.bench import Plan, Workload, measure
from edgekd.devices.address import Address
from edgekd.devices.registry import Device
from edgekd.devices.ssh_errors import CutError, connection_error
from edgekd.errors import DeviceError, DisturbedError, ModelError
from edgekd.pipeline import folder as run_folder
from edgekd.pipeline import resolve
from edgekd.prune.latency.readings import fast_mean
from edgekd.recipe import load_recipe
from edgekd.records.candidate_figures import Figures
from edgekd.scratch import hold
from edgekd.search import step_times, worker
from edgekd.search.space import Arm, Space
from edgekd.search.study_log import STEPS
from edgekd.train import loop
from tests.recipe.conftest import SMALL
from tests.report.search import figures


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    recipe = tmp_path / "001.yaml"
    recipe.write_text(SMALL)
    place = {"recipe": str(recipe), "folder": str(tmp_path / "001"), "cache": str(tmp_path)}
    return {"job": "try", **place, "timed": False, "filed": False, "teacher_ms": None}


def test_a_job_waits_for_what_a_lost_node_left(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    waits, done = Event(), Event()
    monkeypatch.setattr(run_folder.logger, "warning", lambda text: waits.set())

    def fails(*_: object, **__: object) -> None:
        done.set()
        raise ModelError("no cut keeps 0.1: the least is 0.2")

    monkeypatch.setattr(worker, "try_recipe", fails)
    lock = Path(job["folder"]) / run_folder.LOCK
    lock.parent.mkdir()
    thread = Thread(target=worker.carry_out, args=(job,))
    with hold(lock):
        thread.start()
        assert waits.wait(10) and not done.is_set()
    thread.join(10)
    assert done.is_set()


def test_a_figure_that_is_no_number_is_the_candidate_s_failure(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record holds finite numbers alone, and one that is none would end the search."""
    found = Figures.from_json({**figures(0.01, 0.5), "drop": float("nan")})
    monkeypatch.setattr(worker, "try_recipe", lambda *_, **__: found)
    message = "its drop on 360 validation samples is nan: more of them may help"
    assert worker.carry_out(job)["error"] == message
    found = Figures.from_json({**figures(0.01, 0.5), "others": {"mdice": [0.01, float("inf")]}})
    message = "its standard error of mdice on 360 validation samples is inf: more of them may help"
    assert worker.carry_out(job)["error"] == message


def test_a_full_disk_is_no_candidate_s_failure(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes: packages do so without edgekd, and what they raise may be another error's cause."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def in_another(*_: object, **__: object) -> None:
        try:
            fails()
        except OSError as error:
            raise RuntimeError("the file could not be written") from error

    for raises in (fails, in_another):
        monkeypatch.setattr(worker, "try_recipe", raises)
        assert worker.carry_out(job)["kind"] == "StorageError"


def test_a_reason_is_without_its_place_in_the_candidate_s_recipe(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        try:
            raise ModelError("no cut keeps 0.1: the least is 0.2")
        except ModelError as error:
            raise ModelError(f"{job['recipe']}:5: stages.1.prune: {error}") from error

    monkeypatch.setattr(worker, "try_recipe", fails)
    found = worker.carry_out(job)
    assert (found["error"], found["kind"]) == ("no cut keeps 0.1: the least is 0.2", "ModelError")


def test_a_device_that_does_not_answer_is_told_from_a_candidate(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is trained, and in the middle, where the reason is a cause."""

    def refuses(*_: object) -> None:
        raise connection_error(Address("10.0.0.7"), "ssh: connect to host 10.0.0.7 port 22: No route to host")

    recipe = Path(job["recipe"])
    recipe.write_text(f"{SMALL}targets: [{{device: edge}}]\n")
    monkeypatch.setattr(resolve, "devices", lambda: {"edge": Device("edge", "10.0.0.7")})
    monkeypatch.setattr(resolve, "probe", refuses)
    for each in (job, {"job": "step", "recipe": str(recipe), "others": {}}):
        found = worker.carry_out(each)
        assert found["kind"] == "UnavailableError"
        assert found["error"].startswith("10.0.0.7 does not respond: is it on")

    def is_cut(*_: object, **__: object) -> None:
        try:
            raise CutError("the connection to edge was cut")
        except CutError as error:
            raise DeviceError(f"a placement was not scored: {error}") from error

    monkeypatch.setattr(worker, "try_recipe", is_cut)
    assert worker.carry_out(job)["kind"] == "UnavailableError"


def test_a_busy_machine_is_told_from_a_file_that_cannot_be_measured(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("no graph")

    def measures(*_: object, **__: object) -> None:
        measure(Plan({"text": Workload(str(text))}, launches=1))

    def is_disturbed(*_: object, **__: object) -> None:
        try:
            fast_mean([float("nan")])
        except DisturbedError as error:
            raise ModelError(f"the cut cannot be timed: {error}") from error

    kinds = []
    for fails in (measures, is_disturbed):
        monkeypatch.setattr(worker, "try_recipe", fails)
        kinds.append(worker.carry_out(job)["kind"])
    assert kinds == ["MeasurementError", "DisturbedError"]


def test_contents_are_told_from_others_at_the_same_paths(job: dict[str, Any], tmp_path: Path) -> None:
    random = np.random.default_rng(0)

    def add(part: str, number: int) -> None:
        for name in ("bolt", "nut"):
            path = tmp_path / "images" / part / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)

    for number in range(9):
        add("train", number)
    add("test", 0)
    checkpoint, recipe = tmp_path / "teacher.pt", Path(job["recipe"])
    checkpoint.write_bytes(b"one")
    text = SMALL.replace("source: digits", f"source: folder, path: {tmp_path / 'images'}")
    recipe.write_text(text.replace("train: {epochs: 1}", f"checkpoint: {checkpoint}"))
    other = tmp_path / "other.yaml"
    other.write_text(recipe.read_text().replace("{model: small_cnn}", "{model: small_cnn, args: {width: 4}}"))

    def contents() -> dict[str, str]:
        words = {"job": "contents", "recipe": str(recipe), "others": {"narrow": str(other)}}
        return dict(worker.carry_out(words)["result"])

    first = contents()
    assert first.keys() == {"the data", "the teacher", "the student", "the student of narrow", STEPS}
    assert contents() == first and len(set(first.values())) == 5
    checkpoint.write_bytes(b"two")
    second = contents()
    assert {name for name in first if first[name] != second[name]} == {"the teacher"}
    add("train", 9)
    assert {name for name, each in contents().items() if each != second[name]} == {"the data"}


def test_the_steps_of_an_epoch_are_those_of_a_training(job: dict[str, Any]) -> None:
    """Of 1,437 digits a tenth is held out; the last 13 of the others make no batch of 128."""
    found = worker.carry_out({"job": "contents", "recipe": job["recipe"], "others": {}})["result"]
    assert found[STEPS] == (1437 - 144) // 128 == 10


def test_a_step_of_each_network_is_timed(job: dict[str, Any], tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(SMALL.replace("{model: small_cnn}", "{model: small_cnn, args: {width: 4}}"))
    taught = Path(job["recipe"])
    further = "others: [{model: small_cnn, args: {width: 8}, train: {epochs: 3}}]"
    taught.write_text(SMALL.replace("train: {epochs: 1}}", f"train: {{epochs: 1}}, {further}}}"))
    found = worker.carry_out({"job": "step", "recipe": job["recipe"], "others": {"narrow": str(other)}})["result"]
    assert found["student_steps"].keys() == {"narrow"}
    # Of each teacher too, whose trainings a forecast adds up.
    steps = (found["teacher_step"], found["student_step"], *found["student_steps"].values())
    assert len(found["other_teacher_steps"]) == 1
    assert all(each > 0 for each in (*steps, *found["other_teacher_steps"]))
    # Both teachers' outputs are a part of each student's step.
    assert 0 < found["teacher_forward"] < found["student_step"]
    assert found["augmented"] is False


def test_a_step_is_timed_without_the_validation_after_it(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Here each epoch is one step."""
    path = Path(job["recipe"])
    path.write_text(SMALL.replace("source: digits", "source: digits, batch_size: 2000"))
    predict = loop.distributed_predictions_of

    clock = [0.0]

    def slow(*arguments: Any) -> Any:
        clock[0] += 100
        return predict(*arguments)

    monkeypatch.setattr(loop, "distributed_predictions_of", slow)
    monkeypatch.setattr(step_times, "_now", lambda: clock[0])
    found = worker.carry_out({"job": "step", "recipe": job["recipe"], "others": {}})["result"]
    assert found["steps"] == 1 and found["student_step"] == 0


def test_one_candidate_after_another_learns_from_samples_that_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(worker, "load_data", lambda data, seed, *_: read.append((data, seed)) or object())
    path, loaded = tmp_path / "r.yaml", worker.Loaded()
    path.write_text(SMALL)
    first = loaded.of(load_recipe(path))
    # Stages and students are other candidates of the same search.
    assert loaded.of(load_recipe(path, ["distill.epochs=3", "student.model=resnet8"])) is first
    others = [loaded.of(load_recipe(path, [each])) for each in ("seed=1", "data.validation=0.2", "data.batch_size=8")]
    assert first not in others and len(read) == len({id(each) for each in others}) + 1 == 4


def test_files_of_a_space_are_those_that_its_arms_name() -> None:
    arms = [
        Arm("a", {}, written={"/a/parts": "parts"}),
        Arm("b", {}, written={"/a/parts": "parts", "/a/n.py:Net": "n.py:Net"}),
    ]
    assert Space(Path("r.yaml"), {}, tuple(arms)).files == (Path("/a/parts"), Path("/a/n.py"))
