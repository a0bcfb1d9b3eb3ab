"""Four images of a batch in one: where their pixels end, and which boxes and masks remain."""

import numpy as np
import pytest
import torch

from edgekd.data import Data, load_data
from edgekd.data.augment import AUGMENTATIONS, augment_samples, augment_with, draws_of, geometry_with
from edgekd.data.views import Views
from edgekd.errors import DataError
from edgekd.tasks.detection import Detection
from edgekd.tasks.detection.targets import padded
from edgekd.tasks.detection.train import detection_loss
from edgekd.tasks.segmentation import Segmentation

# The last and the first draw of the factor: images at half their size, and at their own.
HALF, WHOLE = float(np.nextafter(1, 0)), 0.0
BOXES = Detection(("a", "b", "c"))


def images(count=4, height=16, width=24):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def draws(*first, count=4):
    """Draws of which the first image's are given: the factor, the point, and the three other images."""
    found = torch.full((count, 6), 0.5, dtype=torch.float64)
    found[0] = torch.tensor(first, dtype=torch.float64)
    return found


def objects(moved):
    """Those of the first image."""
    return moved[0][moved[0, :, 0] != -1]


def test_at_their_own_size_four_images_meet_at_the_point():
    batch = images()
    # The point is at 12 of 24 and 5 of 16: the whole numbers below 0.5 · 25 and 0.3 · 17.
    found = augment_with(batch, ["mosaic"], draws(WHOLE, 0.5, 0.3, 0.3, 0.6, 0.9))[0]
    assert found.dtype == torch.uint8 and found.shape == batch.shape[1:]
    assert torch.equal(found[:, :5, :12], batch[0, :, 11:, 12:])  # its lower right corner is there
    assert torch.equal(found[:, :5, 12:], batch[1, :, 11:, :12])
    assert torch.equal(found[:, 5:, :12], batch[2, :, :11, 12:])
    assert torch.equal(found[:, 5:, 12:], batch[3, :, :11, :12])


def test_at_half_their_size_all_are_seen_whole():
    batch = images()
    found = augment_with(batch, ["mosaic"], draws(HALF, 0.9, 0.1, 0.3, 0.6, 0.9))[0].float()
    halves = batch.float().view(4, 3, 8, 2, 12, 2).mean((3, 5))
    expected = torch.cat([torch.cat([*halves[:2]], 2), torch.cat([*halves[2:]], 2)], 1)
    assert (found - expected).abs().max() <= 0.5 + 1e-3, "rounded"


