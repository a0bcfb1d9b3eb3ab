import numpy as np
import pytest
import torch

from edgekd.models import build, count_macs, count_parameters
from edgekd.models.cifar_resnet import PadShortcut

# He et al. (2016), table 6, in millions; the exact numbers are those of the widely used PyTorch port
# akamaster/pytorch_resnet_cifar10 with option A.
PUBLISHED = {
    "resnet20": (0.27, 269_722),
    "resnet32": (0.46, 464_154),
    "resnet44": (0.66, 658_586),
    "resnet56": (0.85, 853_018),
    "resnet110": (1.7, 1_727_962),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_as_published(name):
    millions, exact = PUBLISHED[name]
    parameters = count_parameters(build(name, (3, 32, 32), 10, shortcut="pad"))
    assert parameters == exact
    assert parameters / 1e6 == pytest.approx(millions, rel=0.02)


def convolution(inputs: int, outputs: int, kernel: int, side: int) -> int:
    return inputs * outputs * kernel**2 * side**2


def test_macs_of_resnet20():
    """40.8 million: the first convolution, three groups of six, two projections, the classifier."""
    expected = (
        convolution(3, 16, 3, 32)
        + 6 * convolution(16, 16, 3, 32)
        + convolution(16, 32, 3, 16) + 5 * convolution(32, 32, 3, 16) + convolution(16, 32, 1, 16)
        + convolution(32, 64, 3, 8) + 5 * convolution(64, 64, 3, 8) + convolution(32, 64, 1, 8)
        + 64 * 10
    )  # fmt: skip
    assert expected == 40_813_184
    assert count_macs(build("resnet20", (3, 32, 32), 10), (3, 32, 32)) == expected


def test_the_padded_shortcut_is_every_second_pixel_between_zeros():
    x = torch.randn(2, 4, 6, 6)
    expected = np.zeros((2, 9, 3, 3), np.float32)
    expected[:, 2:6] = x.numpy()[:, :, ::2, ::2]
    assert np.array_equal(PadShortcut(5)(x).numpy(), expected)


@pytest.mark.parametrize("size", [4, 7, 32])
@pytest.mark.parametrize("shortcut", ["conv", "pad"])
def test_any_picture_of_four_pixels_or_more(size, shortcut):
    network = build("resnet20", (1, size, size), 5, width=4, shortcut=shortcut).eval()
    assert network(torch.randn(3, 1, size, size)).shape == (3, 5)


def test_weights_of_option_a_fill_projections_that_do_the_same():
    torch.manual_seed(0)
    padded = build("resnet20", (3, 32, 32), 10, shortcut="pad")
    padded(torch.randn(16, 3, 32, 32))  # BatchNorm statistics that are not 0 and 1
    projected = build("resnet20", (3, 32, 32), 10)
    state = projected.adopt_state_dict(padded.state_dict())
    projected.load_state_dict(state)
    x = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(projected.eval()(x), padded.eval()(x), rtol=1e-5, atol=1e-5)


def test_weights_with_shortcuts_of_their_own_are_left_alone():
    state = build("resnet20", (3, 32, 32), 10).state_dict()
    assert build("resnet20", (3, 32, 32), 10).adopt_state_dict(state) is state
