"""What a device sends of outputs, in the agent's own code, and the rows that they are decoded to here, to the bit."""

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from edgekd.agent import predictions as agent
from edgekd.devices import predictions
from edgekd.tasks.registry import TASKS
from edgekd.tasks.regression.keypoints import Keypoints
from edgekd.tasks.segmentation import Segmentation
from edgekd.tasks.signature import LOGITS
from tests.tasks.detection.drawn import heads

NAMES = ("a", "b", "c")


def sent(task, outputs, monkeypatch, n=None) -> tuple[np.ndarray, int]:
    """Return the rows of what the agent sends of ``outputs``, a batch, and how many characters of data that takes."""
    n = len(next(iter(outputs.values()))) if n is None else n
    so_far = predictions.PredictionsSoFar(task, n, {name: each.shape[1:] for name, each in outputs.items()})
    events: list[dict] = []
    monkeypatch.setattr(agent, "samples", lambda file: {})
    monkeypatch.setattr(agent, "opened", lambda model, threads: model)
    monkeypatch.setattr(agent, "batch_outputs", lambda model, _: iter([(0, outputs)]))
    request = {"samples": "", "models": {"a": "a"}, "threads": 1, "outputs": {"a": so_far.needed}}
    request["reductions"] = {"a": asdict(so_far.reduction)}
    agent.predict(request, cast(Any, SimpleNamespace(send=events.append)))
    for event in events:
        predictions.keep(event, {"a": so_far})
    found = so_far.ended(None)
    assert found.cut is None
    return found.rows, sum(len(event["data"]) + len(event.get("places", "")) for event in events)


