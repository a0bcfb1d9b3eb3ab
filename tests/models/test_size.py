import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.models import build, count_macs
from edgekd.models.size import macs_by_module

TOKENS, WIDTH, HEADS = 10, 16, 4


class Attention(nn.Module):
    """One projection and one self-attention over the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.attention(x, x, x, need_weights=False)[0]


def test_attention_counts():
    """Four projections of all tokens, then the products of queries with keys and of weights with values."""
    attention = 4 * TOKENS * WIDTH**2 + 2 * TOKENS**2 * WIDTH
    network = Attention().eval()
    assert macs_by_module(network, (TOKENS, 3)) == {"first": TOKENS * 3 * WIDTH, "attention": attention}
    assert count_macs(network, (TOKENS, 3)) == TOKENS * 3 * WIDTH + attention
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_container_counts_what_is_in_it():
    macs = macs_by_module(build("resnet8", (3, 16, 16), 10), (3, 16, 16))
    assert macs["layer2.conv1"] == 8 * 8 * 9 * 16 * 32
    assert macs["layer2"] == macs["layer2.conv1"] + macs["layer2.conv2"] + macs["layer2.shortcut.0"]
    assert "bn1" not in macs


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_left(training):
    network = build("resnet8", (3, 16, 16), 10).train(training)
    before = network.bn1.running_var.clone()
    count_macs(network, (3, 16, 16))
    assert network.training is training
    assert torch.equal(network.bn1.running_var, before)


def test_every_modules_own_mode_is_left():
    """A frozen BatchNorm stays in evaluation mode in a network that trains, also where the network fails."""
    network = build("resnet8", (3, 16, 16), 10).train()
    network.bn1.eval()
    count_macs(network, (3, 16, 16))
    with pytest.raises(ModelError, match=r"ResNet8 does not take inputs of \(1, 1, 16, 16\): Given groups=1"):
        count_macs(network, (1, 16, 16))
    assert [name for name, module in network.named_modules() if not module.training] == ["bn1"]


def test_a_network_without_weights_has_none():
    assert count_macs(nn.Sequential(nn.ReLU(), nn.Flatten()), (3, 4, 4)) == 0
