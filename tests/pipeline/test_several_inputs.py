"""A recipe for a network with two inputs, one of them integers of any length, and two outputs."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import load

from edgekd.errors import DataError, ModelError, RecipeError
from edgekd.pipeline.plan import plan
from edgekd.pipeline.run import run
from edgekd.recipe import load_recipe
from edgekd.report.schema import Report
from edgekd.spec import Spec
from tests.pipeline import two_inputs
from tests.toy import blank_pictures, fixed_times, made_once

RECIPE = """\
name: two
data: {source: "two_inputs.py:data", open: {tokens: [length]}, batch_size: 50}
teacher: {model: "two_inputs.py:both", args: {width: 24}, train: {epochs: 4, lr: 0.1}}
student: {model: "two_inputs.py:both"}
stages:
  - distill: {epochs: 3, lr: 0.1, method: kd}
  - prune: {macs: 0.7, epochs: 1, round_to: 4, check_latency: false, importance: taylor}
  - quantize: {epochs: 1, placement: int8}
budget: {accuracy_drop: 30}
"""


def written(folder: Path, text: str = RECIPE) -> Path:
    shutil.copy(two_inputs.__file__, folder)
    (folder / "two.yaml").write_text(text)
    return folder / "two.yaml"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            fixed_times(patch)
            blank_pictures(patch)
            run(load_recipe(written(folder)), folder / "run", command="edgekd run two.yaml")

    return made_once(tmp_path_factory, "two-inputs", make) / "run"


@pytest.fixture(scope="module")
def report(two: Path) -> Report:
    return Report.from_json(json.loads((two / "report.json").read_text()))


def test_it_learns_from_both_inputs(report):
    accuracies = {row.model: row.model_extra["accuracy"] for row in report.rows if row.runtime == "onnxruntime"}
    assert set(accuracies) == {"teacher", "distilled", "pruned", "quantized"}
    # The picture alone, or the words alone, tell at most three of four samples.
    assert min(accuracies.values()) > 0.8


def test_model_json_and_files_name_the_tensors(report, two):
    for spec in map(Spec.read, sorted((two / "stages").glob("0*-*"))):
        assert [each.name for each in spec.signature.inputs] == ["image", "tokens"]
        assert spec.signature.inputs[1].bounds == (0, two_inputs.WORDS - 1)
    for row in report.rows:
        if row.file:
            graph = load(two / row.file).graph
            assert [each.name for each in graph.input] == ["image", "tokens"]
            assert {each.name for each in graph.output} == {"embedding", "logits"}
            [length] = [each.type.tensor_type.shape.dim[1].dim_param for each in graph.input if each.name == "tokens"]
            assert length == "length"


def test_the_reports_accuracy_is_that_of_the_file(report, two):
    (inputs, labels) = two_inputs.data()["test"]
    for row in report.rows:
        if row.file:
            [logits] = onnxruntime.InferenceSession(two / row.file).run(["logits"], inputs)
            assert row.model_extra["accuracy"] == (logits.argmax(1) == labels).mean()


def test_the_int8_file_takes_texts_of_any_length(report, two):
    [row] = [row for row in report.rows if row.model == "quantized" and row.file]
    assert row.precision == "int8"
    session = onnxruntime.InferenceSession(two / row.file)
    (inputs, _) = two_inputs.data()["test"]
    (longer, _) = two_inputs.data(length=11)["test"]
    both = {"image": inputs["image"], "tokens": np.concatenate([inputs["tokens"], longer["tokens"]], 1)}
    ours, theirs = (session.run(["logits"], each)[0] for each in (inputs, both))
    # What comes behind the first word changes nothing in this network.
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("open: {tokens: [length]}", "open: {token: [length]}", DataError, "no input 'token' .did you mean 'tokens'"),
        ("open: {tokens: [length]}", "open: {tokens: [a, b]}", DataError, "tokens has 1 axis behind the batch, and 2"),
        ("batch_size: 50", "batch_size: 50, open_sizes: {length: [7, 9]}", DataError, "length is 6 in tokens, outside"),
        ("batch_size: 50", "batch_size: 50, open_sizes: {long: [1, 9]}", RecipeError, "'long' .did you mean 'length'"),
        ("batch_size: 50", "batch_size: 50, open_sizes: {length: [9, 1]}", RecipeError, "9, is above the largest, 1"),
        ("batch_size: 50", "batch_size: 50, augment: [flip]", DataError, "flip is for images, .* gives tensors"),
        ("batch_size: 50", "batch_size: 50, mean: [0.5], std: [1.0]", DataError, "are of one input"),
        ('two_inputs.py:both", args', 'reversed.py:both", args', ModelError, "takes tokens, image, and the data give"),
    ],
)
def test_what_is_refused_before_any_training(tmp_path, old, new, error, message):
    recipe = written(tmp_path, RECIPE.replace(old, new, 1))
    source = Path(two_inputs.__file__).read_text()
    (tmp_path / "reversed.py").write_text(
        source.replace("image: Tensor, tokens: Tensor", "tokens: Tensor, image: Tensor")
    )
    with pytest.raises(error, match=message):
        plan(load_recipe(recipe))


def test_a_length_has_bounds(tmp_path):
    usual, bounded = (
        plan(load_recipe(written(tmp_path, RECIPE.replace("batch_size", f"{more}batch_size", 1))))
        for more in ("", "open_sizes: {length: [2, 12]}, ")
    )
    [dimension] = bounded.starts.first.spec.signature.open
    assert (dimension.name, dimension.size, dimension.least, dimension.most) == ("length", 6, 2, 12)
    assert usual.starts.first.spec.signature.open[0].most is None
    assert usual.data.fingerprint != bounded.data.fingerprint, "other stages are other networks"
