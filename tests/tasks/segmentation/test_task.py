import re
from io import BytesIO

import numpy as np
import pytest
from onnx import TensorProto, checker, helper
from onnxruntime import InferenceSession
from PIL import Image

from edgekd.errors import DataError, ModelError
from edgekd.geometry import Geometry
from edgekd.tasks.breakdown import NamedPredictions
from edgekd.tasks.registry import TASKS
from edgekd.tasks.segmentation import Segmentation
from edgekd.tasks.segmentation.by_class import MaskBreakdown
from edgekd.tasks.segmentation.masks import palette
from edgekd.tasks.signature import Signature, TensorSpec
from tests.tasks.segmentation.drawn import CLASSES, drawn, partly

NAMES = tuple("abcd")
TASK = Segmentation(NAMES)


def test_it_is_registered_and_decodes_alike_from_a_bundle():
    again = TASKS.find("segmentation")(NAMES, **TASK.decoder())
    _, logits = drawn(3)
    assert TASK.agree(TASK.decode({"logits": logits}), again.decode({"logits": logits})).all()
    assert TASK.is_finite(TASK.to_rows({"logits": logits}))


def test_targets_of_users():
    masks, _ = drawn(3)
    signed = masks.astype(np.int64)
    signed[0, 0, 0] = -1
    stored = TASK.read_targets(signed, 3, "f")
    assert stored.dtype == np.uint8 and stored[0, 0, 0] == 255
    assert TASK.numbered(stored, "f") == ("0", "1", "2", "3")
    assert TASK.known(stored).all() and not TASK.known(TASK.unknown(stored, 2)).any()
    assert not TASK.contradict(stored[0], masks[0]) and TASK.contradict(masks[0], masks[1])
    assert TASK.describe(masks[0]).startswith("'a'")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (np.zeros((3, 4)), "f gives 3 samples and masks of shape (3, 4) (float64); expected the index of a class"),
        (np.full((3, 4, 4), 300), "f: a pixel is 300; expected the index of a class"),
    ],
)
def test_targets_that_are_no_masks(raw, said):
    with pytest.raises(DataError, match=re.escape(said)):
        TASK.read_targets(raw, 3, "f")


def test_classes_beyond_the_names_and_classes_without_a_pixel(capsys):
    masks, _ = drawn(3)
    masks[1, 2, 3] = 7
    with pytest.raises(DataError, match="f: mask 1 has the class 7 at x 3, y 2, and there are the classes 0 to 3"):
        TASK.must_be_named(masks, "f")
    TASK.must_be_learnable(masks, "f")
    assert not capsys.readouterr().err
    TASK.must_be_learnable(np.where(masks == 3, 0, masks), "f")
    said = "f: no pixel of the training masks is 'd', so that none can be found; add some"
    assert said in capsys.readouterr().err
    with pytest.raises(DataError, match="f: no pixel of the training masks counts; add some"):
        TASK.must_be_learnable(np.full_like(masks, 255), "f")
    with pytest.raises(DataError, match="the task is segmentation"):
        TASK.must_be_learnable(np.zeros(3, int), "f")


def test_networks_that_are_not_its_own():
    targets = TASK.targets(drawn(3)[0])

    def signature(*shape: int) -> Signature:
        return Signature((TensorSpec("input", (3, 16, 16)),), (TensorSpec("logits", shape),))

    TASK.check(signature(4, 16, 16), targets)
    for shape in ((4,), (5, 16, 16)):
        with pytest.raises(ModelError, match=re.escape("shape (4, any, any), a logit for each class at each")):
            TASK.check(signature(*shape), targets)
    with pytest.raises(DataError, match="masks have the class 3, and there are the classes 0 to 2"):
        Segmentation(NAMES[:3]).check_targets(targets)
    with pytest.raises(ModelError, match="dice_weight is -1"):
        Segmentation(NAMES, dice_weight=-1)


def test_pixels_below_0_are_not_known_either():
    masks, logits = drawn(3)
    negative = np.where(masks == 2, -1, masks.astype(np.int64))
    given = [TASK.targets(each) for each in (negative, np.where(masks == 2, 255, masks))]
    TASK.check_targets(given[0])
    predictions = TASK.decode({"logits": logits})
    for metric in TASK.metrics:
        ours, theirs = (metric.evidence(predictions, each).arrays() for each in given)
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_masks_move_with_their_images():
    masks, _ = drawn(2)
    flip = Geometry(np.tile([-1.0, 1], (2, 1)), np.tile([16.0, 0], (2, 1)), (16, 16), (16, 16))
    assert (TASK.move_targets(masks, flip) == masks[:, :, ::-1]).all()


