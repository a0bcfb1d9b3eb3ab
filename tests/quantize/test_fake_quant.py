import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgekd.quantize import FakeQuantize, prepare
from edgekd.quantize.fake_quant import fake_quants
from edgekd.runtime import SMALLEST_SCALE
from tests.deploy.networks import IMAGE, NETWORKS, PreActivation

AFFINE, SYMMETRIC, CHANNELS = torch.per_tensor_affine, torch.per_tensor_symmetric, torch.per_channel_symmetric


def affine(**more) -> FakeQuantize:
    return FakeQuantize(torch.uint8, 0, 255, AFFINE, **more)


def symmetric(**more) -> FakeQuantize:
    return FakeQuantize(torch.int8, -128, 127, SYMMETRIC, **more)


def weights(low: int = -127, high: int = 127, **more) -> FakeQuantize:
    return FakeQuantize(torch.int8, low, high, CHANNELS, averaging=1.0, **more)


def set_range(module: FakeQuantize, low: float | list[float], high: float | list[float]) -> tuple[list, list]:
    module.set_range(torch.tensor(low).reshape(-1), torch.tensor(high).reshape(-1))
    return module.scale.tolist(), module.zero_point.tolist()


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [
        (-1.0, 1.55, 0.01, 100),  # 2.55 in 255 steps, 100 of them below zero
        (0.5, 2.55, 0.01, 0),  # widened to zero
        (-2.55, -1.0, 0.01, 255),
        (0.0, 6.0, 6 / 255, 0),
    ],
)
def test_affine_by_hand(low, high, scale, zero):
    found, zeros = set_range(affine(), low, high)
    assert found == pytest.approx([scale], rel=1e-6)
    assert zeros == [zero]


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.275), (-1.275, 0.0), (0.3, 1.275)])
def test_symmetric_by_hand(low, high):
    """127.5 steps to the larger side, around zero."""
    found, zeros = set_range(symmetric(), low, high)
    assert found == pytest.approx([0.01], rel=1e-6)
    assert zeros == [0]


def test_per_channel_by_hand():
    """127 steps for eight bits, 63.5 for the seven from -64 to 63."""
    for low, high, steps in ((-127, 127, 127), (-64, 63, 63.5)):
        module = weights(low, high)
        module.observe(torch.tensor([[1.0, -2.0], [0.5, 0.25], [0.0, 0.0]]))
        assert module.scale.tolist() == pytest.approx([2 / steps, 0.5 / steps, SMALLEST_SCALE], rel=1e-6)
        assert module.zero_point.tolist() == [0, 0, 0]


def test_channels_along_another_axis():
    """Of a transposed convolution: (in, out, height, width)."""
    module = weights(ch_axis=1)
    weight = torch.arange(-12.0, 12.0).reshape(2, 3, 2, 2)
    module.observe(weight)
    expected = [float(weight[:, channel].abs().max()) / 127 for channel in range(3)]
    assert module.scale.tolist() == pytest.approx(expected, rel=1e-6)
    module.disable_observer()
    np.testing.assert_allclose(module(weight), weight, atol=max(expected) / 2 * 1.001)


@pytest.mark.parametrize("make", [affine, symmetric])
@pytest.mark.parametrize("float16_scales", [False, True])
def test_a_range_of_nothing(make, float16_scales):
    """A dead layer's activations: no division by zero, no scale of zero, and zero stays zero."""
    module = make(float16_scales=float16_scales)
    x = torch.zeros(4, 3)
    assert torch.equal(module(x), x)
    assert module.scale.tolist() == [SMALLEST_SCALE]
    assert np.float16(SMALLEST_SCALE) == SMALLEST_SCALE > 0


@given(st.floats(1e-4, 6e4))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_scales_for_float16_are_its_next_larger_number(high):
    module = symmetric(float16_scales=True)
    [scale], _ = set_range(module, 0.0, high)
    exact = max(np.float32(high) / np.float32(127.5), np.float32(SMALLEST_SCALE))
    assert np.float16(scale) == scale >= exact
    assert np.nextafter(np.float16(scale), np.float16(0)) < exact


def test_rounding_by_hand():
    """Halves to even, and the ends of the range cut off."""
    module = affine()
    set_range(module, 0.0, 255.0)
    module.disable_observer()
    x = torch.tensor([-3.0, 0.5, 1.5, 2.5, 254.4, 255.0, 300.0])
    assert module(x).tolist() == [0.0, 0.0, 2.0, 2.0, 254.0, 255.0, 255.0]


def test_a_disabled_place_changes_nothing():
    module = symmetric()
    module.disable_fake_quant()
    x = torch.randn(64)
    assert torch.equal(module(x), x)


def lsq(x: np.ndarray, scale: float, low: int, high: int) -> float:
    """Sum over x of equation 3 of Esser et al. 2020, times g = 1/sqrt(N·Q_P) of section 2.2."""
    v = x / scale
    inside = np.rint(v) - v
    slope = np.where(v <= low, low, np.where(v >= high, high, inside))
    return float(slope.sum() / math.sqrt(x.size * high))


