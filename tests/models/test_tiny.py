import pytest
import torch
from torch import nn

from edgekd.models import MODELS, build, count_macs, count_parameters


def test_parameters_of_resnet8():
    """MLPerf Tiny counts 78,666 in its reference, which has biases and no BatchNorm on its shortcuts."""
    ours = count_parameters(build("resnet8", (3, 32, 32), 10))
    channels = 3 * 16 + 2 * 32 + 2 * 64
    biases = 3 * 16 + 3 * 32 + 3 * 64
    running_statistics = 2 * channels
    shortcut_norms = 2 * (32 + 64)
    assert ours + biases + running_statistics - shortcut_norms == 78_666


def test_macs_of_resnet8():
    """12.5 million, as MLPerf Tiny says."""
    assert count_macs(build("resnet8", (3, 32, 32), 10), (3, 32, 32)) / 1e6 == pytest.approx(12.5, rel=0.01)


def test_a_multilayer_perceptron_by_hand():
    network = build("mlp", (1, 8, 8), 10, hidden=(20, 30))
    assert count_parameters(network) == 64 * 20 + 20 + 20 * 30 + 30 + 30 * 10 + 10
    assert count_macs(network, (1, 8, 8)) == 64 * 20 + 20 * 30 + 30 * 10


def test_a_small_cnn_by_hand():
    network = build("small_cnn", (3, 16, 16), 7, width=4)
    assert count_macs(network, (3, 16, 16)) == 9 * (3 * 4 * 256 + 4 * 8 * 64 + 8 * 16 * 16) + 16 * 7


# The others give maps, and have tests of their own.
CLASSIFIERS = sorted(set(MODELS) - {"unet", "pyramid_detector", "simple_baseline"})


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16)])
def test_every_classifier_builds_and_runs(name, shape):
    network = build(name, shape, 6)
    logits = network.eval()(torch.randn(2, *shape))
    assert logits.shape == (2, 6)
    assert torch.isfinite(logits).all()


def test_counting_leaves_the_mode_and_the_statistics():
    network = build("resnet8", (3, 16, 16), 10, width=4)
    assert isinstance(network.bn1, nn.BatchNorm2d)
    count_macs(network, (3, 16, 16))
    assert network.training
    assert int(network.bn1.num_batches_tracked) == 0
