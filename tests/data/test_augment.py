import numpy as np
import pytest
import torch

from edgekd.data.augment import augment, crop, flip
from edgekd.errors import DataError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 64, channels: int = 3, height: int = 16, width: int = 24) -> torch.Tensor:
    return torch.randint(1, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator(9))


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
    cropped = crop(batch, generator())
    places = [windows(image.numpy(), *pads)[out.numpy().tobytes()] for image, out in zip(batch, cropped, strict=True)]
    assert cropped.shape == batch.shape and cropped.dtype == torch.uint8
    assert {top for top, _ in places} == set(range(2 * pads[0] + 1))
    assert {left for _, left in places} == set(range(2 * pads[1] + 1))
    assert len(set(places)) > max(2 * pads[0], 2 * pads[1]) + 1, "rows and columns move on their own"


def test_flip_mirrors_about_half():
    batch = images(400, 1, 4, 4)
    flipped = flip(batch, generator()).numpy()
    count = 0
    for image, out in zip(batch.numpy(), flipped, strict=True):
        mirrored = np.array_equal(out, image[:, :, ::-1])
        assert mirrored or np.array_equal(out, image)
        count += mirrored
    assert 160 < count < 240


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
    assert str(error.value) == "unknown augmentation 'flop' (did you mean 'flip'?); known: crop, flip"
