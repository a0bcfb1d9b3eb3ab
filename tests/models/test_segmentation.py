"""Networks that give masks: built by name, cut to half of their multiply-accumulates, reloaded to the bit."""

import pytest
import torch

from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.models.size import count_macs
from edgekd.prune import apply_plan, prune


def halved(name: str, shape: tuple[int, ...], **args: int) -> None:
    torch.manual_seed(0)
    network = build(name, shape, 4, **args).eval()
    inputs = torch.randn(2, *shape)
    assert network(inputs).shape == (2, 4, *shape[1:])
    cut = prune(network, shape, macs=0.5)
    assert count_macs(cut.network, shape) <= 0.5 * count_macs(network, shape)
    again = build(name, shape, 4, **args)
    apply_plan(again, cut.plan, shape)
    again.load_state_dict(cut.network.state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(inputs), cut.network.eval()(inputs))


def test_a_unet():
    halved("unet", (3, 16, 16), width=16, depth=1)
    with pytest.raises(ModelError, match="multiples of 8, the data gives \\(3, 20, 20\\)"):
        build("unet", (3, 20, 20), 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50"])
def test_torchvisions(name):
    halved(f"torchvision/segmentation/{name}", (3, 64, 64))


def test_a_network_that_torchvision_does_not_have():
    with pytest.raises(ModelError, match="torchvision has no segmentation network 'lraspp'"):
        build("torchvision/segmentation/lraspp", (3, 64, 64), 4)
