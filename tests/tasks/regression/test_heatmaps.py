"""Heat maps: places between cells against drawn Gaussians, losses against NumPy, and what is refused."""

import re

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, checker, helper
from onnxruntime import InferenceSession

from edgekd.data import Data, load_data
from edgekd.errors import DataError, ModelError
from edgekd.geometry import Geometry
from edgekd.tasks.regression import heatmaps
from edgekd.tasks.regression.keypoints import Keypoints
from edgekd.tasks.regression.train import gaussian_maps
from edgekd.tasks.signature import LOGITS, Signature, TensorSpec

NAMES = ("nose", "left eye", "right eye")
IMAGE, CELLS = (48, 80), (12, 16)  # cells of 5 x 4 pixels
TASK = Keypoints(NAMES, (40.0, 24.0) * 3, (20.0, 12.0) * 3, size=40.0, image=IMAGE, sigma=1.5)


def placed(n: int = 60, seed: int = 0) -> np.ndarray:
    """Points (n, 3, 2) all over the image, up to its edges."""
    return np.random.default_rng(seed).uniform(0, (IMAGE[1], IMAGE[0]), (n, 3, 2))


def gaussians(points: np.ndarray, sigma: float = 1.5) -> np.ndarray:
    """Maps (n, 3, 12, 16), cell by cell from the formula."""
    found = np.zeros((*points.shape[:2], *CELLS))
    for row in range(CELLS[0]):
        for column in range(CELLS[1]):
            x, y = points[..., 0] * CELLS[1] / IMAGE[1], points[..., 1] * CELLS[0] / IMAGE[0]
            found[..., row, column] = np.exp(-((column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2) / (2 * sigma**2))
    return found


@pytest.mark.parametrize("change", ["float64", "half as high", "256 levels"])
def test_a_gaussian_is_found_between_cells_up_to_the_edge(change):
    """Exact in floating-point numbers; to 0.1 cell in 8 bits, which is 0.4 pixels of the smaller side."""
    points = placed(400)
    maps = gaussians(points)
    maps = {"float64": maps, "half as high": maps / 2, "256 levels": np.round(250 * maps) / 250}[change]
    found = TASK.decode({LOGITS: maps})
    within = 0.1 if change == "256 levels" else 1e-4
    np.testing.assert_allclose(found.values / (5, 4), points / (5, 4), atol=within)
    apart = points / (5, 4) - np.floor(points / (5, 4)) - 0.5
    highest = np.exp(-(apart**2).sum(2) / (2 * 1.5**2)) / (2 if change == "half as high" else 1)
    np.testing.assert_allclose(found.scores, highest, atol=3e-3)


def test_values_that_are_no_gaussian_leave_a_point_in_its_cell():
    random = np.random.default_rng(0)
    maps = random.normal(size=(200, 3, *CELLS)).astype(np.float32)
    rows, columns = np.unravel_index(maps.reshape(200, 3, -1).argmax(2), CELLS)
    found = TASK.decode({LOGITS: maps}).values / (5, 4)
    assert (np.abs(found[..., 0] - columns - 0.5) <= 0.5).all() and (np.abs(found[..., 1] - rows - 0.5) <= 0.5).all()
    flat = TASK.decode({LOGITS: np.full((1, 3, *CELLS), -2.0)})
    assert (flat.values == (5, 4)).all() and (flat.scores == -2).all()


def test_maps_that_are_not_finite_predict_nothing():
    maps = gaussians(placed(3))
    maps[1, 2, 3, 4], maps[2, 0, 0, 0] = np.nan, np.inf
    rows = TASK.to_rows({LOGITS: maps})
    assert (rows.shape, rows.dtype) == ((3, 3, 3), np.float32) and not TASK.is_finite(rows)
    lost = np.isnan(rows).all(2)
    assert lost.tolist() == [[False] * 3, [False, False, True], [True, False, False]]
    assert (np.isnan(rows).any(2) == lost).all()
    [_, second, _] = TASK.sample_predictions(TASK.from_rows(rows))
    assert second.points["right eye"] is second.to_json()["scores"]["right eye"] is None
    assert second.to_text().endswith("right eye not finite") and second.to_cells()["right eye.score"] == ""


def test_metrics_are_those_of_the_same_places_given_as_coordinates():
    points, targets = placed(), TASK.targets(placed(seed=1).astype(np.float32))
    flat = (points.reshape(len(points), -1) - np.array(TASK.mean)) / np.array(TASK.deviation)
    for metric in TASK.metrics:
        ours, theirs = (
            metric.evidence(TASK.from_rows(TASK.to_rows({LOGITS: each})), targets).value()
            for each in (gaussians(points), flat)
        )
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert TASK.agree(TASK.decode({LOGITS: gaussians(points)}), TASK.decode({LOGITS: flat})).all()


def test_a_letterboxed_image_has_its_points_in_the_pixels_of_its_file():
    points = np.array([[[20.0, 30.0], [100.0, 60.0], [3.0, 90.0]]])
    # A file of 120 x 96 pixels is 60 x 48 of the network's image, between two edges of 10.
    way = Geometry.resized(1, (96, 120), IMAGE, (10, 0, 60, 48))
    found = TASK.decode({LOGITS: gaussians(way.points(points))})
    [predicted] = TASK.sample_predictions(found, geometry=[way])
    np.testing.assert_allclose(list(predicted.points.values()), points[0], atol=1e-3)
    assert re.fullmatch(r"nose \(20\.0, 30\.0\) 0\.\d\d, left eye .*", predicted.to_text())
    assert list(predicted.to_cells())[:3] == ["nose.x", "nose.y", "nose.score"]


def test_targets_and_losses_against_numpy():
    points, random = placed(8), np.random.default_rng(2)
    drawn = gaussian_maps(torch.from_numpy(points), CELLS, IMAGE, 1.5)
    np.testing.assert_allclose(drawn.numpy(), gaussians(points), atol=1e-12)
    maps = random.normal(size=drawn.shape)
    stored = points.astype(np.float32)
    stored[random.random((8, 3)) < 0.3] = np.nan
    known = ~np.isnan(stored).any(2)
    targets = {name: torch.from_numpy(each) for name, each in TASK.targets(stored).items()}
    outputs = torch.tensor(maps, requires_grad=True)
    loss = TASK.loss({LOGITS: outputs}, targets)["labels"]
    errors = ((maps - gaussians(points)) ** 2).sum((2, 3)) / (np.pi * 1.5**2)
    assert loss.item() == pytest.approx(errors[known].mean(), rel=1e-4)
    loss.backward()
    assert (outputs.grad.abs().sum((2, 3)) > 0).numpy().tolist() == known.tolist(), "unknown points teach nothing"
    nothing = {name: torch.from_numpy(each) for name, each in TASK.targets(np.full_like(stored, np.nan)).items()}
    assert float(TASK.loss({LOGITS: outputs}, nothing)["labels"]) == 0
    other = random.normal(size=drawn.shape)
    taught = TASK.soft_loss({LOGITS: outputs}, {LOGITS: torch.from_numpy(other)}, targets)["teacher"]
    apart = ((maps - other) ** 2).sum((2, 3)) / (np.pi * 1.5**2)
    assert taught.item() == pytest.approx(apart.mean())
    divergence = TASK.divergence({LOGITS: outputs}, {LOGITS: torch.from_numpy(other)})
    np.testing.assert_allclose(divergence.detach(), apart.sum(1))


def test_units_of_the_loss():
    """A map of zeros is at 1 from its target, and one that is 0.1 cells off at the divergence of two normals."""
    middle = np.full((1, 3, 2), (40.0, 24.0))
    targets = {"values": torch.from_numpy(middle), "known": torch.ones(1, 3, 2, dtype=torch.bool)}
    assert float(TASK.loss({LOGITS: torch.zeros(1, 3, *CELLS)}, targets)["labels"]) == pytest.approx(1, rel=1e-3)
    ours, theirs = (torch.from_numpy(gaussians(middle + each)) for each in (0.0, (0.5, 0.0)))
    found = TASK.divergence({LOGITS: ours}, {LOGITS: theirs})
    assert found.tolist() == pytest.approx([3 * 0.1**2 / (2 * 1.5**2)], rel=0.01)


@pytest.mark.parametrize("student", ["maps", "fewer cells", "coordinates"])
@pytest.mark.parametrize("teacher", ["maps", "coordinates"])
def test_a_teacher_of_another_kind_teaches_where_points_are(student, teacher):
    """The student that says what the teacher says loses nothing, and any other loses something."""
    points = placed(6)
    flat = (points.reshape(6, -1) - np.array(TASK.mean)) / np.array(TASK.deviation)
    given = {"maps": gaussians(points), "coordinates": flat}
    given["fewer cells"] = gaussian_maps(torch.from_numpy(points), (8, 10), IMAGE, 1.5).numpy()
    ours, theirs = (torch.tensor(given[each], dtype=torch.float32) for each in (student, teacher))
    same = TASK.soft_loss({LOGITS: ours}, {LOGITS: theirs}, {})["teacher"]
    other = TASK.soft_loss({LOGITS: ours.roll(1, 0)}, {LOGITS: theirs}, {})["teacher"]
    assert float(same) < 1e-6 and float(other) > 0.1


def test_what_no_rounding_moves_is_settled():
    """No drawn change within the tolerance moves a settled sample's points further than a correct one may be."""
    random, tolerance = np.random.default_rng(3), 0.02
    maps = gaussians(placed(60)) + 0.05 * random.normal(size=(60, 3, *CELLS))
    maps[:20] = 0.45 * gaussians(placed(20)) + 0.44 * gaussians(placed(20, seed=9))  # two peaks, hardly apart
    settled = TASK.settled({LOGITS: maps}, {LOGITS: tolerance})
    assert settled[20:].mean() > 0.8 and settled[:20].mean() < 0.2
    before = TASK.decode({LOGITS: maps})
    for _ in range(200):
        changed = maps + tolerance * random.choice([-1, 1], maps.shape)
        assert TASK.agree(before, TASK.decode({LOGITS: changed}))[settled].all()
    assert not TASK.settled({LOGITS: maps}, {LOGITS: 1.0}).any()


def test_the_program_of_a_model_card_gives_the_same_points(capsys):
    maps = gaussians(placed(5)) + 0.02 * np.random.default_rng(4).normal(size=(5, 3, *CELLS))
    outputs = {"heatmaps": (3, *CELLS)}  # the only output, which stands for logits
    there = {"left": 10, "top": 0, "across": 0.5, "down": 0.25}
    for each in maps:
        exec(TASK.code("python", outputs), {"np": np, "labels": NAMES, "logits": each, **there})
    printed = [[float(word) for word in line.split()[-3:]] for line in capsys.readouterr().out.splitlines()]
    found = TASK.decode({LOGITS: maps})
    places = (found.values.reshape(-1, 2) - (10, 0)) / (0.5, 0.25)
    np.testing.assert_allclose(printed, np.column_stack([places, found.scores.ravel()]), rtol=1e-5, atol=1e-5)
    assert "heat map over the whole image for each of nose, left eye, right eye" in TASK.describe_outputs(outputs)
    assert "standardised" in TASK.describe_outputs({LOGITS: (6,)})
    assert "mean = [40.0," in TASK.code("python", {LOGITS: (6,)})


def test_a_bundles_options_decode_alike():
    options, maps = TASK.decoder(), gaussians(placed(4))
    assert (options["image"], options["sigma"]) == ([48, 80], 1.5)
    again = Keypoints(NAMES, **options)
    assert again == TASK
    np.testing.assert_array_equal(again.decode({LOGITS: maps}).values, TASK.decode({LOGITS: maps}).values)
    assert "image" not in Keypoints(NAMES).decoder()


def test_a_recipe_sets_how_wide_the_gaussians_are(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (12, 16, 16), np.uint8)
    points = np.random.default_rng(1).uniform(4, 12, (12, 1, 2))
    np.savez(tmp_path / "a.npz", train_x=images, train_y=points, test_x=images[:4], test_y=points[:4])
    data, usual = (
        load_data(Data(source="npz", path=tmp_path / "a.npz"), kind=Keypoints, decoder=decoder)
        for decoder in ({"sigma": 2.0}, {})
    )
    assert (data.task.sigma, data.task.decoder()["sigma"], usual.task.sigma) == (2.0, 2.0, 1.0)
    # Networks learn other maps, so that trainings are told apart.
    assert (data.judged_decoder, usual.judged_decoder) == ({"sigma": 2.0}, {})
    targets = data.task.targets(data.test.labels)
    x, y = targets["values"][0, 0].tolist()
    rows, columns = np.mgrid[:16, :16] + 0.5
    drawn = torch.tensor(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 2.0**2)), dtype=torch.float32)
    first = {name: each[:1] for name, each in targets.items()}
    assert float(data.task.loss({LOGITS: drawn[None, None]}, first)["labels"]) < 1e-10
    assert float(usual.task.loss({LOGITS: drawn[None, None]}, first)["labels"]) > 0.1


