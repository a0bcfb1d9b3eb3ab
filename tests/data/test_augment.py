import math

import numpy as np
import pytest
import torch

from edgekd.data.augment import (
    AUGMENTATIONS,
    augment,
    augment_samples,
    augment_with,
    crop,
    draws_of,
    flip,
    geometry_with,
)
from edgekd.errors import DataError
from edgekd.geometry import Geometry
from edgekd.tasks.classification import Classification

# Chains of augmentations.
CHAINS = (("crop",), ("flip",), ("crop", "flip"), ("flip", "crop"), ("crop", "crop"), ("scale",))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 64, channels: int = 3, height: int = 16, width: int = 24) -> torch.Tensor:
    return torch.randint(1, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator(9))


def uniforms(count: int, draws: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, draws, dtype=torch.float64, generator=generator(seed))


def windows(image: np.ndarray, pad_y: int, pad_x: int) -> dict[bytes, tuple[int, int]]:
    """Every crop that the padded image has, and where it lies."""
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    return {
        padded[:, top : top + height, left : left + width].tobytes(): (top, left)
        for top in range(2 * pad_y + 1)
        for left in range(2 * pad_x + 1)
    }


@pytest.mark.parametrize(("shape", "pads"), [((3, 16, 24), (2, 3)), ((1, 8, 8), (1, 1)), ((1, 4, 4), (1, 1))])
def test_crop_takes_a_window_of_each_padded_image(shape, pads):
    batch = images(200, *shape)
    drawn = uniforms(200, 2)
    cropped = crop(batch, drawn)
    places = [windows(image.numpy(), *pads)[out.numpy().tobytes()] for image, out in zip(batch, cropped, strict=True)]
    assert cropped.shape == batch.shape and cropped.dtype == torch.uint8
    assert {top for top, _ in places} == set(range(2 * pads[0] + 1))
    assert {left for _, left in places} == set(range(2 * pads[1] + 1))
    assert len(set(places)) > max(2 * pads[0], 2 * pads[1]) + 1, "rows and columns move on their own"
    assert places == [
        (math.floor(down * (2 * pads[0] + 1)), math.floor(right * (2 * pads[1] + 1))) for down, right in drawn.tolist()
    ]


def test_flip_mirrors_about_half():
    batch = images(400, 1, 4, 4)
    drawn = uniforms(400, 1)
    flipped = flip(batch, drawn).numpy()
    for image, out, draw in zip(batch.numpy(), flipped, drawn[:, 0].tolist(), strict=True):
        assert np.array_equal(out, image[:, :, ::-1] if draw < 0.5 else image)
    assert 160 < int((drawn < 0.5).sum()) < 240


def test_the_largest_draw_stays_in_the_padded_image():
    largest = float(np.nextafter(1, 0))
    for side in range(4, 260, 8):
        batch = images(1, 1, side, side)
        pad = max(1, side // 8)
        cropped = crop(batch, torch.full((1, 2), largest, dtype=torch.float64))
        padded = np.pad(batch[0, 0].numpy(), pad)
        assert np.array_equal(cropped[0, 0].numpy(), padded[2 * pad :, 2 * pad :])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "names", [("crop",), ("flip",), ("crop", "flip"), ("flip", "crop"), ("crop", "crop"), ("scale",)]
)
def test_an_image_depends_on_its_own_draws_alone(names, seed):
    batch, drawn = images(40), uniforms(40, draws_of(names), seed)
    together = augment_with(batch, names, drawn)
    order = torch.randperm(40, generator=generator(seed))
    for part in order.split(7):
        assert torch.equal(augment_with(batch[part], names, drawn[part]), together[part])


def test_draws_are_dealt_in_the_order_of_the_names():
    batch, drawn = images(), uniforms(64, 3)
    assert (AUGMENTATIONS["crop"].draws, AUGMENTATIONS["flip"].draws, draws_of(("crop", "flip"))) == (2, 1, 3)
    assert torch.equal(augment_with(batch, ("crop", "flip"), drawn), flip(crop(batch, drawn[:, :2]), drawn[:, 2:]))
    assert torch.equal(augment_with(batch, ("flip", "crop"), drawn), crop(flip(batch, drawn[:, :1]), drawn[:, 1:]))
    with pytest.raises(DataError, match=r"crop, flip take uniforms of shape \(64, 3\) for 64 images, got \(64, 2\)"):
        augment_with(batch, ("crop", "flip"), drawn[:, :2])


