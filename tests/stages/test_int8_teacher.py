"""A teacher in int8, in the place of the network that it was made from."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgekd.data import DataSet
from edgekd.data.views import Views
from edgekd.distill import Distillation, Ensemble
from edgekd.distill.cache import _key
from edgekd.distill.teacher_runner import TeacherRunner
from edgekd.formatting import percent
from edgekd.recipe import Distill
from edgekd.spec import Spec
from edgekd.stages import int8_teacher as made
from edgekd.stages.int8_teacher import SessionTeacher, int8_teacher
from edgekd.stages.job import Job
from edgekd.train import predictions_of


@pytest.fixture(autouse=True)
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few validation samples one more or less is a share of its own."""
    monkeypatch.setattr(made, "AGREEMENT", 0.95)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/edgekd/teachers"


@pytest.fixture
def teacher(trained: nn.Module) -> nn.Module:
    return deepcopy(trained).eval()


@pytest.fixture
def own(teacher: nn.Module, digits: DataSet) -> Tensor:
    """What the teacher predicts in float."""
    return predictions_of(teacher, digits, digits.validation)


def test_its_outputs_are_those_in_float_but_for_the_steps_of_8_bits(
    teacher: nn.Module, digits: DataSet, own: Tensor, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = int8_teacher(teacher, digits, digits.input_shape, own)
    assert found is not None
    [(raw, _)] = digits.test.stream([torch.arange(64)])
    inputs = digits.to_input(raw)
    with torch.no_grad():
        expected = teacher(inputs)
    assert 0 < float((found(inputs) - expected).abs().max() / expected.abs().max()) < 0.1
    share = float((predictions_of(found, digits, digits.validation) == own).float().mean())
    said = (
        f"the teacher runs in int8: in int8 it predicts {percent(share)} of {len(own)} validation samples as in float"
    )
    assert said in capsys.readouterr().err
    # The file is made once, and a copy is the session itself.
    [file] = cache.glob("*.onnx")
    before = file.stat().st_mtime_ns
    again = int8_teacher(teacher, digits, digits.input_shape, own)
    assert again is not None and torch.equal(again(inputs), found(inputs)) and file.stat().st_mtime_ns == before
    assert deepcopy(again) is again


def test_one_that_predicts_otherwise_stays_in_float(
    teacher: nn.Module, digits: DataSet, own: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sample in ten is said to be of another class."""
    other = torch.where(torch.arange(len(own)) % 10 == 0, (own + 1) % 10, own)
    assert int8_teacher(teacher, digits, digits.input_shape, other) is None
    assert f"of {len(own)} validation samples as in float, and 95.0 % are needed" in capsys.readouterr().err
    assert int8_teacher(Ensemble([deepcopy(teacher)]), digits, digits.input_shape, own) is None
    assert "the teacher stays in float: there are several teachers" in capsys.readouterr().err


def test_the_outputs_of_two_are_kept_apart(teacher: nn.Module, digits: DataSet, own: Tensor) -> None:
    changed = deepcopy(teacher)
    with torch.no_grad():
        next(changed.parameters()).mul_(1.01)

    def key(network: nn.Module) -> str:
        found = int8_teacher(network, digits, digits.input_shape, own)
        assert found is not None
        return _key(found, TeacherRunner(found, digits, Views(1, 0), (), True, True), "float32", "")

    assert key(teacher) == key(teacher) != key(changed)


def test_a_stage_that_asks_for_it_learns_from_it(teacher: nn.Module, digits: DataSet, tmp_path: Path) -> None:
    spec, found = Spec("small_cnn", digits.input_shape, 10, {"width": 8}), []
    for section in (Distill(quantize_teacher=True), Distill()):
        student = deepcopy(teacher)
        job = Job("01-distill", student, spec, section, digits, 0, deepcopy(teacher), tmp_path, lambda entry: None)
        objective = job.objective(student)
        assert isinstance(objective, Distillation)
        found.append(type(objective.teacher))
    assert found == [SessionTeacher, type(teacher)]
    assert Distill(quantize_teacher=True).settings()["quantize_teacher"] is True
    assert "quantize_teacher" not in Distill().settings()