def test_outputs_that_are_no_points_are_refused():
    targets = TASK.targets(placed(3).astype(np.float32))

    def signature(*shape: int) -> Signature:
        return Signature((TensorSpec("input", (3, *IMAGE)),), (TensorSpec(LOGITS, shape),))

    TASK.check(signature(6), targets)
    TASK.check(signature(3, *CELLS), targets)
    for shape in ((3,), (6, 4, 4), (3, 16)):
        with pytest.raises(ModelError, match=re.escape("expected one output 'logits' of shape (6,) or (3, any, any)")):
            TASK.check(signature(*shape), targets)
    with pytest.raises(ModelError, match="net gives heat maps of 4x1 cells.*give maps of 2x2 or more"):
        TASK.check_outputs({LOGITS: torch.zeros(2, 3, 1, 4)}, "net")
    for use in (
        lambda task: task.check_outputs({LOGITS: torch.zeros(2, 3, 4, 4)}, "the network"),
        lambda task: task.decode({LOGITS: np.zeros((2, 3, 4, 4))}),
        lambda task: task.code("python", {LOGITS: (3, 4, 4)}),
    ):
        with pytest.raises(ModelError, match=r"size of its image is not known.*Keypoints\(names, image=\(height, wid"):
            use(Keypoints(NAMES))
    for options, said in (
        ({"sigma": 0}, "sigma must be"),
        ({"image": (48, 0)}, r"image is \(48, 0\); give its height"),
    ):
        with pytest.raises(ModelError, match=said):
            Keypoints(NAMES, **options)
    assert heatmaps.known_size((1, 2)) == (1, 2)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_data_say_how_large_the_image_is_and_points_lie_in_it(resize, tmp_path):
    points = placed(12).astype(np.float32)
    images = np.zeros((12, *IMAGE, 3), np.uint8)
    archive = {"train_x": images, "train_y": points, "test_x": images, "test_y": points.copy(), "classes": NAMES}
    np.savez(tmp_path / "points.npz", **archive)
    given = Data(source="npz", path=tmp_path / "points.npz", image_size=40, resize=resize)
    data = load_data(given, kind=Keypoints)
    assert data.task.image == (40, 40)
    scale = np.array([0.5, 0.5] if resize == "letterbox" else [0.5, 40 / 48])
    moved = points * scale + ([0, 8] if resize == "letterbox" else 0)
    np.testing.assert_allclose(data.test.labels, moved, atol=1e-4)
    archive["test_y"][[4, 7], 1] = (80.5, 20)
    np.savez(tmp_path / "points.npz", **archive)
    said = (
        "test_y: point 1 of image 4 (from 0), the first of 2, is (80.5, 20), which lies outside of its image of 80x48"
    )
    with pytest.raises(DataError, match=re.escape(said)):
        load_data(given, kind=Keypoints)


