"""Every method against NumPy, from the parts of each channel that ``networks`` writes down."""

from functools import partial

import numpy as np
import pytest
import torch
import torch_pruning as tp
from scipy.spatial.distance import cdist
from torch import nn

from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.prune.importance import FPGM, LAMP, BNScale, Fisher, GroupMagnitude, Taylor, collect_gradients, lamp
from edgekd.prune.importance.filter_norm import L1, L2
from edgekd.prune.registry import IMPORTANCES
from tests.prune.importance.networks import CASES, Case, Residual, arrays, groups_of, made

FORMULAS = {
    "group_magnitude": lambda w, g, h: (w**2).sum(),
    "taylor": lambda w, g, h: abs((w * g).sum()),
    "fisher": lambda w, g, h: (h * w**2).sum() / 2,
}
REDUCED = {
    "mean": lambda table: np.nanmean(table, 0),
    "sum": lambda table: np.nansum(table, 0),
    "max": lambda table: np.nanmax(table, 0),
    "first": lambda table: table[0],
    "product": lambda table: np.nanprod(table, 0),
}


def table(case: Case, network: nn.Module, formula, kinds=("out", "in", "norm")) -> np.ndarray:
    """(layers, channels); NaN where a layer does not have the channel."""
    rows: dict[str, np.ndarray] = {}
    for channel in range(case.width):
        for path, kind, index in case.parts(channel):
            if kind in kinds:
                row = rows.setdefault(path, np.full(case.width, np.nan))
                row[channel] = formula(*arrays(network, path, index))
    return np.stack(list(rows.values()))


def scored(case: Case, importance) -> tuple[nn.Module, torch.Tensor]:
    network = made(case.network)
    return network, importance(groups_of(network)[case.root])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("name", FORMULAS)
def test_each_layer_is_asked_about_its_part_of_each_channel(name, case):
    network, scores = scored(case, IMPORTANCES.find(name)())
    expected = np.nanmean(table(case, network, FORMULAS[name]), 0)
    assert scores.dtype == torch.float64
    np.testing.assert_allclose(scores.numpy(), expected / expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("reduction", REDUCED)
@pytest.mark.parametrize("case", ["residual add", "added to a concatenation"])
@pytest.mark.parametrize("kind", [GroupMagnitude, Taylor, Fisher])
def test_reductions(kind, case, reduction):
    network, scores = scored(CASES[case], kind(reduction=reduction, normalise=False))
    name = next(name for name, each in IMPORTANCES.items() if each is kind)
    expected = REDUCED[reduction](table(CASES[case], network, FORMULAS[name]))
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(("name", "power"), [("l1", 1), ("l2", 2)])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_filter_norms_are_the_roots(name, power, case):
    network, scores = scored(case, IMPORTANCES.find(name)())
    expected = [np.linalg.norm(arrays(network, *case.parts(c)[0][::2])[0], power) for c in range(case.width)]
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("case", ["residual add", "added to a concatenation", "depthwise", "squeeze and excite"])
def test_fpgm_is_the_distance_to_the_other_filters(case):
    case = CASES[case]
    network, scores = scored(case, FPGM())
    filters: dict[str, dict[int, np.ndarray]] = {}
    for channel in range(case.width):
        for path, kind, index in case.parts(channel):
            if kind == "out":
                filters.setdefault(path, {})[channel] = arrays(network, path, index)[0]
    rows = np.full((len(filters), case.width), np.nan)
    for row, each in zip(rows, filters.values(), strict=True):
        row[list(each)] = cdist(np.stack(list(each.values())), np.stack(list(each.values()))).sum(1)
    expected = np.nanmean(rows, 0)
    np.testing.assert_allclose(scores.numpy(), expected / expected.mean(), rtol=1e-5)


def test_fpgm_tells_a_filter_from_its_negative():
    network = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.Conv2d(3, 1, 1), nn.Flatten())
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, -1.0, 0.5]).view(3, 1, 1, 1))
    group = groups_of(network, (1, 1, 1))["0"]
    assert FPGM(normalise=False)(group).tolist() == [2.5, 3.5, 2.0]
    assert tp.pruner.importance.FPGMImportance(normalizer=None)(group)[:2].tolist() != [2.5, 3.5]


