"""Heat maps from a backbone by name: their size, what is left of the backbone, the cut, and what is refused."""

import pytest
import torch

from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.models.size import count_macs, count_parameters
from edgekd.prune import apply_plan, prune

SHAPE = (3, 32, 64)


@pytest.mark.parametrize(
    ("backbone", "own", "args"),
    [("resnet8", 4, {"width": 8}), ("small_cnn", 8, {"width": 8}), ("torchvision/mobilenet_v3_small", 32, {})],
)
def test_maps_of_each_stride_that_a_backbone_reaches(backbone, own, args):
    for stride in (own, own // 2, own // 4):
        network = build("simple_baseline", SHAPE, 5, backbone=backbone, backbone_args=args, stride=stride, channels=8)
        found = network.eval()(torch.randn(2, *SHAPE))
        assert found.shape == (2, 5, 32 // stride, 64 // stride)
        assert found.abs().max() < 0.1, "nothing is seen anywhere at first"
    with pytest.raises(
        ModelError, match=f"the last map of {backbone} is {64 // own}x{32 // own} for an image of 64x32"
    ):
        build("simple_baseline", SHAPE, 5, backbone=backbone, backbone_args=args, stride=2 * own)


def test_what_lies_behind_the_backbones_last_map_is_left_out():
    """The trunk gives what the pooling of the whole network sees, and has its names but for the last layer's."""
    torch.manual_seed(0)
    whole = build("resnet8", SHAPE, 1, width=8).eval()
    network = build("simple_baseline", SHAPE, 5, backbone_args={"width": 8}).eval()
    kept = {name: value for name, value in whole.state_dict().items() if not name.startswith("linear.")}
    network.trunk.load_state_dict(kept)
    x = torch.randn(2, *SHAPE)
    torch.testing.assert_close(whole.linear(network.trunk(x).mean((2, 3))), whole(x))
    assert count_parameters(network) == count_parameters(whole) - 33 + (32 * 5 + 5)
    larger = build("simple_baseline", SHAPE, 5, backbone_args={"width": 8}, stride=2, channels=16)
    cells = 16 * 32
    enlarged = 32 * 16 * cells // 4 + 9 * 16 * 16 * cells + 16 * 5 * cells
    assert count_macs(larger, SHAPE) == count_macs(whole, SHAPE) - 32 + enlarged


def test_half_of_it_is_cut_and_comes_back_to_the_bit():
    torch.manual_seed(0)
    args = {"backbone_args": {"width": 16}, "stride": 2, "channels": 32}
    network = build("simple_baseline", SHAPE, 5, **args).eval()
    cut = prune(network, SHAPE, macs=0.5)
    assert count_macs(cut.network, SHAPE) <= 0.5 * count_macs(network, SHAPE)
    again = build("simple_baseline", SHAPE, 5, **args)
    apply_plan(again, cut.plan, SHAPE)
    again.load_state_dict(cut.network.state_dict())
    x = torch.randn(2, *SHAPE)
    with torch.no_grad():
        found = again.eval()(x)
        assert found.shape == (2, 5, 16, 32) and torch.equal(found, cut.network.eval()(x))


@pytest.mark.parametrize(
    ("shape", "args", "said"),
    [
        ((30,), {}, "takes images"),
        ((3, 30, 32), {}, "is 8x8 for an image of 32x30, and a map of stride 4 is 8x7.5, not 1, 2, 4 or more times as"),
        (SHAPE, {"backbone": "mlp"}, "mlp is no backbone: it makes no maps"),
        (SHAPE, {"backbone": "resnet9"}, "unknown model 'resnet9'"),
        (SHAPE, {"backbone": "net.py:make"}, "build the whole network in a path.py:function"),
        (SHAPE, {"backbone": "unet", "stride": 0}, "fails with args"),
    ],
)
def test_what_is_no_backbone(shape, args, said):
    with pytest.raises(ModelError, match=said):
        build("simple_baseline", shape, 5, **args)
