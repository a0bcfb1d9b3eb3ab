import copy

import pytest
import torch

from edgekd.models import build
from edgekd.precision import SWITCHES, full, ieee_float32
from edgekd.recipe import Train
from edgekd.train import CrossEntropy, FitOptions, fit


def precisions() -> list[str]:
    return [switch.fp32_precision for switch in SWITCHES]


def test_full_widens_and_never_narrows():
    assert full(torch.ones(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert full(torch.ones(1, dtype=torch.float64)).dtype == torch.float64


def test_ieee_float32_ends_with_the_block():
    before = precisions()
    with ieee_float32():
        assert precisions() == ["ieee"] * 3
    with ieee_float32(False):
        assert precisions() == before
    assert precisions() == before


def test_training_in_float32_takes_no_tf32(few_digits):
    before, seen = precisions(), []
    network = build("small_cnn", (1, 8, 8), 10, width=4)
    options = FitOptions(float32=True, before_step=lambda *_: seen.append(precisions()))
    fit(network, few_digits, Train(epochs=1), CrossEntropy(), options)
    assert seen == [["ieee"] * 3] * 5
    assert precisions() == before


@pytest.mark.gpu
def test_a_convolution_in_ieee_float32_is_that_of_float64():
    torch.manual_seed(0)
    layer, x = torch.nn.Conv2d(256, 64, 3), torch.randn(4, 256, 14, 14)
    exact = copy.deepcopy(layer).double()(x.double())
    with ieee_float32():
        found = layer.cuda()(x.cuda()).cpu()
    assert float((found - exact).abs().max() / exact.abs().max()) < 1e-5