def raw_letters(outputs) -> int:
    return sum(4 * each.size * 4 // 3 for each in outputs.values())


@pytest.mark.parametrize("name", [name for name in TASKS if name not in ("detection", "segmentation")])
def test_logits(name, monkeypatch):
    task = TASKS[name](("a", "b", "c", "d"))
    random = np.random.default_rng(0)
    width = 8 if name == "keypoints" else 4
    logits = random.normal(size=(50, width)).round(1).astype(np.float32)
    logits[[3, 7, 9], [0, 1, 2]] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(
        sent(task, {LOGITS: logits}, monkeypatch)[0], task.to_rows({LOGITS: logits}), strict=True
    )


def test_masks_are_a_byte_for_each_pixel(monkeypatch):
    task = Segmentation(tuple(map(str, range(21))))
    logits = np.random.default_rng(0).normal(size=(6, 21, 12, 10)).round(1).astype(np.float32)
    logits[1, 4, 3, 2], logits[2, 20, 0, 0], logits[3, 0, 11, 9] = np.nan, np.inf, -np.inf
    rows, letters = sent(task, {LOGITS: logits}, monkeypatch)
    np.testing.assert_array_equal(rows, task.to_rows({LOGITS: logits}), strict=True)
    assert (rows[[1, 2, 3], [3, 0, 11], [2, 0, 9]] == 255).all()
    assert letters == raw_letters({LOGITS: logits}) / 84


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_peaks_of_heat_maps(odd, monkeypatch):
    """In the middle, at the edges and in the corners; flat maps, equal peaks, and values that are not finite."""
    task = Keypoints(NAMES, image=(64, 48))
    random = np.random.default_rng(0)
    maps = random.normal(size=(30, 3, 16, 12)).astype(np.float32)
    for place, (row, column) in enumerate(((0, 0), (0, 11), (15, 0), (15, 11), (7, 0), (0, 5), (15, 5), (7, 11))):
        maps[place, 0, row, column] = 9
    maps[10], maps[11], maps[12] = 0, np.finfo(np.float32).min, maps[12].round()
    maps[13, 1, 4, 5] = maps[14, 2, 0, 0] = odd
    maps[15] = odd
    rows, _ = sent(task, {LOGITS: maps}, monkeypatch)
    np.testing.assert_array_equal(rows, task.to_rows({LOGITS: maps}), strict=True)
    assert np.isnan(rows[13, 1]).all() and np.isfinite(rows[13, 0]).all() and np.isnan(rows[15]).all()
    clean = maps[16:]
    # Five cells of each map at most, each with its place.
    assert sent(task, {LOGITS: clean}, monkeypatch)[1] <= 2 * raw_letters({LOGITS: clean}) * 5 / (16 * 12) + 8


FAMILIES = ("maps", "bins", "ssd", "fcos", "retinanet")


@pytest.mark.parametrize("score", [0.05, 0.0, 0.4, 0.9])
@pytest.mark.parametrize("family", FAMILIES)
def test_positions_of_detectors(family, score, monkeypatch):
    """Scores far below, at and far above the least one that is kept, in every family of heads."""
    task = TASKS["detection"](NAMES, score=score, threshold=max(score, 0.5))
    outputs = {name: each.copy() for name, each in heads(family, n=12).items()}
    name = next(each for each in outputs if each.startswith(("cls.", "scores")))
    other = next(each for each in outputs if each.startswith(("box.", "bins.", "deltas", "distances")))
    outputs[name][2] *= 10
    outputs[name][3] -= 9
    outputs[name][4].flat[0], outputs[other][5].flat[-1], outputs[other][6].flat[3] = np.nan, np.inf, -np.inf
    expected = task.to_rows(outputs)
    rows, _ = sent(task, outputs, monkeypatch)
    np.testing.assert_array_equal(rows, expected, strict=True)
    assert np.isnan(rows[4:7, :, 4]).all() and np.isfinite(rows[[0, 1, 7]]).all()
    assert (rows[..., 5] >= 0).any() or score == 0.9


@pytest.mark.parametrize("family", FAMILIES)
def test_of_a_sure_detector_little_is_sent(family, monkeypatch):
    """As after training: at a few positions there may be something, at all others there is nothing."""
    task = TASKS["detection"](NAMES)
    outputs = {name: each.copy() for name, each in heads(family, n=12).items()}
    for name, each in outputs.items():
        if name.startswith("cls."):
            each -= 12
            each[:, :, 1, 1] += 12
        elif name == "scores":
            each -= 12
            each[:, ::20] += 12
            if each.shape[2] == len(NAMES) + 1:
                each[..., 0] += 12
    rows, letters = sent(task, outputs, monkeypatch)
    np.testing.assert_array_equal(rows, task.to_rows(outputs), strict=True)
    assert (rows[..., 5] >= 0).any() and letters < raw_letters(outputs) / 2


def test_a_file_that_gives_the_common_form(monkeypatch):
    task = TASKS["detection"](NAMES)
    merged = task.merged(heads("maps", n=12))
    merged[3, 5, 1], merged[4] = np.nan, merged[4] - 20
    rows, letters = sent(task, {LOGITS: merged}, monkeypatch)
    np.testing.assert_array_equal(rows, task.to_rows({LOGITS: merged}), strict=True)
    assert letters < raw_letters({LOGITS: merged}) * 1.2


def test_outputs_of_which_decoding_takes_nothing_are_not_sent(monkeypatch):
    task = TASKS["detection"](NAMES)
    outputs = heads("ssd", n=4)
    more = {**outputs, "features": np.zeros((4, 1000), np.float32)}
    rows, letters = sent(task, more, monkeypatch)
    np.testing.assert_array_equal(rows, task.to_rows(outputs), strict=True)
    assert letters < raw_letters({"features": more["features"]})


@pytest.mark.parametrize("places", [[0, 40], [-1, 3], [2**30, 3]])
def test_a_value_of_no_position_is_refused(places):
    task = TASKS["detection"](NAMES)
    so_far = predictions.PredictionsSoFar(task, 2, {LOGITS: (20, 7)})
    values = np.zeros((2, 7), np.float32)
    with pytest.raises(ValueError, match="a value of none of 40 positions of the output 'logits'"):
        so_far.reduction.whole(LOGITS, (20, 7), 2, np.array(places, np.int32), values)
