"""The user's threshold and suppression of boxes, from a recipe to all that follows from them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.bundle.predict import Predictor
from edgekd.bundle.verify import verify
from edgekd.data import Data, DataSet, load_data
from edgekd.errors import EdgekdError
from edgekd.gate import load_subject
from edgekd.gate.comparable import NotComparable, must_be_comparable
from edgekd.gate.policy import load_policy
from edgekd.pipeline.run import run
from edgekd.pipeline.stage_node import StageNode
from edgekd.pipeline.start import Start
from edgekd.recipe import Distill, load_recipe
from edgekd.report.schema import Report
from edgekd.spec import Spec
from edgekd.tasks.detection import Detection
from edgekd.tasks.detection.decode import from_rows
from edgekd.tasks.detection.matching import matches
from edgekd.tasks.detection.operating_point import operating_point
from edgekd.tasks.detection.targets import by_name
from tests.toy import blank_pictures, fixed_times

SIDE = 32
RECIPE = """\
name: squares
task: detection
decoder: {threshold: 0.3, iou: 0.5}
data: {source: npz, path: squares.npz, batch_size: 16}
teacher: {model: pyramid_detector, args: {width: 4}, train: {epochs: 8, lr: 0.01, optimizer: adamw}}
stages:
  - quantize: {epochs: 0, rungs: [ptq]}
budget: {drop: {box_map: 100}}
"""


def write_squares(path: Path) -> None:
    """One bright square on each image, of one of two colours."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (96, SIDE, SIDE, 3)).astype(np.uint8)
    boxes = np.zeros((96, 1, 5), np.float32)
    for image, row in zip(images, boxes[:, 0], strict=True):
        side, kind = int(random.integers(8, 15)), int(random.integers(2))
        x, y = random.integers(0, SIDE - side, 2).tolist()
        image[y : y + side, x : x + side, 2 * kind] = 230
        row[:] = kind, x, y, x + side, y + side
    parts = {"train_x": images[:64], "train_y": boxes[:64], "test_x": images[64:], "test_y": boxes[64:]}
    np.savez(path, **parts, classes=("red", "blue"))


def squares(folder: Path, **decoder: float) -> DataSet:
    if not (folder / "squares.npz").exists():
        write_squares(folder / "squares.npz")
    return load_data(Data(source="npz", path=folder / "squares.npz"), kind=Detection, decoder=decoder)


def test_what_decodes_otherwise_has_other_predictions_and_what_is_judged_otherwise_other_trainings(tmp_path: Path):
    usual, acts, suppresses = (squares(tmp_path, **each) for each in ({}, {"threshold": 0.3}, {"iou": 0.4}))
    assert isinstance(acts.task, Detection) and isinstance(suppresses.task, Detection)
    assert (acts.task.threshold, suppresses.task.iou) == (0.3, 0.4)
    assert len({each.fingerprint for each in (usual, acts, suppresses)}) == 1
    assert len({each.decoded_fingerprint for each in (usual, acts, suppresses)}) == 3
    assert usual.decoded_fingerprint == usual.fingerprint
    start = Start(Spec("pyramid_detector", (3, SIDE, SIDE), 2), None, 0)
    node = StageNode(1, Distill(), "distilled", start, None, usual, 0, None, None)  # type: ignore[arg-type]
    # Mean average precision, by which epochs are chosen, does not see the threshold.
    assert replace(node, data=acts).key == node.key != replace(node, data=suppresses).key
    assert replace(node, data=suppresses).inputs.samples["decoder"] == {"iou": 0.4}


@pytest.mark.slow
def test_a_run_is_judged_and_packed_at_the_users_threshold(tmp_path: Path) -> None:
    def ran(*overrides: str) -> Report:
        with pytest.MonkeyPatch.context() as patch:
            fixed_times(patch)
            blank_pictures(patch)
            return run(load_recipe(tmp_path / "squares.yaml", overrides), folder, command="edgekd run squares.yaml")

    def stages() -> list[str]:
        return sorted(path.name for path in (folder / "stages").iterdir())

    folder = tmp_path / "run"
    write_squares(tmp_path / "squares.npz")
    (tmp_path / "squares.yaml").write_text(RECIPE)
    report = ran()
    assert report.decoder == {"threshold": 0.3, "iou": 0.5}
    assert report.breakdown().threshold == 0.3  # type: ignore[union-attr]
    truth = by_name(np.load(tmp_path / "squares.npz")["test_y"])
    for row in report.rows:
        kept = from_rows(np.load(folder / row.predictions), 2, 0.3)
        assert row.model_extra["box_f1"] == operating_point(matches(kept, truth)).value()
    details = json.loads((folder / report.rows[-1].file).with_name("metrics.json").read_text())
    assert details["threshold"] == 0.3

    manifest = verify(folder / "bundle")
    assert (manifest.decoder["threshold"], manifest.decoder["iou"]) == (0.3, 0.5)
    [config] = (folder / "bundle/triton").rglob("config.pbtxt")
    assert '\\"threshold\\":0.3' in config.read_text()
    card = (folder / "bundle/README.md").read_text()
    assert "overlap by more than 0.5 the best" in card and "act on those from 0.3 on" in card
    predictor = Predictor(folder / "bundle", decoder={"threshold": 0.6})
    own, other = Predictor(folder / "bundle").task, predictor.task
    assert isinstance(own, Detection) and isinstance(other, Detection)
    assert (own.threshold, other.threshold) == (0.3, 0.6)
    assert predictor.self_test().passed
    for wrong, message in (({"thresold": 0.6}, "has no thresold to set"), ({"threshold": 0.01}, "below its score")):
        with pytest.raises(EdgekdError, match=message):
            Predictor(folder / "bundle", decoder=wrong)

    before, baseline = stages(), tmp_path / "baseline.json"
    load_subject(folder).save(baseline)
    again = ran("decoder.threshold=0.6")
    assert again.decoder == {"threshold": 0.6, "iou": 0.5} and stages() == before
    assert verify(folder / "bundle").decoder["threshold"] == 0.6
    with pytest.raises(NotComparable) as error:
        must_be_comparable(load_subject(baseline), load_subject(folder), load_policy(None))
    assert [tuple(each) for each in error.value.differences] == [("threshold of the decoder", 0.3, 0.6)]