@pytest.mark.parametrize(("low", "high"), [(-128, 127), (0, 255)])
def test_the_gradient_of_a_learned_scale(low, high):
    """Less the half steps outside the ends, which PyTorch's kernel rounds before it clips, and LSQ after."""
    x = np.random.default_rng(0).normal(size=400).astype(np.float32)
    steps = x * (high - low) / 2
    x = x[(np.abs(steps - high - 0.25) > 0.5) & (np.abs(steps - low + 0.25) > 0.5)]
    module = FakeQuantize(torch.int8 if low else torch.uint8, low, high, SYMMETRIC)
    set_range(module, -1.0, 1.0)
    module.learn_scale()
    inputs = torch.from_numpy(x).requires_grad_()
    module(inputs).sum().backward()
    scale = float(module.scale)
    assert float(module.scale.grad) == pytest.approx(lsq(x, scale, low, high), rel=1e-3)
    passes = (x / scale > low - 0.5) & (x / scale < high + 0.5)
    np.testing.assert_array_equal(inputs.grad.numpy(), passes.astype(np.float32))


def test_the_gradient_of_learned_scales_by_channel():
    x = np.random.default_rng(1).normal(size=(3, 50)).astype(np.float32) * np.float32([[1], [2], [0.1]])
    module = weights()
    module.observe(torch.from_numpy(x) / 2)
    module.learn_scale()
    module(torch.from_numpy(x)).sum().backward()
    expected = [lsq(row, float(scale), -127, 127) for row, scale in zip(x, module.scale, strict=True)]
    np.testing.assert_allclose(module.scale.grad.numpy(), expected, rtol=2e-3)


def test_learning_starts_where_calibration_ended():
    module, x = symmetric(float16_scales=True), torch.randn(100)
    module(x)
    module.disable_observer()
    before = module(x)
    module.learn_scale()
    torch.testing.assert_close(module(x), before)
    assert not module.observer_enabled[0]
    assert [name for name, _ in module.named_parameters()] == ["scale"]


def test_a_learned_scale_settles_on_what_was_used():
    module, x = symmetric(float16_scales=True), torch.randn(100)
    module(x)
    module.learn_scale()
    with torch.no_grad():
        module.scale.mul_(-1.2345)  # an optimiser may carry it past zero
    used = module(x).detach()
    module.freeze_scale()
    assert not list(module.parameters())
    [scale] = module.scale.tolist()
    assert np.float16(scale) == scale > 0
    torch.testing.assert_close(module(x), used)
    settled: Tensor = module.scale.clone()
    module.freeze_scale()
    assert torch.equal(module.scale, settled)


@pytest.mark.parametrize("make", [PreActivation, NETWORKS["dense"], NETWORKS["shuffle"]])
def test_prepare_computes_the_network(make):
    """A BatchNorm is folded into a convolution only where nothing else reads what that gives."""
    torch.manual_seed(0)
    network = make()
    for _ in range(5):
        network(2 * torch.randn(16, *IMAGE) + 1)
    graph = prepare(network.eval(), IMAGE)
    for module in fake_quants(graph).values():
        module.disable_fake_quant()
        module.disable_observer()
    x = torch.randn(8, *IMAGE)
    with torch.no_grad():
        torch.testing.assert_close(graph(x), network(x), rtol=1e-4, atol=1e-5)


def test_switches_stay_where_they_are_read():
    module = FakeQuantize(torch.uint8, 0, 255, torch.per_tensor_affine).to("meta")
    assert module.scale.device.type == "meta"
    assert (module.observer_enabled.device.type, module.fake_quant_enabled.device.type) == ("cpu", "cpu")
    module.disable_observer()
    assert not module.observer_enabled[0] and module.fake_quant_enabled[0]


@pytest.mark.gpu
@pytest.mark.parametrize("qscheme", [torch.per_tensor_affine, torch.per_channel_symmetric])
@pytest.mark.parametrize("float16_scales", [False, True])
@pytest.mark.parametrize("learned", [False, True])
def test_on_a_gpu_ranges_and_roundings_are_those_of_the_cpu(qscheme, float16_scales, learned):
    symmetric = qscheme == torch.per_channel_symmetric
    low, high = (-128, 127) if symmetric else (0, 255)
    dtype = torch.int8 if symmetric else torch.uint8
    x = torch.randn(16, 8, 5, generator=torch.Generator().manual_seed(0))
    found = []
    for device in ("cpu", "cuda"):
        module = FakeQuantize(dtype, low, high, qscheme, float16_scales=float16_scales).to(device)
        module(x.to(device))
        if learned:
            module.learn_scale()
        found.append((module(x.to(device)).cpu(), module.scale.detach().cpu(), module.zero_point.cpu()))
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(there, here, rtol=1e-6, atol=1e-6)
