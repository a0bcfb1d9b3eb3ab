import numpy as np
import pytest
import torch
import torch_pruning as tp
from scipy.stats import rankdata
from torch import nn

from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.prune.importance import normalised, topology
from tests.prune.importance.networks import Depthwise, Residual, groups_of

SIZES, TOPOLOGIES = (16, 40, 24, 8), ("a", "b", "a", "b")


def scores() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    scales = (1e-3, 1.0, 1e3, 1e6)
    return [scale * torch.rand(size, generator=generator) for size, scale in zip(SIZES, scales, strict=True)]


@pytest.mark.parametrize("scope", ["global", "paths"])
def test_scores_as_they_are(scope):
    for before, after in zip(scores(), normalised(scores(), scope, TOPOLOGIES), strict=True):
        assert torch.equal(before, after)


def test_layer_scores_are_ranks_in_the_group():
    for before, after in zip(scores(), normalised(scores(), "layer", TOPOLOGIES), strict=True):
        np.testing.assert_allclose(after.numpy(), rankdata(before.numpy()) / len(before))


def test_isomorphic_scores_are_ranks_in_the_topology():
    before, after = scores(), normalised(scores(), "isomorphic", TOPOLOGIES)
    for first, second in ((0, 2), (1, 3)):
        ranks = rankdata(torch.cat([before[first], before[second]]).numpy())
        np.testing.assert_allclose(torch.cat([after[first], after[second]]).numpy(), ranks / len(ranks))


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.77])
@pytest.mark.parametrize(("scope", "classes"), [("layer", [[0], [1], [2], [3]]), ("isomorphic", [[0, 2], [1, 3]])])
def test_a_threshold_cuts_each_class_by_the_same_ratio(scope, classes, ratio):
    found = normalised(scores(), scope, TOPOLOGIES)
    threshold = torch.cat(found).sort().values[int(ratio * sum(SIZES))]
    for members in classes:
        size = sum(SIZES[index] for index in members)
        gone = sum(int((found[index] < threshold).sum()) for index in members)
        assert abs(gone - ratio * size) <= 1


def test_of_equals_the_first_ranks_lowest():
    [ranks] = normalised([torch.tensor([2.0, 1.0, 2.0, 1.0])], "layer", [()])
    assert ranks.tolist() == [0.75, 0.25, 1.0, 0.5]


def test_an_unknown_scope():
    with pytest.raises(ModelError) as error:
        normalised(scores(), "layers", TOPOLOGIES)
    assert str(error.value) == "unknown scope 'layers' (did you mean 'layer'?); known: global, isomorphic, layer, paths"


def test_blocks_of_a_stage_are_isomorphic():
    """The inner widths of ResNet-20's nine blocks; those that the shortcuts tie are three, of three lengths."""
    found = {
        root: topology(group) for root, group in groups_of(build("resnet20", (3, 16, 16), 10), (3, 16, 16)).items()
    }
    inner = {kind for root, kind in found.items() if root.endswith("conv1") and root != "conv1"}
    assert len(inner) == 1
    assert inner.isdisjoint(kind for root, kind in found.items() if not root.endswith("conv1"))


def test_a_depthwise_convolution_is_another_kind():
    depthwise = groups_of(Depthwise())["depth"]

    class Plain(Depthwise):
        def __init__(self) -> None:
            super().__init__()
            self.depth = nn.Conv2d(6, 6, 3, padding=1)

    kinds = {topology(group) for group in groups_of(Plain()).values()}
    assert topology(depthwise) not in kinds
    assert topology(depthwise) == topology(groups_of(Depthwise())["depth"])


def test_classes_are_torch_prunings():
    """Its own isomorphic pruning cuts the same number of channels from each group."""
    torch.manual_seed(0)
    network = build("resnet20", (3, 16, 16), 10)
    groups = groups_of(network, (3, 16, 16))
    importance = tp.importance.GroupMagnitudeImportance()
    ours = normalised([importance(group) for group in groups.values()], "isomorphic", [*map(topology, groups.values())])
    pruner = tp.pruner.BasePruner(
        network, torch.zeros(2, 3, 16, 16), importance, global_pruning=True, isomorphic=True, pruning_ratio=0.5,
        ignored_layers=[network.linear],
    )  # fmt: skip
    pruner.step()
    layers = dict(network.named_modules())
    left = {root: layers[root].out_channels for root in groups}
    assert left == {root: int((ranks > 0.5).sum()) for root, ranks in zip(groups, ours, strict=True)}


def test_residual_and_inner_groups_differ():
    groups = groups_of(Residual())
    assert topology(groups["conv1"]) != topology(groups["conv2"])
