"""Doubts about a file become warnings with a code, found on real exported files."""

from pathlib import Path

import numpy as np
import pytest

from edgekd.pipeline.run import run
from edgekd.recipe import load_recipe
from edgekd.report.html import render_html
from edgekd.train import Epoch
from tests.toy import brief_measurements, write_recipe

CUBES = """
import numpy as np
from torch import nn

class Cubes(nn.Module):
    '''A transposed convolution, for which ONNX Runtime has no int8 kernel.'''
    def __init__(self, num_classes, width=4):
        super().__init__()
        self.flat = nn.Conv2d(1, width, 3, padding=1)
        self.deep = nn.ConvTranspose2d(width, 2, 3, padding=1)
        self.head = nn.Linear(2 * 64, num_classes)
    def forward(self, x):
        x = self.flat(x).relu()
        return self.head(self.deep(x).sigmoid().flatten(1))

def cubes(num_classes):
    return Cubes(num_classes)
"""

RECIPE = """\
name: cubes
data: {source: digits, train_limit: 200, test_limit: 50, batch_size: 50}
teacher: {model: "cubes.py:cubes", train: {epochs: 1, lr: 0.01}}
stages:
  - quantize: {rungs: [ptq], placement: int8}
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cubes")
    (folder / "cubes.py").write_text(CUBES)
    with pytest.MonkeyPatch.context() as patch:
        brief_measurements(patch, profiles=True)
        yield run(load_recipe(write_recipe(folder, RECIPE)), folder / "run")


def test_a_convolution_that_stays_in_float_is_named(report):
    row = next(row for row in report.rows if (row.model, row.runtime) == ("quantized", "onnxruntime"))
    [note] = [note for note in row.warnings if note.code == "float_convolutions"]
    assert note.message.startswith("1 of 2 convolutions run in float in ONNX Runtime, although they are quantised: ")
    assert note.message.endswith("deep/ConvTranspose")


def test_the_float_network_has_no_such_warning(report):
    rows = [row for row in report.rows if row.model == "teacher"]
    assert not [note for row in rows for note in row.warnings if note.code == "float_convolutions"]


def test_the_first_and_the_last_network_have_their_layers_timed(report):
    teacher, student = report.profiles
    assert (teacher.model, student.model) == (report.rows[0].model, report.rows[-1].model)
    assert any(layer["precision"] == "int8" and layer["macs"] for layer in student.layers)
    assert student.summary["limit_ms"] > 0
    assert sum(layer["of_total"] for layer in student.layers) == pytest.approx(1)
    page = render_html(report)
    assert page.count("Time per layer: ") == 2
    assert "Where the time goes" in page


def test_tensorboard_gets_every_epoch(tmp_path: Path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from edgekd.cli.run import tensorboard_writer

    watch = tensorboard_writer(tmp_path)
    for number in (1, 2):
        metrics = {"validation_accuracy": 0.5, "agreement": 0.9, "temperature": 4.0}
        watch("distill", Epoch(number, 1.0 / number, 0.1, metrics, {"labels": 0.25, "kd": 0.5 * number}))
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    names = ("loss", "lr", "validation_accuracy", "agreement", "temperature", "terms/labels", "terms/kd")
    assert set(events.Tags()["scalars"]) == {f"distill/{name}" for name in names}
    assert np.allclose([event.value for event in events.Scalars("distill/loss")], [1.0, 0.5])
    assert np.allclose([event.value for event in events.Scalars("distill/terms/kd")], [0.5, 1.0])
