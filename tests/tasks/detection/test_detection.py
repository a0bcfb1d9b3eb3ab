"""The task as stages, evaluations and bundles use it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import TensorProto, checker, helper
from onnxruntime import InferenceSession
from PIL import Image

from edgekd.data import Data, load_data
from edgekd.errors import DataError, ModelError, TrainingError
from edgekd.geometry import Geometry
from edgekd.models import build
from edgekd.quantize import prepare
from edgekd.quantize.sensitivity import output_layers
from edgekd.tasks.detection import Detection
from edgekd.tasks.detection.boxes import suppress
from edgekd.tasks.detection.targets import padded
from tests.tasks.detection.drawn import heads
from tests.tasks.detection.networks import settled

NAMES = ("a", "b", "c")
SHAPE = (3, 32, 32)


def stored():
    return padded([[[0, 4, 4, 20, 20], [-4, 20, 20, 30, 30]], np.zeros((0, 5))])


def outputs(network, n=2):
    torch.manual_seed(1)
    with torch.no_grad():
        return network(torch.rand(n, *SHAPE))


def test_arrays_and_tensors_have_one_common_form_for_every_family():
    task = Detection(NAMES)
    for name in ("pyramid_detector", "torchvision/detection/ssdlite320_mobilenet_v3_large"):
        found = outputs(settled(build(name, SHAPE, len(NAMES))))
        from edgekd.tasks.detection.train import merged

        ours = task.merged({key: value.numpy() for key, value in found.items()})
        np.testing.assert_allclose(ours, merged(found, 3).numpy(), rtol=1e-4, atol=1e-4)
    scores, deltas = (found[key] for key in ("scores", "deltas"))
    np.testing.assert_allclose(1 / (1 + np.exp(-ours[..., 4:])), scores.softmax(-1)[..., 1:], rtol=1e-4, atol=1e-6)
    from torchvision.models.detection._utils import BoxCoder

    expected = BoxCoder((10, 10, 5, 5)).decode_single(deltas[0], found["anchors"][0])
    np.testing.assert_allclose(ours[0, :, :4], expected, rtol=1e-4, atol=1e-3)


def test_suppression_is_torchvisions():
    from torchvision.ops import batched_nms

    random = np.random.default_rng(0)
    corners = random.uniform(0, 20, (60, 2))
    boxes = np.hstack([corners, corners + random.uniform(2, 12, (60, 2))]).astype(np.float32)
    scores, classes = random.random(60).astype(np.float32), random.integers(0, 3, 60)
    ours = suppress(boxes, scores, classes, 0.4)
    assert ours.tolist() == batched_nms(*map(torch.from_numpy, (boxes, scores, classes)), 0.4).tolist()


def test_a_network_that_gives_the_objects_has_full_marks_and_agrees_with_itself():
    task, targets = Detection(NAMES), Detection(NAMES).targets(stored())
    maps = {"cls.8": np.full((2, 3, 4, 4), -9.0, np.float32), "box.8": np.zeros((2, 4, 4, 4), np.float32)}
    maps["cls.8"][0, 0, 1, 1], maps["box.8"][0, :, 1, 1] = 3, 1  # middle at 12, a stride to each side
    found = task.decode(maps)
    assert {metric.name: metric.evidence(found, targets).value() for metric in task.metrics} == {
        "box_map": 1, "box_map50": 1, "box_recall": 1, "box_f1": 1,
    }  # fmt: skip
    assert task.agree(found, found).all() and task.settled(maps, {"cls.8": 1.0, "box.8": 9.0}).all()
    [first, second] = task.sample_predictions(found)
    assert first.to_text() == "1 object: a 95.3 % at (4, 4)–(20, 20)" and second.to_text() == "no object"
    many = replace(first, boxes=first.boxes * 9).to_text()
    assert many.startswith("9 objects: a 95.3 %") and many.count(" at ") == 6 and many.endswith("(20, 20) and 3 more")
    assert first.to_json() == {
        "objects": [{"category_id": 1, "label": "a", "bbox": [4, 4, 16, 16], "score": pytest.approx(0.952574)}]
    }
    [numbered, _] = replace(task, categories=(17, 3, 90)).sample_predictions(found)
    assert [each["category_id"] for each in numbered.to_json()["objects"]] == [17]
    assert Detection(NAMES, categories=[1, 2, 3]) == task and "categories" not in task.decoder()
    assert first.to_cells() == {"objects": "1", "labels": "a", "scores": "0.952574", "boxes": "4.00 4.00 20.00 20.00"}
    larger = Geometry.resized(1, (64, 64), (32, 32))
    assert task.sample_predictions(found, geometry=[larger] * 2)[0].boxes[0].box == (8, 8, 40, 40)
    grey = Image.new("L", (160, 64), 100)
    shown = first.drawn_on(grey)
    assert (shown.size, shown.mode, shown.getpixel((4, 18))) == (grey.size, "RGB", (0x56, 0xB4, 0xE9))
    assert second.drawn_on(grey).getcolors() == [(160 * 64, (100, 100, 100))]
    # Of a letterboxed image, whose pixels begin 12 further down, the upper half of the box is on the grey.
    below = Geometry.resized(1, (8, 32), (32, 32), (0, 12, 32, 8))
    assert task.sample_predictions(found, geometry=[below] * 2)[0].boxes[0].box == (4, 0, 20, 8)
    beyond = Geometry.resized(1, (8, 32), (32, 32), (0, 20, 32, 8))
    [left_out, _] = task.sample_predictions(found, geometry=[beyond] * 2)
    assert left_out.boxes == () and left_out.kept[0].box == (4, -16, 20, 0)
    maps["cls.8"][1, 0, 0, 0] = np.nan
    assert task.decode(maps).classes[1].max() == -1 and not task.is_finite(task.to_rows(maps))


@pytest.mark.parametrize("family", ["maps", "bins", "ssd", "fcos", "retinanet"])
def test_the_program_of_a_model_card_gives_the_same_boxes(family, capsys):
    task, outputs = Detection(NAMES, threshold=0.4, iou=0.5), heads(family)
    shapes = {name: each.shape[1:] for name, each in outputs.items()}
    there = {"left": 3, "top": -2, "across": 0.5, "down": 0.25, "width": 60, "height": 100}
    given = {name: each[0] for name, each in outputs.items()}
    exec(task.code("python", shapes), {"np": np, "labels": NAMES, "outputs": given, **there})
    way = Geometry(np.array([[0.5, 0.25]]), np.array([[3.0, -2.0]]), (100, 60), (32, 32))
    [expected] = task.sample_predictions(task.decode(outputs), geometry=[way])
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert len(expected.boxes) > 5 and [label for label, *_ in printed] == [each.label for each in expected.boxes]
    found = np.array([numbers for _, *numbers in printed], float)
    np.testing.assert_allclose(found, [[each.score, *each.box] for each in expected.boxes], rtol=1e-4, atol=1e-4)
    assert task.code("cpp", shapes) == ""


def test_the_losses_teach_boxes_and_scores():
    task = Detection(NAMES)
    targets = task.targets(torch.from_numpy(stored()))
    torch.manual_seed(0)
    student = build("pyramid_detector", SHAPE, 3, width=8)
    teacher = outputs(settled(build("torchvision/detection/ssdlite320_mobilenet_v3_large", SHAPE, 3)))
    x, optimizer = torch.rand(2, *SHAPE), torch.optim.Adam(student.parameters(), 0.01)
    losses = []
    for _ in range(25):
        terms = task.loss(student(x), targets)
        losses.append(float(sum(terms.values()).detach()))
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 2
    with pytest.raises(TrainingError, match="label_smoothing is 0.1, and a detector learns scores by how well its box"):
        task.loss(student(x), targets, label_smoothing=0.1)
    found = student(x)
    assert all(float(each.detach()) == pytest.approx(0, abs=1e-6) for each in task.soft_loss(found, found, {}).values())
    assert task.divergence(found, found).abs().max() < 1e-6
    # A teacher of another family looks elsewhere.
    assert all(each.isfinite() and each.requires_grad for each in task.soft_loss(found, teacher, {}).values())


def test_a_teachers_box_teaches_only_where_it_finds_something():
    teacher = {"cls.8": torch.full((1, 3, 4, 4), -2.0), "box.8": torch.zeros(1, 4, 4, 4)}
    teacher["box.8"][0, :, 1, 1] = 1  # The only box with an area that its score is sure of.
    teacher["box.8"][0, :, 2, 2], teacher["cls.8"][0, :, 2, 2] = 1, -9
    student = {"cls.8": teacher["cls.8"], "box.8": torch.full((1, 4, 4, 4), 1e-4, requires_grad=True)}
    Detection(NAMES).soft_loss(student, teacher, {})["boxes"].backward()
    steepest = student["box.8"].grad.abs().amax(1)[0]
    assert steepest.nonzero().tolist() == [[1, 1]] and 0 < steepest.max() < 1


def test_rows_that_fill_up_may_hold_anything():
    found = outputs(build("pyramid_detector", SHAPE, 3, width=8))
    rows, losses = stored(), []
    for filler in (0, -1, np.nan):
        rows[rows[..., 0] == -1, 1:] = filler
        read = Detection.read_targets(rows, 2, "x")
        terms = Detection(NAMES).loss(found, Detection(NAMES).targets(torch.from_numpy(read)))
        losses.append([float(each) for each in terms.values()])
    assert losses[0] == losses[1] == losses[2] and np.isfinite(losses).all()


def test_what_nobody_annotated_and_what_is_ignored_teach_nothing():
    task, network = Detection(NAMES), settled(build("pyramid_detector", SHAPE, 3, width=8))
    found = outputs(network)
    unknown = task.unknown(stored(), 2)
    assert not task.known(unknown).any() and task.known(stored()).all()
    assert all(float(each) == 0 for each in task.loss(found, task.targets(torch.from_numpy(unknown))).values())
    for kind in (-2, -32768):
        ignored = torch.from_numpy(padded([[[kind, 0, 0, 32, 32]], [[kind - 2, 0, 0, 32, 32]]]))
        assert task.targets(ignored)["classes"].tolist() == [[0], [2]]
        assert all(float(each) == 0 for each in task.loss(found, task.targets(ignored)).values())


def test_objects_move_with_their_images():
    moved = Detection.move_targets(
        stored(), Geometry(np.array([[-1.0, 1], [1, 1]]), np.array([[32.0, 0]] * 2), *[(32, 32)] * 2)
    )
    assert moved[0].tolist() == [[0, 12, 4, 28, 20], [-4, 2, 20, 12, 30]] and (moved[1, :, 0] == -1).all()
    shifted = Detection.move_targets(stored(), Geometry(np.ones((2, 2)), np.array([[-18.0, 0]] * 2), *[(32, 32)] * 2))
    # An eighth of the first is left.
    assert shifted[0].tolist() == [[-2, 0, 4, 2, 20], [-4, 2, 20, 12, 30]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[[0, 4, 4, 4, 20]]], "object 0 of image 0 has the corners"),
        ([[[0.5, 4, 4, 9, 20]]], "has the class 0.5"),
        ([[[0, np.nan, 4, 9, 20]]], "is not finite"),
        ([[0, 1, 2, 3]], r"shape \(1, 4\)"),
    ],
)
def test_targets_that_are_none_are_refused(rows, message):
    with pytest.raises(DataError, match=message):
        Detection.read_targets(np.array(rows, float), 1, "x")


@pytest.mark.parametrize("size", [None, 16])
def test_a_box_of_an_archive_lies_in_its_image_or_is_named(size, tmp_path):
    images, boxes = np.zeros((6, 32, 32, 3), np.uint8), np.tile(stored()[:1], (6, 1, 1))
    boxes[:, 1, 3] = 32.5  # rounded by a tool
    archive = {"train_x": images, "train_y": boxes, "test_x": images, "test_y": boxes.copy(), "classes": NAMES}
    archive["test_y"][4, 0, 1:] = 4, 4, 20, 60
    np.savez(tmp_path / "boxes.npz", **archive)
    where = r"boxes\.npz: test_y: object 0 of image 4 has the box \(4, 4\)–\(20, 60\), which lies outside of its image "
    with pytest.raises(DataError, match=where + "of 32x32 pixels: clip it"):
        load_data(Data(source="npz", path=tmp_path / "boxes.npz", image_size=size), kind=Detection)
    archive["test_y"][4, 0, 1:] = 32.2, 4, 32.8, 20  # within what tools round, and no part of it is in the image
    np.savez(tmp_path / "boxes.npz", **archive)
    with pytest.raises(DataError, match=r"object 0 of image 4 has the box \(32.2, 4\)–\(32.8, 20\), which lies"):
        load_data(Data(source="npz", path=tmp_path / "boxes.npz", image_size=size), kind=Detection)
    there = archive["test_y"][..., 0] != -1
    archive["test_y"][there, 1:] = 0.1, 0.2, 0.5, 1.0
    np.savez(tmp_path / "boxes.npz", **archive)
    with pytest.raises(DataError, match="test_y: all boxes lie within one pixel, as shares of an image's sides would"):
        load_data(Data(source="npz", path=tmp_path / "boxes.npz", image_size=size), kind=Detection)


def test_networks_and_options_that_do_not_fit_are_refused():
    task = Detection(NAMES)
    with pytest.raises(ModelError, match="a detector gives maps"):
        task.merged({"logits_1": np.zeros((1, 3))})
    with pytest.raises(ModelError, match="scores of 4 classes, and there are 3"):
        task.check_outputs({"cls.8": torch.zeros(1, 4, 2, 2), "box.8": torch.zeros(1, 4, 2, 2)}, "net")
    with pytest.raises(ModelError, match="after a sigmoid"):
        task.check_outputs({"cls.8": torch.rand(2, 3, 2, 2), "box.8": torch.zeros(2, 4, 2, 2)}, "net")
    with pytest.raises(ModelError, match="threshold of the detector's decoder is 1"):
        Detection(NAMES, threshold=1.0)
    with pytest.raises(ModelError, match="threshold of .* is 0.02, and it drops boxes below its score, 0.05"):
        Detection(NAMES, threshold=0.02)
    with pytest.raises(ModelError, match=r"categories of the detector's decoder are \[3, 3, 7\]; give an id for each"):
        Detection(NAMES, categories=(3, 3, 7))


def test_a_prepared_detector_keeps_its_outputs_names_and_knows_which_layers_give_them():
    network = settled(build("pyramid_detector", SHAPE, 3, width=8))
    graph = prepare(network, SHAPE, "onnxruntime-x86")
    found = output_layers(graph)
    assert sorted(found) == [f"heads.{level}.{kind}.1" for level in (0, 1) for kind in ("box", "cls")]
    assert list(outputs(graph)) == ["cls.8", "box.8", "cls.16", "box.16"]


@pytest.mark.parametrize("family", ["maps", "bins", "ssd", "fcos", "retinanet"])
def test_a_file_that_suppresses_boxes_gives_those_of_the_decoder(family):
    outputs = heads(family, n=3)
    names = [f"given.{name}" for name in outputs]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", [given], [name]) for given, name in zip(names, outputs, strict=True)],
            "heads",
            *(
                [
                    helper.make_tensor_value_info(each, TensorProto.FLOAT, ["batch", *array.shape[1:]])
                    for each, array in zip(sort, outputs.values(), strict=True)
                ]
                for sort in (names, outputs)
            ),
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    for options in ({}, {"iou": 0.3, "detections": 7, "candidates": 20}, {"score": 0.0, "candidates": 5000}):
        task = Detection(NAMES, **options)
        written = task.decoded_graph(model)
        checker.check_model(written, full_check=True)
        session = InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
        [found] = session.run(["detections"], dict(zip(names, outputs.values(), strict=True)))
        expected = task.to_rows(outputs)[:, : found.shape[1]]
        assert (expected[..., 5] >= 0).sum() > 10
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        alike, compared = task.same_decoded(found, outputs, 1e-3)
        assert alike.all() and compared == (expected[..., 5] >= 0).sum()
    for name, each in outputs.items():
        for value in (np.nan, np.inf, -np.inf):
            broken = {**outputs, name: each.copy()}
            broken[name][1].flat[-1] = value
            [rows] = session.run(["detections"], dict(zip(names, broken.values(), strict=True)))
            assert (rows[1, :, 5] == -1).all() and (rows[[0, 2]] == found[[0, 2]]).all()
            np.testing.assert_array_equal(rows[1], task.to_rows(broken)[1, : rows.shape[1]])
    for changed in (
        found * (1, 1, 1, 1, 0.9, 1),
        found + np.array([0.1, 0, 0, 0, 0, 0]),
        found * (1, 1, 1, 1, 1, 0),
        found[:, 5:],
    ):
        assert not task.same_decoded(changed, outputs, 1e-3)[0].any()
    assert not task.same_decoded(found[..., :5], outputs, 1e-3)[0].any()
    with pytest.raises(ModelError, match="opset 13 or above, not of 12"):
        model.opset_import[0].version = 12
        task.decoded_graph(model)


def test_images_by_which_nothing_can_be_judged_are_refused_before_any_training(tmp_path):
    images, boxes = np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), np.uint8), np.full((40, 1, 5), -1.0)
    held_out = torch.randperm(40, generator=torch.Generator().manual_seed(0))[:4].tolist()
    first, second = sorted(set(range(40)) - set(held_out))[:2]
    boxes[first, 0] = [0, 4, 4, 20, 20]
    archive = {"train_x": images, "train_y": boxes, "test_x": images[:5], "test_y": boxes[[first] * 5]}

    def load(seed=0):
        np.savez(tmp_path / "a.npz", **archive)
        return load_data(Data(source="npz", path=tmp_path / "a.npz"), seed, Detection)

    with pytest.raises(DataError, match=r"a\.npz: no validation image has an object, .*: add some, or raise data"):
        load()
    # Of two images with an object each part has one, though they are two of forty.
    boxes[second, 0] = [0, 4, 4, 20, 20]
    for seed in range(4):
        parts = (getattr(load(seed), part).labels[..., 0] for part in ("train", "validation"))
        assert [int((each >= 0).sum()) for each in parts] == [1, 1]
    archive["test_y"] = np.full((5, 1, 5), -1.0)
    with pytest.raises(DataError, match=r"a\.npz: no test image has an object, so that nothing can be measured: add s"):
        load()


@pytest.mark.parametrize("family", ["maps", "ssd", "fcos", "retinanet"])
def test_of_what_is_settled_no_score_crosses_the_threshold(family):
    """Whichever way the outputs differ: of a softmax one class rises while all others fall."""
    task, within, n = Detection(NAMES), 0.2, 200
    outputs = {name: each[:, :1] if each.ndim == 3 else each[..., :1, :1] if each.ndim == 4 else each
               for name, each in heads(family, n).items()}  # fmt: skip
    is_settled = task.settled(outputs, dict.fromkeys(outputs, within))
    was = task.merged(outputs)[..., 4:] > 0  # the logit of the threshold of 0.5
    for sign, kind in ((sign, kind) for sign in (-1, 1) for kind in range(4)):
        moved = dict(outputs)
        for name in ("scores", "centerness", "cls.8", "cls.16"):
            if name in outputs:
                axis = 1 if name.startswith("cls") else 2
                tilt = np.full(outputs[name].shape[axis], sign if name == "centerness" else -sign, np.float32)
                tilt[min(kind, len(tilt) - 1)] = sign
                moved[name] = outputs[name] + within * tilt.reshape(-1, *(1,) * (outputs[name].ndim - 1 - axis))
        same = ((task.merged(moved)[..., 4:] > 0) == was).all((1, 2))
        assert same[is_settled].all() and not same.all()
    assert 20 < is_settled.sum() < n
