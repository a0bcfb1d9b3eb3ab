"""Every family of torchvision's networks: pruned by half, saved, reloaded to the bit, and run in ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import edgekd
from edgekd.artifact import capture
from edgekd.export import export_onnx
from edgekd.files import sha256_file
from edgekd.models import build, count_macs
from edgekd.preprocess import Preprocess
from edgekd.prune import prune
from edgekd.spec import Spec, Transform
from edgekd.train.device import lay_out
from tests.prune.zoo import CLASSES, SHAPE

NETWORKS = Path(__file__).with_name("zoo.py")
FAMILIES = (
    *("resnext", "regnet_y", "dense", "shufflenet", "squeezenet", "mobilenet_v3", "mnasnet", "efficientnet", "vgg"),
    *("googlenet", "convnext_small", "vit", "swin", "swin_v2", "maxvit_small"),
)
# Large, or of blocks that others here have too.
LIKE_OTHERS = ("googlenet", "mnasnet", "efficientnet", "swin_v2", "maxvit_small", "vgg")
# The exporter takes seconds for each: one with a shuffle, one with attention.
EXPORTED = ("shufflenet", "vit")


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = build(f"{NETWORKS}:{name}", SHAPE, CLASSES)
    with torch.no_grad():
        network(torch.randn(8, *SHAPE))  # BatchNorm statistics that are not 0 and 1
    return network.eval()


def halved(name: str) -> tuple[nn.Module, Spec]:
    network = made(name)
    pruned = prune(network, SHAPE, macs=0.5, round_to=4)
    assert count_macs(pruned.network, SHAPE) <= 0.5 * count_macs(network, SHAPE)
    builder = f"{NETWORKS}:{name}"
    spec = Spec(builder, SHAPE, CLASSES, transforms=(Transform("prune", pruned.plan),), code=(sha256_file(NETWORKS),))
    return lay_out(pruned.network.eval()), spec


def answers(network: nn.Module) -> torch.Tensor:
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return network(images)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LIKE_OTHERS else ()) for name in FAMILIES]
)
def test_half_the_macs_reloaded_to_the_bit(name, tmp_path):
    network, spec = halved(name)
    capture(network, spec).save(tmp_path)
    torch.manual_seed(1)
    assert torch.equal(answers(edgekd.load(tmp_path)), answers(network))


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in EXPORTED else pytest.mark.slow) for n in FAMILIES])
def test_onnx_runtime_gives_the_same_logits(name, tmp_path):
    network, _ = halved(name)
    file = export_onnx(network, tmp_path / "pruned.onnx", Preprocess("image", SHAPE, (0.5,) * 3, (0.5,) * 3))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))
    expected = answers(network).numpy()
    np.testing.assert_allclose(
        session.run(None, {"input": images.numpy()})[0], expected, atol=1e-4 * abs(expected).max()
    )