def test_nothing_is_left_free_and_each_pixel_is_where_the_tiles_say():
    count, size = 60, (32, 48)
    batch = (torch.arange(count) + 100).to(torch.uint8)[:, None, None, None].expand(count, 1, *size).contiguous()
    drawn = torch.rand(count, draws_of(["mosaic"]), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = augment_with(batch, ["mosaic"], drawn)[:, 0].numpy().astype(int)
    tiles = AUGMENTATIONS["mosaic"].joins(size, drawn)
    factors = 0.5 ** drawn[:, :1].numpy()
    assert all(np.allclose(tile.geometry.scale, factors) for tile in tiles)
    corner = tiles[3].geometry.points(np.zeros((count, 1, 2)))[:, 0]
    assert np.array_equal(corner, corner.round()) and len(np.unique(corner, axis=0)) > 40
    for image in range(count):
        left, top = corner[image].astype(int)
        parts = ((slice(top), slice(left)), (slice(top), slice(left, None)))
        parts += ((slice(top, None), slice(left)), (slice(top, None), slice(left, None)))
        for tile, part in zip(tiles, parts, strict=True):
            assert (found[image][part] == tile.rows[image] + 100).all()
    assert (tiles[0].rows == np.arange(count)).all() and len(np.unique(tiles[1].rows)) > 25


def test_boxes_move_to_their_tiles_and_are_clipped():
    stored = padded([
        [[0, 20, 20, 30, 30], [2, 1, 2, 12, 15]],
        [[1, 4, 12, 8, 20]],
        [[2, 8, 4, 20, 8], [0, 2, 2, 14, 14]],
        [[1, 13, 0, 29, 8], [-4, 0, 0, 8, 8]],
    ])  # fmt: skip
    batch = images(4, 32, 32)
    # The point is at 16, 16.
    drawn = draws(WHOLE, 0.5, 0.5, 0.3, 0.6, 0.9)
    seen, moved = augment_samples(batch, torch.from_numpy(stored), ["mosaic"], drawn, BOXES)
    assert torch.equal(seen, augment_with(batch, ["mosaic"], drawn))
    assert objects(moved).tolist() == [
        [0, 4, 4, 14, 14],  # as a whole; the other box of this image lies outside
        [1, 20, 0, 24, 4],  # half of it
        [2, 0, 20, 4, 24],  # a third; the other one lies outside
        [-3, 29, 16, 32, 24],  # three sixteenths, which neither have to be found nor are background
        [-4, 16, 16, 24, 24],
    ]
    # At half the size all are there.
    drawn = draws(HALF, 0.5, 0.5, 0.3, 0.6, 0.9)
    halved = objects(augment_samples(batch, torch.from_numpy(stored), ["mosaic"], drawn, BOXES)[1])
    assert halved[:, 0].tolist() == [0, 2, 1, 2, 0, 1, -4]
    np.testing.assert_allclose(halved[1, 1:], [0.5, 1, 6, 7.5], rtol=1e-6)
    np.testing.assert_allclose(halved[5, 1:], [22.5, 16, 30.5, 20], rtol=1e-6)


def test_masks_are_put_together_as_images_are():
    task, batch = Segmentation(("a", "b", "c")), images()
    masks = batch[:, 0] % 3
    masks[0, 12, 20] = 255
    for names in (["mosaic"], ["flip", "mosaic", "crop"]):
        drawn = torch.rand(4, draws_of(names), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        at = names.index("mosaic")
        drawn[:, at] = WHOLE
        seen, moved = augment_samples(batch, masks, names, drawn, task)
        known = moved != 255
        assert (seen[:, 0] % 3)[known].tolist() == moved[known].tolist() and known.float().mean() > 0.7


def test_what_nobody_annotated_is_neither_object_nor_background():
    stored = padded([[[0, 20, 20, 30, 30]]] * 4)
    stored[2:] = Detection.unknown(stored, 2)
    drawn = draws(WHOLE, 0.5, 0.5, 0.3, 0.6, 0.9)
    _, moved = augment_samples(images(4, 32, 32), torch.from_numpy(stored), ["mosaic"], drawn, BOXES)
    assert objects(moved).tolist() == [[0, 4, 4, 14, 14], [-2, 0, 16, 16, 32], [-2, 16, 16, 32, 32]]
    found = {"cls.8": torch.zeros(1, 3, 4, 4, requires_grad=True), "box.8": torch.ones(1, 4, 4, 4)}
    detection_loss(found, BOXES.targets(moved[:1]), 3)["scores"].backward()
    assert found["cls.8"].grad[0, :, 2:].abs().max() == 0 and (found["cls.8"].grad[0, :, :2] != 0).all()


def test_other_augmentations_come_before_and_after():
    stored, batch = padded([[[0, 20, 20, 30, 30]]] * 4), images(4, 32, 32)
    names = ["flip", "mosaic", "flip"]
    drawn = torch.cat([torch.zeros(4, 1, dtype=torch.float64), draws(WHOLE, 0.5, 0.5, 0.3, 0.6, 0.9)], 1)
    drawn = torch.cat([drawn, torch.zeros(4, 1, dtype=torch.float64)], 1)
    seen, moved = augment_samples(batch, torch.from_numpy(stored), names, drawn, BOXES)
    expected = augment_with(batch.flip(3), ["mosaic"], drawn[:, 1:7]).flip(3)
    assert torch.equal(seen, expected)
    # Mirrored it lies from 2 to 12: the upper tiles show it from 18 to 28, and mirrored again from 4 to 14.
    assert objects(moved).tolist() == [[0, 4, 4, 14, 14]]


def test_what_cannot_be_put_together_is_refused():
    message = "data.augment: mosaic puts several images together, and classification has one target for an image: leave"
    with pytest.raises(DataError, match=message):
        load_data(Data(source="digits", augment=("crop", "mosaic")))
    with pytest.raises(DataError, match="mosaic puts images together, which have no one geometry"):
        geometry_with(4, (16, 24), ["mosaic"], draws(0, 0, 0, 0, 0, 0))
    with pytest.raises(DataError, match="mosaic puts images of one batch together, and fixed views are the same in"):
        Views(2).augment(images(), ["mosaic"], 0, torch.arange(4))
