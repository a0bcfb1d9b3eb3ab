import json

import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.prune import apply_plan, prune, widths

IMAGE = (3, 16, 16)


@pytest.mark.parametrize(
    ("name", "shape", "args"),
    [
        ("resnet8", IMAGE, {}),
        ("small_cnn", (1, 8, 8), {}),
        ("mlp", (1, 8, 8), {}),
        ("torchvision/mobilenet_v2", (3, 32, 32), {"width_mult": 0.25}),
    ],
)
def test_a_plan_through_json_gives_the_same_bits(name, shape, args):
    torch.manual_seed(0)
    pruned = prune(build(name, shape, 10, **args), shape, params=0.7, round_to=4, scope="layer")
    plan = json.loads(json.dumps(pruned.plan))
    torch.manual_seed(1)
    fresh = apply_plan(build(name, shape, 10, **args), plan, shape)
    fresh.load_state_dict(pruned.network.state_dict(), strict=True)
    x = torch.randn(4, *shape)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(x), pruned.network.eval()(x))


def test_a_plan_for_another_network():
    plan = [["layer1.conv1", True, [0, 3]]]
    with pytest.raises(ModelError) as error:
        apply_plan(build("mlp", IMAGE, 10), plan, IMAGE)
    assert str(error.value) == "the channel plan names 'layer1.conv1', which Sequential does not have"


def test_widths_are_output_channels():
    network = nn.ModuleDict(
        {
            "a": nn.Conv2d(1, 2, 3), "b": nn.Conv1d(1, 3, 3), "c": nn.ConvTranspose2d(1, 4, 3),
            "d": nn.Sequential(nn.Linear(1, 5)), "e": nn.BatchNorm2d(6),
        }
    )  # fmt: skip
    assert widths(network) == {"a": 2, "b": 3, "c": 4, "d.0": 5}
