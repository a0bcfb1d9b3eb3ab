"""Layers that cannot be cut are named with the reason, and all others are cut."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.prune import Prunable, prune
from edgekd.prune.graph import channel_graph
from edgekd.prune.sparse import GroupNorm
from edgekd.prune.verification import Unpruned, describe_unpruned, find_unprunable
from tests.prune.blocks import BLOCKS
from tests.prune.random_networks import SHAPE, composed


def left_by(kind: str, head: str = "pooled") -> list[Unpruned]:
    network = composed([kind], head)
    return list(find_unprunable(network, SHAPE, channel_graph(network, SHAPE)).reasons)


def widths_after(kind: str, keep: float = 0.5) -> dict[str, int]:
    """Of each layer of the block, where half of every group goes."""
    prunable = Prunable(composed([kind], "pooled"), SHAPE, round_to=1)
    assert not prunable.unpruned
    network, _ = prunable.cut([prunable.rounded(each, int(len(each.scores) * keep)) for each in prunable.groups])
    return {name: getattr(layer, "out_channels", 0) for name, layer in network.blocks[0].named_children()}


# The operation that is named, for each kind of block whose convolution keeps its width.
FIXED = {
    "buffer_mean": "sub",
    "fixed_blur": "conv2d",
    "squeeze_excite_with_numbers": "view",
    "channel_shuffle": "channel_shuffle",
    "rolled": "roll",
    "repeated": "repeat",
    "repeat_interleaved": "repeat_interleave",
    "softmax_of_channels": "softmax",
    "normalised_by_hand": "var",
    "padded_shortcut": "pad",
    "in_place": "__setitem__",
    "uneven_split": "split",
}


@pytest.mark.parametrize("kind", FIXED)
def test_the_operation_is_named(kind):
    [left] = left_by(kind)
    assert "blocks.0.conv" in left.layers
    assert left.operation == f"{FIXED[kind]} in 'blocks.0'"
    assert left.reason.startswith(left.operation)


@pytest.mark.parametrize("head", ["view_with_numbers", "pooled_with_numbers"])
def test_a_view_with_numbers(head):
    [left] = left_by("plain", head)
    assert (left.layers, left.operation.split()[0] in {"view", "reshape"}) == (("blocks.0.conv",), True)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("shuffle_with_numbers", "a reshape that splits or mixes channels"),
        ("maxout", "a reshape that splits or mixes channels"),
        ("own_attention", "a product of two activations"),
        ("tied", "weights that two layers share"),
    ],
)
def test_a_barrier_is_named(kind, words):
    assert f"meets {words}" in {left.reason for left in left_by(kind)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("spatial_gate", {"gate": 1}),
        ("one_channel_bias", {"main": 4, "other": 1}),
        ("glu", {"conv": 8}),
        ("glu_of_a_sum", {"one": 6, "two": 6}),
        ("chunks_multiplied", {"conv": 8}),
        ("chunks_added", {"conv": 9}),
        ("every_other", {"conv": 6}),
        ("pixel_shuffle", {"conv": 8}),
        ("pixel_unshuffle", {"conv": 3, "after": 4}),
    ],
)
def test_what_hangs_together_is_cut_together(kind, expected):
    assert widths_after(kind) == expected


@pytest.mark.parametrize("kind", ["chunks_multiplied", "chunks_added", "glu", "pixel_shuffle", "every_other"])
def test_at_least_one_channel_of_each_part_stays(kind):
    parts = {"chunks_added": 3, "pixel_shuffle": 4}
    assert widths_after(kind, keep=0)["conv"] == parts.get(kind, 2)


class OneLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.conv(x)).view(-1, 512))


def test_nothing_is_left_to_prune():
    with pytest.raises(ModelError) as error:
        prune(OneLayer(), SHAPE, macs=0.5)
    assert str(error.value).startswith(
        "OneLayer has no channels to prune by importance 'group_magnitude': choose another importance, ignore fewer "
        "layers, or leave the stage out. Unpruned: conv: view needs this width (shape '[-1, 512]' is invalid for "
    )
    assert str(error.value).endswith(
        ". Write an operation so that it takes any width, as flatten(1) in place of view(-1, 512), or name its layers "
        "in prune.ignore"
    )


def test_a_share_that_cannot_be_reached_names_the_unpruned_layers():
    with pytest.raises(ModelError, match=r"pruning cannot reach 1% of the MACs.*Unpruned: blocks\.0\.conv: sub in"):
        prune(composed(["buffer_mean"], "pooled"), SHAPE, macs=0.01)


def test_named_layers_are_not_tried():
    network = composed(["buffer_mean"], "pooled")
    assert Prunable(network, SHAPE, ignore=["blocks.0.conv"]).unpruned == ()


def test_the_regulariser_leaves_them_alone():
    assert list(GroupNorm(composed(["buffer_mean"], "pooled"), SHAPE).norms()) == ["stem"]


def test_a_plain_network_is_tried_once(monkeypatch):
    from edgekd.prune import verification

    cuts: list[Any] = []
    real = verification.cut_channels
    monkeypatch.setattr(verification, "cut_channels", lambda *args: cuts.append(args) or real(*args))
    network = composed(["plain", "residual", "grouped", "dense"], "two_added")
    assert find_unprunable(network, SHAPE, channel_graph(network, SHAPE)).reasons == ()
    assert len(cuts) == 1


def test_a_network_that_insists_on_a_type():
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 8, 1), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.conv(x.float()).mean((2, 3)))

    assert Prunable(Single(), SHAPE, round_to=1).unpruned == ()


def test_weights_that_are_zero_hide_nothing():
    network = composed(["rolled"], "pooled")
    nn.init.zeros_(network.head.last.weight)
    assert [left.layers for left in find_unprunable(network, SHAPE, channel_graph(network, SHAPE)).reasons] == [
        ("blocks.0.conv",)
    ]


def test_describe_unpruned():
    assert describe_unpruned(()) == ""
    many = [Unpruned((f"layer{number}",), "view", "view needs this width") for number in range(5)]
    assert describe_unpruned(many).startswith(". Unpruned: layer0: view needs this width; layer1: ")
    assert "; and 2 more. Write" in describe_unpruned(many)
    assert str(Unpruned(("a", "b", "c", "d", "e"), "", "why")) == "a, b, c and 2 more: why"


def test_a_network_is_left_as_it_was():
    network = composed(["glu", "buffer_mean"], "flat").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    Prunable(network, SHAPE)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert torch.equal(torch.get_rng_state(), generator)


def test_there_are_kinds_enough():
    assert len(BLOCKS) >= 60
