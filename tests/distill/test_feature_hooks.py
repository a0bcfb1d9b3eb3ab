import copy
import gc
import weakref

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint
from torchvision import models

from edgekd.distill.feature_hooks import (
    FeatureHooks,
    LayerCandidate,
    as_map,
    candidate_layers,
    feature_shapes,
    pair_layers,
)
from edgekd.errors import TrainingError
from edgekd.models import build

SHAPE, LARGE = (3, 32, 32), (3, 64, 64)
PATHS = ("conv1", "layer2", "linear:input")


def resnet8() -> nn.Module:
    torch.manual_seed(0)
    return build("resnet8", SHAPE, 10, width=4).eval()


def blank(name: str, shape: tuple[int, ...]) -> nn.Module:
    """With any weights: drawing those of a large network takes longer than looking at its shapes."""
    with torch.device("meta"):
        network = build(name, shape, 10)
    return network.to_empty(device="cpu")


def vit(width: int = 32) -> nn.Module:
    return models.VisionTransformer(64, 16, num_layers=2, num_heads=2, hidden_dim=width, mlp_dim=64, num_classes=10)


def batch(seed: int = 1) -> torch.Tensor:
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(seed))


def by_hand(network: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    conv = network.conv1(inputs)
    second = network.layer2(network.layer1(F.relu(network.bn1(conv))))
    return {"conv1": conv, "layer2": second, "linear:input": network.layer3(second).mean((2, 3))}


def count_hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for path in ours:
        torch.testing.assert_close(ours[path], theirs[path])


class Calls(nn.Module):
    """Layers that are called never, once and twice, and ones that give something else than features."""

    def __init__(self) -> None:
        super().__init__()
        self.never, self.once, self.twice = (nn.Linear(4, 4) for _ in range(3))
        self.several, self.whole, self.early = nn.LSTM(4, 4), nn.Embedding(3, 4), nn.Linear(4, 4)
        self.counts, self.late = Counts(), nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.several(self.twice(self.twice(self.once(x))))[0]
        self.counts(x)
        return self.late(self.early(x))


class Counts(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x > 0).sum(1)


class Checkpointed(nn.Module):
    """Its layer runs a second time in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.linear = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(checkpoint(self.layer, x, use_reentrant=False))


def test_features_by_hand():
    network, inputs = resnet8(), batch()
    with FeatureHooks(network, PATHS) as hooks:
        network(inputs)
    same(hooks.read(), by_hand(network, inputs))


def test_gradients_flow_through_features():
    network, inputs = resnet8(), batch()
    with FeatureHooks(network, PATHS) as hooks:
        network(inputs)
    sums = [
        sum(each.square().sum() for each in features.values()) for features in (hooks.read(), by_hand(network, inputs))
    ]
    ours, theirs = (torch.autograd.grad(each, (network.conv1.weight, network.layer3.conv1.weight)) for each in sums)
    torch.testing.assert_close(ours, theirs)


def test_a_teacher_without_gradients():
    network, inputs = resnet8(), batch()
    for mode in (torch.no_grad, torch.inference_mode):
        with FeatureHooks(network, PATHS) as hooks, mode():
            network(inputs)
        found = hooks.read()
        assert not any(each.requires_grad for each in found.values())
        same(found, by_hand(network, inputs))


def test_inside_wrappers():
    """Paths are those of the network inside, whichever of the two is given."""
    network, inputs = resnet8(), batch()
    expected = by_hand(network, inputs)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        wrappers = (Fabric(accelerator="cpu", devices=1).setup(network), DistributedDataParallel(network))
        for wrapped in (*wrappers, nn.Sequential(network)):
            with FeatureHooks(network, PATHS) as hooks:
                wrapped(inputs)
            same(hooks.read(), expected)
        for wrapped in wrappers:
            with FeatureHooks(wrapped, PATHS) as hooks:
                wrapped(inputs)
            same(hooks.read(), expected)
            assert feature_shapes(wrapped, ["layer2"], SHAPE) == [(8, 16, 16)]
            assert candidate_layers(wrapped, SHAPE) == candidate_layers(network, SHAPE)
    finally:
        dist.destroy_process_group()


def test_hooks_are_removed():
    network = resnet8()
    hooks = FeatureHooks(network, PATHS)
    assert count_hooks(network) == 0
    with hooks:
        assert count_hooks(network) == len(PATHS) + 2
    assert count_hooks(network) == 0
    with pytest.raises(RuntimeError), hooks:
        network(torch.zeros(4, 1, 8, 8))
    assert count_hooks(network) == 0
    with pytest.raises(TrainingError, match="^ResNet8 was not called since"):
        hooks.read()
    hooks.attach()
    hooks.attach()
    assert count_hooks(network) == len(PATHS) + 2
    hooks.detach()
    assert count_hooks(network) == 0


def test_taps_can_be_entered_again():
    network, hooks = resnet8(), FeatureHooks(resnet8(), PATHS)
    for seed in (1, 2):
        with hooks:
            hooks.network(batch(seed))
        same(hooks.read(), by_hand(network, batch(seed)))


def test_the_last_pass_counts():
    """As after an evaluation between two steps."""
    network = resnet8()
    with FeatureHooks(network, PATHS) as hooks:
        network(batch(1))
        network(batch(2))
    same(hooks.read(), by_hand(network, batch(2)))


def test_features_do_not_live_on():
    network = resnet8()
    with FeatureHooks(network, PATHS) as hooks:
        network(batch())
        features = hooks.read()
        last = [weakref.ref(each) for each in features.values()]
        del features
        gc.collect()
        assert not any(each() is not None for each in last)


def test_a_copy_of_a_tapped_network_is_its_own():
    network = resnet8()
    with FeatureHooks(network, PATHS) as hooks:
        network(batch(1))
        copy.deepcopy(network)(batch(2))
    same(hooks.read(), by_hand(network, batch(1)))


def test_checkpointed_layers_run_again_unseen():
    network, inputs = Checkpointed(), torch.randn(3, 4)
    with FeatureHooks(network, ["layer"]) as hooks:
        loss = network(inputs).sum()
        features = hooks.read()["layer"]
        loss.backward()
        torch.testing.assert_close(features, network.layer(inputs))
        with pytest.raises(TrainingError, match="^Checkpointed was not called since its features were last read$"):
            hooks.read()


def test_dropout_in_place_leaves_the_input_that_was_tapped():
    network = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Dropout(0.9, inplace=True), nn.Linear(4, 2)))
    inputs = torch.randn(8, 4)
    with FeatureHooks(network, ["1:input"]) as hooks:
        network(inputs)
    torch.testing.assert_close(hooks.read()["1:input"], network[0](inputs))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("never", "layer 'never' was not called in this pass: choose one that is called once"),
        ("twice", "layer 'twice' was called 2 times in this pass: choose one that is called once"),
        ("several", "'several' is a tuple and no tensor of features: choose a layer inside or around it"),
        ("counts", "'counts' is a torch.int64 and no tensor of features: choose a layer inside or around it"),
        (
            "early",
            "what layer 'early' gives is overwritten in place by a later one: choose that one, or build the network "
            "without operations in place",
        ),
    ],
)
def test_layers_without_features(path, expected):
    network = Calls()
    with FeatureHooks(network, [path]) as hooks:
        network(torch.randn(2, 4))
    with pytest.raises(TrainingError) as error:
        hooks.read()
    assert str(error.value) == expected


@pytest.mark.parametrize("path", ["layer4", "layer4:input"])
def test_a_path_that_names_no_layer(path):
    with pytest.raises(TrainingError) as error:
        FeatureHooks(resnet8(), [path])
    assert str(error.value) == (
        "ResNet8 has no layer 'layer4' (did you mean 'layer3'?); "
        "edgekd.distill.feature_hooks.candidate_layers(network, input_shape) lists those that can be used"
    )
    with pytest.raises(TrainingError, match="^ResNet8 has no layer ''; "):
        feature_shapes(resnet8(), [""], SHAPE)


@pytest.mark.parametrize(
    ("tokens", "extra", "sides"), [(16, 0, (4, 4)), (17, 1, (4, 4)), (18, 2, (4, 4)), (8, 0, (1, 8))]
)
def test_tokens_as_a_map(tokens, extra, sides):
    """Row by row, as patches are numbered."""
    given = np.random.default_rng(0).normal(size=(2, tokens, 5))
    expected = np.moveaxis(given[:, extra:].reshape(2, *sides, 5), -1, 1)
    np.testing.assert_array_equal(as_map(torch.tensor(given)), expected)


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3, 3)])
def test_vectors_and_maps_stay(shape):
    features = torch.randn(shape)
    assert as_map(features) is features


def test_shapes_in_the_order_of_the_paths():
    network = resnet8()
    assert feature_shapes(network, ["linear:input", "layer2", "conv1", "layer2"], SHAPE) == [
        (16,),
        (8, 16, 16),
        (4, 32, 32),
        (8, 16, 16),
    ]
    assert feature_shapes(network.double(), ["linear"], SHAPE) == [(10,)]
    assert feature_shapes(vit(), ["conv_proj", "encoder", "heads:input"], LARGE) == [(32, 4, 4), (32, 4, 4), (32,)]


@pytest.mark.parametrize(
    "look", [lambda network: feature_shapes(network, ["0"], (1, 8, 8)), lambda n: candidate_layers(n, (1, 8, 8))]
)
def test_a_look_leaves_the_network_as_it_is(look):
    """Its modes, its statistics, the random state, and what its layers count even in evaluation."""

    class Counting(nn.BatchNorm2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.num_batches_tracked += 1
            return super().forward(x) + torch.rand(1)

    network = nn.Sequential(nn.Conv2d(1, 2, 3), Counting(2), nn.Dropout()).train()
    network[0].eval()
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    look(network)
    assert [module.training for module in network.modules()] == [True, False, True, True]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert count_hooks(network) == 0
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("look", [lambda network, shape: feature_shapes(network, ["conv1"], shape), candidate_layers])
def test_an_input_of_another_shape(look):
    network = resnet8()
    with pytest.raises(TrainingError, match=r"^ResNet8 does not run on inputs of \(2, 1, 8, 8\): ") as error:
        look(network, (1, 8, 8))
    assert str(error.value).endswith("; give the shape of one input without its batch")
    assert count_hooks(network) == 0


def test_candidates_of_a_small_network():
    """Eight innermost modules; what only drops or reshapes is left out, and so are the logits."""
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(inplace=True)),
        nn.Identity(),
        nn.Dropout(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Sequential(nn.Dropout(), nn.Linear(4, 3)),
    )
    assert candidate_layers(network, (1, 8, 8)) == [
        LayerCandidate("0", (4, 4, 4), 2 / 8),
        LayerCandidate("3", (4, 1, 1), 5 / 8),
        LayerCandidate("5:input", (4,), 6 / 8),
    ]


def test_candidates_are_called_once():
    assert [each.path for each in candidate_layers(Calls(), (4,))] == ["once", "early:input"]


def test_every_candidate_can_be_tapped():
    for network, shape in ((models.resnet18(num_classes=10), LARGE), (models.mobilenet_v2(), LARGE), (vit(), LARGE)):
        found = candidate_layers(network, shape)
        assert feature_shapes(network, [each.path for each in found], shape) == [each.shape for each in found]
        depths = [each.depth for each in found]
        assert depths == sorted(depths)
        assert 0 < depths[0] < 0.1
        assert 0.9 < depths[-1] <= 1
        with FeatureHooks(network.train(), [each.path for each in found]) as hooks:
            network(torch.randn(2, *shape))
        assert list(hooks.read()) == [each.path for each in found]


STAGES = [("layer1", "layer1"), ("layer2", "layer2"), ("layer3", "layer3"), ("linear:input", "linear:input")]
PAIRS = {
    "resnet20 resnet56": STAGES,
    "resnet56 resnet8": STAGES,
    "small_cnn resnet20": [("2", "layer1"), ("6", "layer2"), ("10", "layer3"), ("14:input", "linear:input")],
    "torchvision/resnet18 torchvision/resnet50": [
        ("relu", "relu"),
        *((f"layer{stage}", f"layer{stage}") for stage in (1, 2, 3, 4)),
        ("fc:input", "fc:input"),
    ],
    "torchvision/mobilenet_v2 torchvision/resnet50": [
        ("features.1", "relu"),
        ("features.3", "layer1"),
        ("features.6", "layer2"),
        ("features.13", "layer3"),
        ("features", "layer4"),
        ("classifier:input", "fc:input"),
    ],
}


@pytest.mark.parametrize("names", PAIRS)
def test_pairs_are_the_ends_of_stages(names):
    shape = LARGE if "torchvision" in names else SHAPE
    student, teacher = (blank(name, shape) for name in names.split())
    found = pair_layers(student, teacher, shape)
    assert found == PAIRS[names]
    ours, theirs = (
        feature_shapes(each, [paths[side] for paths in found], shape) for side, each in enumerate((student, teacher))
    )
    assert [each[1:] for each in ours] == [each[1:] for each in theirs]
    assert pair_layers(student, teacher, shape, count=2) == PAIRS[names][-2:]


def test_sizes_relative_to_the_smallest():
    """A teacher for photographs shrinks small images at once: its maps of 16x16 are of its first layer."""
    student, teacher = blank("resnet20", SHAPE), blank("torchvision/resnet18", SHAPE)
    assert pair_layers(student, teacher, SHAPE) == [*STAGES[:3], ("linear:input", "fc:input")]
    assert feature_shapes(teacher, ["layer1", "layer2", "layer3"], SHAPE) == [(64, 8, 8), (128, 4, 4), (256, 2, 2)]


def test_vision_transformers():
    assert pair_layers(vit(), vit(48), LARGE) == [("encoder", "encoder"), ("heads:input", "heads:input")]
    assert pair_layers(blank("torchvision/resnet18", LARGE), vit(), LARGE) == [
        ("layer3", "encoder"),
        ("fc:input", "heads:input"),
    ]


def test_vectors_alone():
    student, teacher = (build("mlp", (8,), 3, hidden=hidden) for hidden in ((4,), (6, 5)))
    assert pair_layers(student, teacher, (8,)) == [("3:input", "5:input")]


def test_the_end_of_a_stage_is_before_the_block_that_shrinks_it():
    """Not its expanding layer, but the layer before; a block that shrinks last ends the stage inside."""
    expanding = nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 1))
    pooling = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    network = nn.Sequential(nn.Conv2d(1, 4, 1), expanding, pooling, head)
    assert pair_layers(network, network, (1, 16, 16)) == [
        ("0", "0"),
        ("2.1", "2.1"),
        ("2", "2"),
        ("3.2:input", "3.2:input"),
    ]


def test_networks_that_share_nothing():
    student, teacher = build("mlp", (8,), 3, hidden=()), build("mlp", (8,), 3)
    with pytest.raises(TrainingError) as error:
        pair_layers(student, teacher, (8,))
    assert str(error.value) == (
        "no layers of Sequential and Sequential go together by depth and resolution: "
        "name them in pairs, student and teacher"
    )
    with pytest.raises(TrainingError, match="^0 pairs of layers cannot be had: give 1 or more, or leave count out"):
        pair_layers(teacher, teacher, (8,), count=0)