def test_the_generator_alone_decides():
    batch = images()
    first, same, other = (augment(batch, ("crop", "flip"), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(augment(batch, (), generator()), batch)


def test_the_batch_is_left_alone():
    batch = images()
    before = batch.clone()
    augment(batch, ("crop", "flip"), generator())
    assert torch.equal(batch, before)


def test_an_unknown_augmentation():
    with pytest.raises(DataError) as error:
        augment(images(), ("flop",), generator())
    assert str(error.value) == "unknown augmentation 'flop' (did you mean 'flip'?); known: crop, flip, mosaic, scale"


def test_scale_shows_what_its_geometry_says():
    """A light square of 12 pixels on grey: its area, its middle, and where the image ends."""
    squares = torch.full((30, 1, 40, 60), 100, dtype=torch.uint8)
    squares[:, :, 10:22, 24:36] = 200
    drawn = uniforms(30, 3)
    drawn[:2] = torch.tensor([[0.0, 0.0, 0.0], [float(np.nextafter(1, 0)), 0.5, 0.5]])
    found, geometry = AUGMENTATIONS["scale"].change(squares, drawn), geometry_with(30, (40, 60), ("scale",), drawn)
    assert found.dtype == torch.uint8 and found.shape == squares.shape
    assert geometry.scale[:2, 0] == pytest.approx([0.5, 1.5]) and 0.7 < np.exp(np.log(geometry.scale).mean()) < 1.1
    corners = geometry.rectangles(np.tile([[24.0, 10, 36, 22]], (30, 1)))
    whole = geometry.rectangles(np.tile([[0.0, 0, 60, 40]], (30, 1)))
    for image, (left, top, right, bottom), (x1, y1, x2, y2) in zip(found[:, 0].numpy(), corners, whole, strict=True):
        light = np.clip((image.astype(float) - 100) / 100, 0, 1)
        y, x = np.mgrid[:40, :60] + 0.5
        if left >= 0 and top >= 0 and right <= 60 and bottom <= 40:
            assert light.sum() == pytest.approx((right - left) * (bottom - top), rel=0.12)
            middle = ((light * x).sum() / light.sum(), (light * y).sum() / light.sum())
            assert middle == pytest.approx(((left + right) / 2, (top + bottom) / 2), abs=0.3)
        inside = (x > x1 + 1) & (x < x2 - 1) & (y > y1 + 1) & (y < y2 - 1)
        outside = (x < x1 - 1) | (x > x2 + 1) | (y < y1 - 1) | (y > y2 + 1)
        assert (image[inside] >= 99).all() and (image[outside] == 0).all()


def test_masks_are_scaled_with_their_images():
    masks = torch.zeros(20, 16, 24, dtype=torch.uint8)
    masks[:, 4:12, 6:18] = 1
    seen, moved = augment_samples(100 + 100 * masks[:, None], masks, ("scale",), uniforms(20, 3), Masks(()))
    known = moved != 255
    assert ((seen[:, 0] > 150) == (moved == 1))[known].float().mean() > 0.97
    assert (seen[:, 0][~known] < 60).float().mean() > 0.97 and 0.1 < (~known).float().mean() < 0.6


class Masks(Classification):
    """A task whose targets are masks, ignored where they are 255."""

    @classmethod
    def move_targets(cls, stored: np.ndarray, geometry: Geometry) -> np.ndarray:
        return geometry.resample(stored, outside=255)


@pytest.mark.parametrize("names", [("flip",), ("crop",), ("crop", "flip"), ("flip", "crop")])
def test_targets_move_with_their_images(names):
    """A mask ends where the same pixels of the image do, a point on the pixel that it was on."""
    pictures = images(40, 1) % 200 + 1
    drawn = torch.rand(40, draws_of(names), dtype=torch.float64, generator=generator())
    seen, masks = augment_samples(pictures, pictures[:, 0], names, drawn, Masks(()))
    assert torch.equal(seen[:, 0], torch.where(masks == 255, 0, masks))
    points = geometry_with(40, (16, 24), names, drawn).points(np.tile([[[3.5, 12.5]]], (40, 1, 1)))[:, 0]
    for before, after, (x, y) in zip(pictures, seen, points, strict=True):
        if 0 <= x < 24 and 0 <= y < 16:
            assert after[0, int(y), int(x)] == before[0, 12, 3]
    classes = torch.arange(40)
    assert augment_samples(pictures, classes, names, drawn, Classification(("a",)))[1] is classes
