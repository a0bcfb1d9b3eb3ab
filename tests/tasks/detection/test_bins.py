"""Sides of boxes as distributions over bins: decoding, losses, and a network that has them."""

import json
from functools import cache

import numpy as np
import onnxruntime
import pytest
import torch

from edgekd.distill import LossSpec, build_terms
from edgekd.distill.losses.ld import LD
from edgekd.errors import ModelError, TrainingError
from edgekd.export import export_onnx
from edgekd.models import build, count_macs
from edgekd.models.signature import find_signature
from edgekd.preprocess import Preprocess
from edgekd.prune import apply_plan, prune
from edgekd.quantize import calibrate, prepare
from edgekd.quantize.files import to_runtime
from edgekd.quantize.qdq import to_qdq
from edgekd.tasks.detection import Detection
from edgekd.tasks.detection.targets import padded
from edgekd.tasks.detection.train import detection_loss, merged
from edgekd.tasks.detection.train.assignment import assign
from edgekd.tasks.detection.train.bins import distribution_focal_loss, ld_loss
from edgekd.tasks.detection.train.heads import anchor_points
from tests.distill.losses import properties
from tests.tasks.detection.drawn import heads
from tests.tasks.detection.networks import settled

NAMES, SHAPE = ("a", "b", "c"), (3, 32, 32)
RANDOM = np.random.default_rng(0)


