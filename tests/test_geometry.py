"""Targets move as pixels do: a mark in the image is where the geometry says it is."""

import numpy as np

from edgekd.geometry import Geometry

SIZE = (6, 8)


def moved() -> Geometry:
    """Of three images: mirrored; shifted by two to the right and one up; doubled and then mirrored."""
    scale = np.array([[-1.0, 1.0], [1.0, 1.0], [-2.0, 2.0]])
    shift = np.array([[8.0, 0.0], [2.0, -1.0], [8.0, 0.0]])
    return Geometry(scale, shift, SIZE, SIZE)


def test_points_and_boxes_by_hand():
    points = np.array([[[1.0, 2.0], [np.nan, 3.0]]] * 3)
    expected = [[[7, 2], [np.nan, 3]], [[3, 1], [np.nan, 2]], [[6, 4], [np.nan, 6]]]
    np.testing.assert_array_equal(moved().points(points), expected)
    boxes = np.array([[[1.0, 2.0, 3.0, 5.0]]] * 3)
    assert moved().rectangles(boxes)[:, 0].tolist() == [[5, 2, 7, 5], [3, 1, 5, 4], [2, 4, 6, 10]]


def test_masks_by_hand():
    masks = np.arange(48).reshape(1, *SIZE).repeat(3, 0).astype(np.int16)
    found = moved().resample(masks, outside=-1)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found[0], masks[0][:, ::-1])
    np.testing.assert_array_equal(found[1, :-1, 2:], masks[1][1:, :-2])
    assert (found[1, -1] == -1).all() and (found[1, :, :2] == -1).all()
    np.testing.assert_array_equal(found[2], masks[2][:3, :4].repeat(2, 0).repeat(2, 1)[:, ::-1])


def test_one_after_the_other_and_back():
    points = np.random.default_rng(0).uniform(0, 6, (3, 5, 2))
    twice = moved().then(moved())
    np.testing.assert_allclose(twice.points(points), moved().points(moved().points(points)))
    np.testing.assert_allclose(twice.inverse().points(twice.points(points)), points)
    assert Geometry.joined([twice, moved()]).points(np.zeros((6, 1, 2))).shape == (6, 1, 2)
    np.testing.assert_array_equal(Geometry.unmoved(3, SIZE).points(points), points)


def test_an_image_of_another_shape_is_placed():
    placed = Geometry.resized(1, (50, 100), (64, 64), (0, 16, 64, 32))
    assert placed.points(np.array([[[0.0, 0.0], [100.0, 50.0]]])).tolist() == [[[0, 16], [64, 48]]]
    mask = placed.resample(np.ones((1, 50, 100), np.uint8), outside=255)
    assert mask.shape == (1, 64, 64) and (mask[0, 16:48] == 1).all() and (mask[0, :16] == 255).all()
    stretched = Geometry.resized(1, (50, 100), (64, 64))
    assert stretched.points(np.array([[[100.0, 50.0]]])).tolist() == [[[64, 64]]]