def test_predictions_of_samples():
    masks, logits = drawn(2, noise=0)
    predictions = TASK.decode({"logits": logits})
    found = TASK.sample_predictions(predictions)[0]
    assert found.to_json()["shares"]["a"] == pytest.approx((masks[0] == 0).mean())
    assert found.to_text().startswith("a ") and found.to_cells()["shares"].startswith("a=")
    image = Image.open(BytesIO(found.to_files()["mask.png"]))
    assert image.mode == "P" and (np.asarray(image) == masks[0]).all()
    shown = np.asarray(found.drawn_on(Image.new("L", (16, 16), 100)))
    assert (np.abs(shown - (50 + palette(NAMES)[masks[0]] / 2.0)) <= 1).all()
    assert image.getpalette()[: 3 * CLASSES] == palette(NAMES)[:CLASSES].ravel().tolist()
    larger = Geometry.resized(1, (32, 32), (16, 16))
    [first, _] = TASK.sample_predictions(predictions, geometry=[larger, larger])
    assert first.mask.shape == (32, 32) and (first.mask[::2, ::2] == masks[0]).all()


def test_colours_are_pascal_vocs_and_only_a_background_is_black():
    colours = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert palette(["__background__", "b", "c", "d"])[:4].tolist() == colours
    assert palette(["sky", "background", "c"])[:3].tolist() == colours[1:]
    assert len(np.unique(palette(["sky"] * 255)[:255], axis=0)) == 255


def test_what_is_not_finite_agrees_with_nothing():
    _, logits = drawn(3)
    logits[1] = np.nan
    assert TASK.agree(TASK.decode({"logits": logits}), TASK.decode({"logits": logits})).tolist() == [True, False, True]


def test_a_file_that_decodes_gives_the_same_classes():
    _, logits = drawn(3)
    logits[1, 0, 0, 0], logits[1, 1, 1, 1], logits[2, 2, 2, 2] = np.nan, np.inf, -np.inf
    logits[0, :, 3, 3] = 0
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *logits.shape[1:]]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "logits", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    written = TASK.decoded_graph(model)
    checker.check_model(written, full_check=True)
    session = InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
    [rows] = session.run(["classes"], {"x": logits})
    assert (rows == TASK.decode({"logits": logits}).classes).all() and (rows == 255).sum() == 3
    alike, compared = TASK.same_decoded(rows, {"logits": logits}, 1e-3)
    assert alike.all() and compared == rows.size - 1
    # An auxiliary head in front of the logits is left out.
    other = helper.make_tensor_value_info("aux", TensorProto.FLOAT, ["n", CLASSES, 2, 2])
    several = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["logits"]), helper.make_node("Identity", ["z"], ["aux"])],
        "heads",
        [values[0], helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", CLASSES, 2, 2])],
        [other, helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", *logits.shape[1:]])],
    )
    both = TASK.decoded_graph(helper.make_model(several, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    checker.check_model(both, full_check=True)
    session = InferenceSession(both.SerializeToString(), providers=["CPUExecutionProvider"])
    [same] = session.run(None, {"x": logits, "z": np.zeros((3, CLASSES, 2, 2), np.float32)})
    assert (same == rows).all()
    rows[0, 3, 3], rows[1, 0, 0], rows[2, 5, 5] = 1, 0, (rows[2, 5, 5] + 1) % CLASSES
    assert TASK.same_decoded(rows, {"logits": logits}, 1e-3)[0].tolist() == [True, False, False]
    assert not TASK.same_decoded(rows[:, 1:], {"logits": logits}, 1e-3)[0].any()
    with pytest.raises(ModelError, match="opset 13 or above, not of 12"):
        model.opset_import[0].version = 12
        TASK.decoded_graph(model)


def test_what_is_settled_agrees():
    _, logits = drawn(40, noise=0.05)
    settled = TASK.settled({"logits": logits}, {"logits": 0.1})
    moved = logits + np.random.default_rng(0).uniform(-0.05, 0.05, logits.shape)
    assert settled.all()
    assert TASK.agree(TASK.decode({"logits": logits}), TASK.decode({"logits": moved}))[settled].all()
    assert not TASK.settled({"logits": drawn(5, noise=2)[1]}, {"logits": 1}).any()


def test_class_by_class():
    masks, logits = drawn(20)
    worse = logits.copy()
    worse[:, 2] -= 2
    before, after = (
        NamedPredictions(name, TASK.decode({"logits": each})) for name, each in (("x", logits), ("y", worse))
    )
    found = TASK.breakdown(before, after, TASK.targets(partly(masks)), "r")
    assert MaskBreakdown.from_json(found.to_json()) == found
    assert found.changed[0][0].name == "c"
    [lost] = [each for each in found.lost() if "'c'" in each.message]
    assert lost.code == "class_lost"
    panel = found.panel()
    assert len(panel.shots) == 12 and panel.short.startswith("Of 4 classes")
    assert panel.colours[0] in (("#800000", "a"), ("#008000", "b"), ("#808000", "c"), ("#000080", "d"))
    photo = np.zeros((1, *masks.shape[1:]), np.uint8)
    over = TASK.breakdown(before, after, TASK.targets(partly(masks)), "r", lambda samples: [photo] * len(samples))
    assert [shot.png for shot in over.panel().shots] == [shot.png for shot in panel.shots]
    assert all(shot.fills and shot.photo for shot in over.panel().shots)
    details = TASK.details({"logits": logits}, TASK.targets(masks)).to_json()
    assert len(details["iou_by_class"]) == 4 and 0.5 < details["pixel_accuracy"] < 1