@pytest.mark.parametrize("case", ["residual add", "inside a block", "added to a concatenation"])
def test_bn_scale_is_of_the_batchnorms_alone(case):
    network, scores = scored(CASES[case], BNScale())
    expected = table(CASES[case], network, lambda w, g, h: abs(w).sum(), ("norm",)).mean(0)
    np.testing.assert_allclose(scores.numpy(), expected / expected.mean(), rtol=1e-6)


@pytest.mark.parametrize("case", ["depthwise", "out of transposed groups"])
def test_bn_scale_says_nothing_without_a_batchnorm(case):
    assert scored(CASES[case], BNScale())[1] is None


def test_lamp_on_a_published_definition():
    squares = np.random.default_rng(0).random(50)
    expected = [each / squares[squares >= each].sum() for each in squares]
    np.testing.assert_allclose(lamp(torch.tensor(squares)).numpy(), expected, rtol=1e-12)
    assert lamp(torch.tensor([2.0, 0.0, 2.0, 0.0])).tolist() == [0.5, 0.0, 1.0, 0.0]
    assert lamp(torch.zeros(3)).tolist() == [0, 0, 0]


def test_lamp_is_of_the_groups_magnitudes():
    network, scores = scored(CASES["residual add"], LAMP("sum"))
    squares = np.nansum(table(CASES["residual add"], network, FORMULAS["group_magnitude"]), 0)
    expected = [each / squares[squares >= each].sum() for each in squares]
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-5)
    assert scores.max() == 1


@pytest.mark.parametrize(
    "case", ["residual add", "inside a block", "second of a concatenation", "linear behind a flatten"]
)
def test_group_magnitude_and_lamp_as_torch_pruning_has_them(case):
    group = groups_of(made(CASES[case].network))[CASES[case].root]
    np.testing.assert_allclose(GroupMagnitude()(group), tp.importance.GroupMagnitudeImportance()(group), rtol=1e-5)
    np.testing.assert_allclose(LAMP()(group), tp.importance.LAMPImportance()(group), rtol=1e-4)


def test_random_is_torchs_generator():
    group = groups_of(Residual())["conv2"]
    torch.manual_seed(3)
    scores = IMPORTANCES.find("random")()(group)
    torch.manual_seed(3)
    assert torch.equal(scores, torch.rand(6).double())


@pytest.mark.parametrize("name", sorted(set(IMPORTANCES) - {"random"}))
def test_zeros_score_zero_and_not_nan(name):
    """As the last norms of residual blocks that start at zero."""
    network = made(Residual)
    for parameter in network.parameters():
        parameter.data.zero_()
    assert IMPORTANCES.find(name)()(groups_of(network)["conv2"]).tolist() == [0] * 6


@pytest.mark.parametrize("importance", [L1(), L2(), GroupMagnitude(), LAMP(), FPGM(), Taylor(), Fisher()])
def test_a_weight_that_is_no_number(importance):
    network = made(Residual)
    network.conv2.weight.data[3, 0, 0, 0] = torch.nan
    with pytest.raises(ModelError) as error:
        importance(groups_of(network)["conv2"])
    assert str(error.value).startswith("the channels of conv2 (Conv2d(5, 6, kernel_size=(3, 3), ")
    assert str(error.value).endswith("not a number; prune the network as it was before it diverged")


@pytest.mark.parametrize(
    "network", [*dict.fromkeys(case.network for case in CASES.values()), partial(build, "resnet8", (3, 6, 6), 4)]
)
def test_every_importance_scores_every_group(network):
    torch.manual_seed(0)
    network = network()
    batches = [(torch.randn(2, 3, 6, 6), torch.tensor([0, 1]))]
    groups = groups_of(network)
    for importance in (kind() for kind in IMPORTANCES.values()):
        with collect_gradients(network, batches, nn.functional.cross_entropy, importance.gradients):
            for group in groups.values():
                scores = importance(group)
                if scores is not None:
                    assert scores.shape == (len(group[0].idxs),)
                    assert (scores >= 0).all()
                else:
                    assert isinstance(importance, BNScale)