def identity(*sizes: int | str) -> ModelProto:
    both = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *sizes]) for name in ("input", LOGITS)]
    graph = helper.make_graph([helper.make_node("Identity", ["input"], [LOGITS])], "same", both[:1], both[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def test_a_file_that_decodes_itself_gives_the_points_of_the_decoder():
    maps = np.concatenate([gaussians(placed(40)), np.random.default_rng(5).normal(size=(10, 3, *CELLS))])
    maps = maps.astype(np.float32)
    maps[3, 1, 2, 2], maps[4, 0, 0, 0] = np.nan, np.inf
    model = TASK.decoded_graph(identity(3, *CELLS))
    checker.check_model(model)
    [rows] = InferenceSession(model.SerializeToString()).run(None, {"input": maps})
    np.testing.assert_allclose(rows[:40], TASK.to_rows({LOGITS: maps[:40]}), atol=1e-3)
    alike, compared = TASK.same_decoded(rows, {LOGITS: maps}, 1e-3)
    assert alike.all() and compared > 120
    moved = rows.copy()
    moved[7, 2, 1] += 0.5
    assert np.flatnonzero(~TASK.same_decoded(moved, {LOGITS: maps}, 1e-3)[0]).tolist() == [7]
    assert TASK.same_decoded(rows[:, :2], {LOGITS: maps}, 1e-3)[1] == 0
    for given, said in (((6,), "holds coordinates.*leave --decoded-output out"), ((3, "h", 16), "has open sizes")):
        with pytest.raises(ModelError, match=said):
            TASK.decoded_graph(identity(*given))