def softmax(logits, axis=-1):
    powers = np.exp(logits - logits.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def tensors(outputs):
    return {name: torch.from_numpy(each) for name, each in outputs.items()}


def positions(outputs):
    """Of each position, level by level and row by row: its stride, its middle, its scores, and its sides' bins."""
    found = []
    for stride in (8, 16):
        scores, bins = outputs[f"cls.{stride}"], outputs[f"bins.{stride}"]
        for row in range(scores.shape[2]):
            for column in range(scores.shape[3]):
                middle = np.array([(column + 0.5) * stride, (row + 0.5) * stride])
                sides = bins[:, :, row, column].reshape(len(bins), 4, -1).astype(np.float64)
                found.append((stride, middle, scores[:, :, row, column], sides))
    return found


def corners(outputs):
    """The boxes (N, positions, 4) in float64."""
    boxes = []
    for stride, middle, _, sides in positions(outputs):
        far = (softmax(sides) * np.arange(sides.shape[-1])).sum(-1) * stride
        boxes.append(np.hstack([middle - far[:, :2], middle + far[:, 2:]]))
    return np.stack(boxes, 1)


def test_boxes_are_the_means_of_their_sides():
    outputs = heads("bins", n=2)
    expected, scores = corners(outputs), np.stack([each[2] for each in positions(outputs)], 1)
    for found in (Detection(NAMES).merged(outputs), merged(tensors(outputs), 3).numpy()):
        np.testing.assert_allclose(found[..., :4], expected, rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(found[..., 4:], scores)


def test_a_certain_side_is_where_its_bin_is():
    outputs = {"cls.8": np.full((1, 3, 4, 4), -9.0, np.float32), "bins.8": np.zeros((1, 12, 4, 4), np.float32)}
    outputs["cls.8"][0, 1, 1, 1] = 3
    # Bins 0 to 2 of the left, top, right and bottom side: 1, 0, 2, and halfway from 1 to 2.
    outputs["bins.8"][0, [1, 3, 8, 10, 11], 1, 1] = 60
    [found] = Detection(NAMES).sample_predictions(Detection(NAMES).decode(outputs))
    assert found.boxes[0].label == "b" and found.boxes[0].box == pytest.approx((4, 12, 28, 24))


def test_maps_that_are_no_distributions_are_refused():
    task, cls = Detection(NAMES), np.zeros((1, 3, 2, 2), np.float32)
    for channels in (4, 6):
        with pytest.raises(ModelError, match=rf"has 4 · bins channels, of 2 bins or more, and this one has {channels}"):
            task.merged({"cls.8": cls, "bins.8": np.zeros((1, channels, 2, 2), np.float32)})
    with pytest.raises(ModelError, match="a detector gives maps 'cls.8'"):
        task.merged({"cls.8": cls, "bins.16": np.zeros((1, 8, 2, 2), np.float32)})
    uneven = {f"cls.{each}": torch.zeros(1, 3, 2, 2) for each in (8, 16)}
    uneven |= {"bins.8": torch.zeros(1, 8, 2, 2), "bins.16": torch.zeros(1, 12, 2, 2)}
    with pytest.raises(ModelError, match="the levels of a detector have 2, 3 bins"):
        task.loss(uneven, task.targets(torch.from_numpy(padded([[[0, 2, 2, 9, 9]]]))))


def test_the_distribution_focal_loss_by_hand():
    logits = RANDOM.normal(size=(7, 5)) * 3
    distances = np.array([0.0, 0.25, 1.0, 2.5, 4.0, 9.0, -2.0])
    log = np.log(softmax(logits))
    expected = -np.array([
        log[0, 0],
        0.75 * log[1, 0] + 0.25 * log[1, 1],
        log[2, 1],
        0.5 * log[3, 2] + 0.5 * log[3, 3],
        *(log[4, 4], log[5, 4], log[6, 0]),
    ])  # fmt: skip
    found = distribution_focal_loss(torch.from_numpy(logits), torch.from_numpy(distances))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_it_is_least_where_the_two_bins_share_the_distance():
    logits = torch.zeros(1, 4, requires_grad=True, dtype=torch.float64)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def step():
        optimizer.zero_grad()
        loss = distribution_focal_loss(logits, torch.tensor([1.3], dtype=torch.float64)).sum()
        loss.backward()
        return loss

    optimizer.step(step)
    assert logits.softmax(1)[0].tolist() == pytest.approx([0, 0.7, 0.3, 0], abs=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 10.0])
def test_localisation_distillation_by_numpy(temperature):
    student, teacher = RANDOM.normal(size=(2, 3, 4, 6)) * 3
    ours, exact = softmax(student / temperature), softmax(teacher / temperature)
    expected = temperature**2 * (exact * (np.log(exact) - np.log(ours))).sum(-1)
    np.testing.assert_allclose(
        ld_loss(torch.from_numpy(student), torch.from_numpy(teacher), temperature), expected, rtol=1e-9
    )
    with pytest.raises(TrainingError, match="temperature must be a finite number above 0, got 0"):
        ld_loss(torch.zeros(2), torch.zeros(2), 0)


@pytest.mark.parametrize("check", properties.CHECKS)
def test_properties_of_the_loss(check):
    check(LD(box_temperature=4.0))


def test_the_loss_of_boxes_has_that_of_their_sides():
    outputs = heads("bins", n=2)
    objects = padded([[[0, 4, 4, 20, 20], [2, 10, 1, 31, 15]], [[1, 0, 0, 32, 32]]])
    targets = Detection(NAMES).targets(torch.from_numpy(objects))
    found = detection_loss(tensors(outputs), targets, 3)
    without = {name.replace("bins", "box"): each for name, each in tensors(outputs).items() if name.startswith("cls")}
    for stride in (8, 16):
        sides = outputs[f"bins.{stride}"]
        logits = sides.reshape(len(sides), 4, -1, *sides.shape[2:])
        means = (softmax(logits, 2) * np.arange(5)[:, None, None]).sum(2)
        without[f"box.{stride}"] = torch.from_numpy(means.astype(np.float32))
    # The other terms are those of the same boxes without distributions.
    plain = detection_loss(without, targets, 3)
    assert sorted(found) == ["bins", "boxes", "scores"] and sorted(plain) == ["boxes", "scores"]
    for name in plain:
        torch.testing.assert_close(found[name], plain[name], rtol=1e-4, atol=1e-5)

    common = merged(tensors(outputs), 3)
    where = anchor_points(tensors(outputs), common)
    learned = assign(
        common[..., :4], common[..., 4:].sigmoid(), where.middles, where.reach, targets["boxes"], targets["classes"]
    )
    weights, boxes, lost = learned.weights.double().numpy(), learned.boxes.double().numpy(), 0.0
    assert (weights > 0).sum() > 4
    for place, (stride, middle, _, sides) in enumerate(positions(outputs)):
        for image in range(2):
            box = boxes[image, place]
            far = np.concatenate([middle - box[:2], box[2:] - middle]) / stride
            for side, bins in zip(far.clip(0, 4), sides[image], strict=True):
                below = min(int(side), 3)
                log = np.log(softmax(bins))
                loss = -((below + 1 - side) * log[below] + (side - below) * log[below + 1])
                lost += weights[image, place] * loss / 4
    assert float(found["bins"]) == pytest.approx(0.25 * lost / max(weights.sum(), 1), rel=1e-4)


def test_boxes_are_distilled_by_their_distributions():
    student, teacher = heads("bins", n=2), heads("bins", n=2, seed=1)
    teacher["cls.8"] -= 4
    task = Detection(NAMES)
    found = task.soft_loss(tensors(student), tensors(teacher), {}, 2.0, 10.0)
    plain = task.soft_loss(tensors(student), tensors(teacher), {}, 2.0)
    assert sorted(found) == ["bins", "scores"] and sorted(plain) == ["boxes", "scores"]
    assert float(found["scores"]) == float(plain["scores"])

    boxes = corners(teacher)
    weights = 1 / (1 + np.exp(-np.stack([each[2].max(1) for each in positions(teacher)], 1).astype(np.float64)))
    teaches = (weights > 0.05) & ((boxes[..., 2:] - boxes[..., :2]) >= 1).all(-1)
    assert 0 < teaches.sum() < teaches.size
    lost = 0.0
    for place, (ours, theirs) in enumerate(zip(positions(student), positions(teacher), strict=True)):
        own, exact = softmax(ours[3] / 10), softmax(theirs[3] / 10)
        apart = 100 * (exact * np.log(exact / own)).sum(-1).mean(-1)
        lost += (apart * weights[:, place] * teaches[:, place]).sum()
    assert float(found["bins"]) == pytest.approx(0.25 * lost / weights.sum(), rel=1e-4)
    by_name = LD(temperature=2.0, task=task).compare(tensors(student), tensors(teacher), None)
    assert float(by_name) == pytest.approx(float(found["bins"] + found["scores"]))


def test_a_teachers_distribution_teaches_only_where_it_finds_something():
    teacher = {"cls.8": torch.full((1, 3, 4, 4), -9.0), "bins.8": torch.zeros(1, 16, 4, 4)}
    teacher["cls.8"][0, :, 1, 1] = teacher["cls.8"][0, :, 2, 2] = -2
    teacher["bins.8"][0, ::4, 2, 2] = 60  # where its box has no area
    student = {"cls.8": teacher["cls.8"], "bins.8": torch.randn(1, 16, 4, 4).requires_grad_()}
    Detection(NAMES).soft_loss(student, teacher, {}, 1.0, 10.0)["bins"].backward()
    assert student["bins.8"].grad.abs().amax(1)[0].nonzero().tolist() == [[1, 1]]


def networks(**bins):
    return [build("pyramid_detector", SHAPE, 3, width=8, bins=each).eval() for each in bins.values()]


def test_a_recipe_that_asks_for_distributions_of_networks_without_is_refused():
    task = Detection(NAMES)
    [term] = build_terms([LossSpec("ld")], *networks(ours=8, theirs=8), SHAPE, temperature=2.0, task=task)
    assert (term.loss.temperature, term.loss.box_temperature, term.weight) == (2.0, 10.0, 1.0)
    for bins, message in (
        ({"ours": 8, "theirs": 16}, r"gives 'bins.8' \(32x4x4\), 'bins.16' \(32x2x2\), and the teacher 'bins.8' \(64x"),
        ({"ours": 8, "theirs": None}, r"and the teacher 'box.8' \(4x4x4\), 'box.16' \(4x2x2\); distributions of"),
    ):
        with pytest.raises(ModelError, match=message):
            build_terms([LossSpec("ld")], *networks(**bins), SHAPE, task=task)
        # By their overlap they can be compared.
        build_terms([LossSpec("kd")], *networks(**bins), SHAPE, task=task)
    pair = [build("resnet8", SHAPE, 10) for _ in range(2)]
    with pytest.raises(TrainingError, match="ld compares boxes, and this network gives classes: use kd"):
        build_terms([LossSpec("ld")], *pair, SHAPE)


def squares(count=8):
    """Light squares on grey: images and stored objects."""
    images, rows = torch.full((count, *SHAPE), 0.3), []
    for image in images:
        side = int(RANDOM.integers(8, 16))
        left, top = (int(each) for each in RANDOM.integers(0, 32 - side, 2))
        image[:, top : top + side, left : left + side] = 1
        rows.append([[0, left, top, left + side, top + side]])
    return images, torch.from_numpy(padded(rows))


@cache
def trained():
    """A network with bins that has learned squares, the losses of its steps, and what it gives for them."""
    torch.manual_seed(0)
    task, network = Detection(("square",)), build("pyramid_detector", SHAPE, 1, width=8, bins=8)
    images, stored = squares()
    optimizer, losses = torch.optim.Adam(network.parameters(), 0.01), []
    for _ in range(30):
        terms = task.loss(network(images), task.targets(stored))
        losses.append({name: float(each.detach()) for name, each in terms.items()})
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
    with torch.no_grad():
        return network, losses, images, {name: each.numpy() for name, each in network.eval()(images).items()}


def outputs_of(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": images.numpy()}), strict=True))


def test_a_network_with_bins_learns():
    _, losses, _, _ = trained()
    assert losses[-1]["bins"] < 0.8 * losses[0]["bins"] and losses[-1]["boxes"] < losses[0]["boxes"] / 2


def test_it_gives_the_same_in_onnx_runtime_and_nearly_so_in_int8(tmp_path):
    network, _, images, expected = trained()
    signature, scale = find_signature(network, images), Preprocess("image", SHAPE, (0.0,) * 3, (1.0,) * 3)
    exported = outputs_of(export_onnx(network, tmp_path / "float.onnx", scale, inputs=signature), images)
    assert list(exported) == ["cls.8", "bins.8", "cls.16", "bins.16"]
    for name, each in exported.items():
        np.testing.assert_allclose(each, expected[name], atol=1e-4 * np.abs(expected[name]).max())

    graph = prepare(network, signature, "onnxruntime-x86")
    calibrate(graph, [images])
    model = to_runtime(to_qdq(graph, scale, inputs=signature), graph, "onnxruntime-x86", "onnxruntime-x86")
    (tmp_path / "int8.onnx").write_bytes(model.SerializeToString())
    task, quantised = Detection(("square",)), outputs_of(tmp_path / "int8.onnx", images)
    boxes, exact = (task.merged(each)[..., :4] for each in (quantised, expected))
    assert 0 < np.abs(boxes - exact).mean() < 0.5, "pixels"


def test_half_of_it_is_rebuilt_to_the_bit():
    network, _, images, expected = trained()
    pruned = prune(network, SHAPE, macs=0.5, round_to=4)
    assert count_macs(pruned.network, SHAPE) <= 0.5 * count_macs(network, SHAPE)
    fresh = build("pyramid_detector", SHAPE, 1, width=8, bins=8)
    again = apply_plan(fresh, json.loads(json.dumps(pruned.plan)), SHAPE)
    again.load_state_dict(pruned.network.state_dict())
    with torch.no_grad():
        ours, theirs = pruned.network.eval()(images), again.eval()(images)
    assert all(torch.equal(ours[name], theirs[name]) for name in expected)
    assert ours["bins.8"].shape == expected["bins.8"].shape


def test_a_drawn_network_decodes_alike_in_both_arithmetics():
    network = settled(build("pyramid_detector", SHAPE, 3, width=8, bins=16))
    with torch.no_grad():
        found = network(torch.rand(2, *SHAPE))
    ours = Detection(NAMES).merged({name: each.numpy() for name, each in found.items()})
    np.testing.assert_allclose(ours, merged(found, 3).numpy(), rtol=1e-4, atol=1e-3)
