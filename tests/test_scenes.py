"""The recipe of labels on scenes: what its source draws. Photographs that scikit-learn brings stand for the others."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

SOURCE = Path(__file__).parents[1] / "recipes/scenes.py"


@pytest.fixture(scope="module")
def scenes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scenes", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    china, flower = load_sample_images().images
    module._photographs = lambda is_test: [flower if is_test else china]
    return module


def test_labels_are_the_digits_that_a_scene_shows(scenes):
    found = scenes.labels(train=60, test=20, side=32, most=3)
    pixels, present = found["train"]
    assert (pixels.shape, pixels.dtype, present.shape) == ((60, 3, 32, 32), np.uint8, (60, 10))
    drawn = list(scenes.scenes(60, False, 32, 3))
    for scene, row in zip(drawn, present, strict=True):
        assert set(scene.digits) == set(np.flatnonzero(row))
        assert 1 <= len(scene.digits) <= 3
    assert found["classes"] == scenes.NAMES


def test_the_same_scenes_each_time_and_others_to_test_on(scenes):
    first, again = (scenes.labels(train=10, test=10) for _ in range(2))
    np.testing.assert_array_equal(first["train"][0], again["train"][0])
    assert (first["train"][0] != first["test"][0]).any()


def test_digits_lie_apart_and_can_be_read(scenes):
    for scene in scenes.scenes(40, True, 48, 3):
        covered = np.zeros((48, 48), int)
        for x0, y0, x1, y1 in scene.boxes.astype(int):
            covered[y0:y1, x0:x1] += 1
            inside = scene.pixels[:, y0:y1, x0:x1].max(0)
            assert inside.max() > 170
        assert covered.max() == 1


def test_training_and_test_share_no_digit_and_no_photograph(scenes):
    ours, theirs = ({image.tobytes() for image, _ in scenes._digits(is_test)} for is_test in (False, True))
    assert len(ours) + len(theirs) > 1790
    assert not set(scenes.TEST_PHOTOGRAPHS) - {*scenes.PHOTOGRAPHS, "china", "flower"}
