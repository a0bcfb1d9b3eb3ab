"""Points: their metrics by hand, and that they move with their images."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from edgekd.data.augment import augment_samples, draws_of
from edgekd.errors import DataError, ModelError
from edgekd.geometry import Geometry
from edgekd.tasks.breakdown import NamedPredictions
from edgekd.tasks.compare import compare
from edgekd.tasks.regression.keypoints import Keypoints
from edgekd.tasks.signature import LOGITS

NAMES = ("nose", "left eye", "right eye")


def drawn(n: int = 200, error: float = 0.05) -> tuple[Keypoints, np.ndarray, np.ndarray]:
    """Return a task, outputs (n, 6) and points (n, 3, 2), of which one in five is not known."""
    random = np.random.default_rng(0)
    points = random.uniform(4, 28, (n, 3, 2)).astype(np.float32)
    task = Keypoints(NAMES).adapted(points)
    flat = (points.reshape(n, 6) - np.array(task.mean)) / np.array(task.deviation)
    points[random.random((n, 3)) < 0.2] = np.nan
    points[0] = [[1, 2], [3, 4], [5, 6]]
    return task, (flat + error * random.normal(size=flat.shape)).astype(np.float32), points


def test_metrics_by_hand():
    task, outputs, points = drawn()
    predictions, targets = task.decode({LOGITS: outputs}), task.targets(points)
    known = ~np.isnan(points).any(2)
    apart = np.linalg.norm(predictions.values - points, axis=2)[known] / task.size
    expected = {"nme": apart.mean(), "pck": (apart <= 0.1).mean(), "oks": np.exp(-(apart**2) / 0.02).mean()}
    for metric in task.metrics:
        found = metric.evidence(predictions, targets)
        assert found.value() == pytest.approx(expected[metric.name], rel=1e-9)
        only = np.zeros(len(points))
        only[3] = 2
        each = np.linalg.norm(predictions.values[3] - points[3], axis=1)[known[3]] / task.size
        if metric.name == "nme" and known[3].any():
            assert found.value(only) == pytest.approx(each.mean())
    assert task.details({LOGITS: outputs}, targets).to_json()["size"] == task.size


def test_what_distances_are_measured_by():
    square = np.array([[[0, 0], [3, 4], [np.nan, np.nan]], [[0, 0], [3, 4], [0, 0]]], np.float32)
    assert Keypoints(NAMES).adapted(square + np.array([[[0.0]], [[1.0]]], np.float32)).size == 5
    one = np.array([[[0, 0]], [[6, 8]]], np.float32)
    assert Keypoints(("nose",)).adapted(one).size == 10
    with pytest.raises(ModelError, match="size must be a finite number above 0"):
        Keypoints(NAMES, size=0)


def test_planted_errors_are_found():
    task, outputs, points = drawn(n=1000)
    exact = drawn(n=1000, error=0)[1]
    worse = exact + 1.05 * (outputs - exact)
    nme = task.metrics[0]
    before, after = (nme.evidence(task.decode({LOGITS: each}), task.targets(points)) for each in (outputs, worse))
    assert compare(nme, before, after, 0.99).is_worse and nme.better == "lower"


def test_left_and_right_change_places_in_a_mirror():
    task, size = Keypoints(NAMES), (32, 32)
    points = np.array([[[16, 8], [10, 4], [20, 4]], [[16, 8], [10, 4], [40, 4]]], np.float32)
    mirrored = Geometry(np.array([[-1.0, 1.0], [1.0, 1.0]]), np.array([[32.0, 0.0], [0.0, 0.0]]), size, size)
    found = task.move_targets(points, mirrored)
    assert found[0].tolist() == [[16, 8], [12, 4], [22, 4]]
    assert found[1, :2].tolist() == [[16, 8], [10, 4]] and np.isnan(found[1, 2]).all(), "it is outside of the image"


@pytest.mark.parametrize("names", [("Left eye", "Right eye", "Upright"), ("EYE_RIGHT", "EYE_LEFT", "Left eye")])
def test_sides_are_known_however_they_are_written(names):
    size, points = (32, 32), np.array([[[10, 4], [20, 4], [16, 8]]], np.float32)
    mirrored = Geometry(np.array([[-1.0, 1.0]]), np.array([[32.0, 0.0]]), size, size)
    assert Keypoints(names).move_targets(points, mirrored).tolist() == [[[12, 4], [22, 4], [16, 8]]]


def test_points_are_where_their_marks_are_after_augmentation():
    generator = torch.Generator().manual_seed(0)
    images, points = torch.zeros(50, 1, 16, 16, dtype=torch.uint8), torch.randint(16, (50, 3, 2), generator=generator)
    images[torch.arange(50), 0, points[:, 0, 1], points[:, 0, 0]] = 255
    names = ("crop", "flip")
    drawn = torch.rand(50, draws_of(names), dtype=torch.float64, generator=generator)
    seen, moved = augment_samples(images, points.float() + 0.5, names, drawn, Keypoints(NAMES))
    for image, (x, y) in zip(seen[:, 0], moved[:, 0].tolist(), strict=True):
        assert image.any() == (x == x) and (x != x or image[int(y), int(x)] == 255)


def test_a_bundles_options_decode_alike():
    task, outputs, _ = drawn(n=3)
    again = Keypoints(NAMES, **task.decoder())
    np.testing.assert_array_equal(again.decode({LOGITS: outputs}).values, task.decode({LOGITS: outputs}).values)
    assert again.size == task.size and task.output_shapes == {LOGITS: ((6,), (3, None, None))}
    [found, *_] = task.sample_predictions(task.decode({LOGITS: outputs}))
    halved = [Geometry.resized(1, (64, 64), (32, 32))] * 3
    [doubled, *_] = task.sample_predictions(task.decode({LOGITS: outputs}), geometry=halved)
    for name, (x, y) in found.points.items():
        assert doubled.points[name] == pytest.approx((2 * x, 2 * y))
    shown = found.drawn_on(Image.new("L", (64, 64)))
    assert shown.mode == "RGB" and shown.getpixel(tuple(map(round, found.points["right eye"]))) == (0x00, 0x9E, 0x73)
    assert list(found.to_cells()) == [f"{name}.{axis}" for name in NAMES for axis in "xy"]
    assert found.to_text().startswith("nose (") and len(found.to_json()["points"]["nose"]) == 2


def test_losses_take_what_is_known():
    task, outputs, points = drawn()
    targets = {name: torch.tensor(each) for name, each in task.targets(points).items()}
    student = torch.tensor(outputs, requires_grad=True)
    losses = task.loss({LOGITS: student}, targets) | task.soft_loss({LOGITS: student}, {LOGITS: student + 1}, targets)
    assert all(bool(each.isfinite()) and float(each.detach()) > 0 for each in losses.values())
    assert task.divergence({LOGITS: student}, {LOGITS: student + 1}).tolist() == pytest.approx([3] * 200, rel=1e-4)


def test_targets_of_coco_and_those_that_cannot_be():
    hidden = np.array([[[1, 2, 1]]])
    assert Keypoints.read_targets(hidden, 1, "").tolist() == [[[1, 2]]]
    raw = np.array([[[1, 2, 2], [3, 4, 0]]])
    stored = Keypoints.read_targets(raw, 1, "")
    assert stored[0, 0].tolist() == [1, 2] and np.isnan(stored[0, 1]).all()
    assert Keypoints.numbered(stored, "") == ("point 0", "point 1")
    for wrong, said in (
        (np.zeros((1, 4)), "expected x and y of each point for each image"),
        (np.array([[[1, np.nan]]]), "set: row 0 (from 0), point 0 has only one of x and y"),
        (np.array([[[1, 2, 2], [1, 2, 3]]]), "set: row 0 (from 0), point 1 has 3 behind x and y; give 0 where"),
        (np.array([[[1, 2, np.nan]]]), "set: row 0 (from 0), point 0 has nan behind x and y"),
        (np.array([[[1, 2, 0]]]), "set: row 0 (from 0) is nan, nan, nothing but NaN; drop the row"),
    ):
        with pytest.raises(DataError, match=re.escape(said)):
            Keypoints.read_targets(wrong, 1, "set")


def test_what_a_report_shows(capsys):
    task, outputs, points = drawn()
    both = [NamedPredictions(n, task.decode({LOGITS: s * outputs})) for n, s in (("float", 1.0), ("int8", 1.2))]
    found = task.breakdown(*both, task.targets(points), "onnxruntime")
    assert task.breakdown_from_json(found.to_json()) == found and len(found.lost()) == 3 and not found.panel().shots
    photo = np.zeros((3, 40, 40), np.uint8)
    over = task.breakdown(*both, task.targets(points), "onnxruntime", lambda samples: [photo] * len(samples))
    assert over.lost() == found.lost() and task.breakdown_from_json(over.to_json()) == over
    assert [shot.caption.split(",")[0] for shot in over.panel().shots] == ["points", "float", "int8"] * 3
    assert [each.name for each in found.values] == list(NAMES) and found.panel().groups
    there = {"left": 0, "top": 0, "across": 1, "down": 1}
    exec(task.code("python"), {"labels": NAMES, "logits": outputs[0], **there})
    printed = [[float(word) for word in line.split()[-2:]] for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(printed, task.decode({LOGITS: outputs}).values[0], rtol=1e-5)


def test_images_are_alike_where_all_points_are_near():
    task, outputs, _ = drawn(n=3)
    moved = outputs.copy()
    moved[1, 0] += 0.2 * task.size / task.deviation[0]
    moved[2, 4] = np.nan
    ours, theirs = (task.decode({LOGITS: each}) for each in (outputs, moved))
    assert task.agree(ours, theirs).tolist() == [True, False, False]
    assert task.settled({LOGITS: outputs}, {LOGITS: 1e-3}).all()
    assert not task.settled({LOGITS: outputs}, {LOGITS: 1.0}).any()
