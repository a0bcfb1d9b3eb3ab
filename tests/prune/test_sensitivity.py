import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import ModelError, StorageError
from edgekd.models import build, count_macs, count_parameters
from edgekd.models.batchnorm import reestimate
from edgekd.prune import apply_plan, prune, widths
from edgekd.prune.prunable import Prunable
from edgekd.prune.sensitivity import ScannedCut, Sensitivity, scan
from edgekd.prune.weights import sensitivity_weights

IMAGE = (3, 8, 8)


class Score:
    """The mean of the first logit on fixed inputs, which every cut moves; ``calls`` counts how often it was asked."""

    def __init__(self, most: int | None = None):
        torch.manual_seed(1)
        self.inputs, self.calls, self.most = torch.randn(6, *IMAGE), 0, most

    def __call__(self, network: nn.Module) -> float:
        assert not any(module.training for module in network.modules())
        if self.calls == self.most:
            raise KeyboardInterrupt
        self.calls += 1
        with torch.no_grad():
            return float(network(self.inputs)[:, 0].mean())


class Share:
    """The share of the parameters that is left, as a latency; ``calls`` counts how often it was asked."""

    def __init__(self, network: nn.Module, most: int | None = None):
        self.whole, self.calls, self.most = count_parameters(network), 0, most

    def __call__(self, network: nn.Module) -> float:
        if self.calls == self.most:
            raise KeyboardInterrupt
        self.calls += 1
        return count_parameters(network) / self.whole


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    network = build("resnet8", IMAGE, 10)
    network(torch.randn(16, *IMAGE))
    return network


def least_filters(network: nn.Module, layer: str, count: int) -> list[int]:
    weight = network.get_submodule(layer).weight.detach().numpy()
    return [int(index) for index in np.argsort(np.abs(weight).sum((1, 2, 3)))[:count]]


def test_every_group_and_ratio_against_a_cut_by_hand(network):
    """A group within a block has one layer, whose own filters say what goes."""
    torch.manual_seed(2)
    batches = [torch.randn(8, *IMAGE), torch.randn(8, *IMAGE)]
    found = {each.layer: each for each in scan(network, IMAGE, Score(), importance="l1", batches=batches)}
    assert len(found) == 6, "three blocks' ins and outs"
    for layer, width in [("layer1.conv1", 16), ("layer2.conv1", 32), ("layer3.conv1", 64)]:
        one = found[layer]
        assert (one.width, [cut.ratio for cut in one.cuts], one.missing) == (width, [0.25, 0.5, 0.75], ())
        assert one.uncut == Score()(copy.deepcopy(network).eval())
        for cut in one.cuts:
            assert cut.width == math.ceil((1 - cut.ratio) * width / 8) * 8
            if cut.width == width:
                assert cut.score == one.uncut
                continue
            smaller = copy.deepcopy(network)
            apply_plan(smaller, [[layer, True, least_filters(network, layer, width - cut.width)]], IMAGE)
            reestimate(smaller, batches)
            assert cut.score == pytest.approx(Score()(smaller.eval()), rel=1e-6)


def test_latencies_are_those_of_the_networks_that_are_scored(network):
    """Of a block's convolution with its BatchNorm and the next one's inputs: 9·(in + out) + 2 parameters a channel."""
    scored: list[nn.Module] = []
    timed: list[nn.Module] = []
    share = Share(network)
    found = {
        each.layer: each
        for each in scan(
            network,
            IMAGE,
            lambda net: scored.append(net) or 0.5,
            latency=lambda net: timed.append(net) or share(net),
            round_to=4,
        )
    }
    assert len(timed) == 18
    assert all(one is other for one, other in zip(scored[1:], timed, strict=True)), "the first is the uncut network"
    for layer, width, beside in [("layer1.conv1", 16, 32), ("layer2.conv1", 32, 48), ("layer3.conv1", 64, 96)]:
        cuts = found[layer].cuts
        assert [cut.width for cut in cuts] == [width * 3 // 4, width // 2, width // 4]
        gone = [(width - cut.width) * (9 * beside + 2) for cut in cuts]
        assert [cut.latency for cut in cuts] == pytest.approx([1 - each / share.whole for each in gone])


def test_a_width_that_rounding_leaves_takes_as_long(network):
    share = Share(network)
    cuts = {each.layer: each.cuts for each in scan(network, IMAGE, Score(), latency=share, round_to=16)}
    assert [cut.latency for cut in cuts["layer1.conv1"]] == [1.0] * 3
    assert share.calls == 2 * 1 + 2 * 3, "of 32 channels 16 can go, of 64 16, 32 and 48"


def test_no_latency_unless_one_is_asked_for(network, tmp_path):
    scan(network, IMAGE, Score(), latency=Share(network), ratios=(0.5,), cache=tmp_path)
    for folder in (tmp_path, None):
        found = scan(network, IMAGE, Score(), ratios=(0.5,), cache=folder)
        assert all(cut.latency is None and cut.score is not None for each in found for cut in each.cuts)


def test_scores_from_the_cache_are_completed_by_latencies(network, tmp_path):
    some = {"ratios": (0.5, 0.75), "round_to": 4, "ignore": ("layer2.*", "layer3.*")}
    expected = scan(network, IMAGE, Score(), latency=Share(network), **some)
    scan(network, IMAGE, Score(), cache=tmp_path, **some)
    for timed in (4, 0):
        score, share = Score(), Share(network)
        assert scan(network, IMAGE, score, latency=share, cache=tmp_path, **some) == expected
        assert (score.calls, share.calls) == (1, timed)


def test_a_cut_that_was_scored_and_not_timed_is_not_scored_again(network, tmp_path):
    for most in (0, 2):
        with pytest.raises(KeyboardInterrupt):
            scan(network, IMAGE, Score(), latency=Share(network, most), ratios=(0.5,), cache=tmp_path)
    score, share = Score(), Share(network)
    found = scan(network, IMAGE, score, latency=share, ratios=(0.5,), cache=tmp_path)
    assert (score.calls, share.calls) == (1 + 6 - 3, 6 - 2)
    assert not any(cut.latency is None for each in found for cut in each.cuts)


def test_latencies_of_each_setting_are_kept_apart_and_whatever_the_score(network, tmp_path):
    half = {"latency": lambda _: 0.5, "latency_setting": "int8", "ratios": (0.5,), "cache": tmp_path}
    share = Share(network)
    first = scan(network, IMAGE, Score(), latency=share, latency_setting="float32", ratios=(0.5,), cache=tmp_path)
    int8 = scan(network, IMAGE, Score(), **half)
    assert {cut.latency for each in int8 for cut in each.cuts} == {0.5}
    other = Score()
    again = scan(
        network,
        IMAGE,
        lambda net: 2 * other(net),
        latency=share,
        latency_setting="float32",
        ratios=(0.5,),
        cache=tmp_path,
    )
    assert (share.calls, other.calls) == (6, 7)
    assert [[cut.latency for cut in each.cuts] for each in again] == [
        [cut.latency for cut in each.cuts] for each in first
    ]


def test_latencies_keep_to_the_limit_too(network):
    score, share = Score(), Share(network)
    found = scan(network, IMAGE, score, latency=share, round_to=1, cuts=2)
    timed = [cut.latency is not None for each in found for cut in each.cuts]
    assert sum(timed) == share.calls == score.calls - 1 == 2


@pytest.mark.parametrize("latency", [0.0, -1.0, math.nan, math.inf])
def test_a_latency_that_cannot_be(network, tmp_path, latency):
    with pytest.raises(ModelError) as error:
        scan(network, IMAGE, Score(), latency=lambda _: latency, ratios=(0.5,), cache=tmp_path)
    assert str(error.value) == (
        f"without 8 channels of 'conv1' the network takes {latency} of its time: latency must give a number above 0"
    )


def test_the_most_macs_come_first(network):
    """Convolutions of 3x3: 16 to 16 channels at 8x8 pixels, 32 to 32 at 4x4 and 64 to 64 at 2x2 are as much."""
    block, halving, projection = 9 * 16 * 16 * 64, 9 * 16 * 32 * 16, 16 * 32 * 16
    total = 9 * 3 * 16 * 64 + 2 * block + 2 * (halving + block + projection) + 640
    found = scan(network, IMAGE, Score(), cuts=1)
    shares = {each.layer: each.share for each in found}
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert shares["layer1.conv1"] == pytest.approx(2 * block / total)
    assert shares["layer2.conv1"] == pytest.approx((halving + block) / total)
    assert found[0].share == pytest.approx((9 * 3 * 16 * 64 + 2 * block + halving + projection) / total)


@pytest.mark.parametrize("cuts", [1, 5, 9])
def test_under_a_limit_the_middle_ratios_of_the_largest_groups_come_first(network, cuts):
    score = Score()
    found = scan(network, IMAGE, score, round_to=1, cuts=cuts)
    whole = scan(network, IMAGE, Score(), round_to=1)
    assert (score.calls, len(found)) == (1 + cuts, 6)
    middle, lower = min(cuts, 6), max(cuts - 6, 0)
    expected = [(0.75,)] * lower + [(0.25, 0.75)] * (middle - lower) + [(0.25, 0.5, 0.75)] * (6 - middle)
    assert [each.missing for each in found] == expected
    for each, full in zip(found, whole, strict=True):
        assert all(one in (other, replace(other, score=None)) for one, other in zip(each.cuts, full.cuts, strict=True))


def test_a_limit_is_of_work_not_of_what_was_measured_before(network, tmp_path):
    """A machine whose cache has every cut ranks groups as one does that begins."""
    begun = scan(network, IMAGE, Score(), round_to=1, cuts=7)
    whole = scan(network, IMAGE, Score(), round_to=1, cache=tmp_path)
    score = Score()
    assert scan(network, IMAGE, score, round_to=1, cuts=7, cache=tmp_path) == begun != whole
    assert score.calls == 1


def test_what_rounding_leaves_whole_takes_nothing_of_the_limit(network):
    """16 channels in steps of 16 stay 16, at the uncut network's score; two ratios of one width are one cut."""
    score = Score()
    found = scan(network, IMAGE, score, round_to=16, cuts=3)
    assert score.calls == 4
    for each in found:
        assert all(cut.score == each.uncut for cut in each.cuts if cut.width == each.width)
    scored = {(each.layer, cut.width) for each in found for cut in each.cuts if cut.score not in (None, each.uncut)}
    assert len(scored) == 3


def test_importances_by_gradients_need_labelled_batches(network):
    batches = [(torch.randn(4, *IMAGE), torch.arange(4))]
    found = scan(network, IMAGE, Score(), importance="taylor", ratios=(0.5,), labelled=batches)
    assert len(found) == 6 and not any(each.missing for each in found)
    with pytest.raises(ModelError, match="needs gradients"):
        scan(network, IMAGE, Score(), importance="taylor", ratios=(0.5,))


def test_it_goes_on_after_a_kill_and_measures_nothing_twice(network, tmp_path):
    whole, score = Score(), Score()
    expected = scan(network, IMAGE, whole)
    for most in (1, 3, 2):
        with pytest.raises(KeyboardInterrupt):
            scan(network, IMAGE, Score(most), cache=tmp_path)
    assert scan(network, IMAGE, score, cache=tmp_path) == expected
    assert score.calls == whole.calls - 0 - 2 - 1, "of what the killed ones measured, only the whole is measured anew"
    again = Score()
    assert scan(network, IMAGE, again, cache=tmp_path) == expected
    assert again.calls == 1


def test_the_cache_is_of_these_weights_and_this_score(network, tmp_path):
    scan(network, IMAGE, Score(), cache=tmp_path, ratios=(0.5,))
    [file] = tmp_path.iterdir()
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.layer3.conv2.weight[0, 0, 0, 0] += 1e-3
    for changed, arguments in [
        (other, {}),
        (network, {"batches": [torch.ones(2, *IMAGE)]}),
        (nn.Sequential(network, nn.Identity()), {}),
    ]:
        score = Score()
        scan(changed, IMAGE, score, cache=tmp_path, ratios=(0.5,), **arguments)
        assert score.calls > 1
    assert len(list(tmp_path.iterdir())) == 4
    fewer = Score()
    scan(network, IMAGE, lambda net: fewer(net) + 1, cache=tmp_path, ratios=(0.5,))
    assert fewer.calls > 1, "another score has another value for the uncut network"
    assert json.loads(file.read_text())["uncut"] == Score()(copy.deepcopy(network).eval()) + 1


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        '{"uncut": 1}',
        '{"uncut": 1, "scores": {"a": null}}',
        '{"uncut": 1, "scores": {}, "latencies": 3}',
        '{"uncut": 1, "scores": {}, "latencies": {"": [2]}}',
    ],
)
def test_a_damaged_cache_is_measured_again(network, tmp_path, damage):
    expected = scan(network, IMAGE, Score(), cache=tmp_path, ratios=(0.5,), ignore=("layer2.*", "layer3.*"))
    [file] = tmp_path.iterdir()
    file.write_text(damage)
    score, share = Score(), Share(network)
    again = scan(network, IMAGE, score, latency=share, cache=tmp_path, ratios=(0.5,), ignore=("layer2.*", "layer3.*"))
    assert [each.cuts[0].score for each in again] == [each.cuts[0].score for each in expected]
    assert score.calls == 1 + len(expected) == 1 + share.calls == 3


def test_a_score_that_is_not_a_number_is_kept_as_such(network, tmp_path):
    class Broken(Score):
        def __call__(self, network: nn.Module) -> float:
            value = super().__call__(network)
            return math.nan if network.layer1.conv1.out_channels < 16 else value

    for score in (Broken(), Broken()):
        found = {each.layer: each for each in scan(network, IMAGE, score, cache=tmp_path, ratios=(0.5,))}
        assert math.isnan(found["layer1.conv1"].cuts[0].score)
        assert found["layer1.conv1"].missing == ()
    assert score.calls == 1


def test_a_cache_that_cannot_be_written(network, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="^cannot write "):
        scan(network, IMAGE, Score(), cache=tmp_path / "file")


@pytest.mark.parametrize("importance", ["group_magnitude", "random"])
def test_it_is_the_same_every_time_and_the_network_is_left_alone(network, importance):
    network = copy.deepcopy(network).train()
    network.layer2.eval()
    before, modes = copy.deepcopy(network.state_dict()), [module.training for module in network.modules()]
    torch.manual_seed(5)
    first = scan(network, IMAGE, Score(), importance=importance, ratios=(0.5,), batches=[torch.ones(2, *IMAGE)])
    torch.manual_seed(6)
    score, drawn = Score(), torch.get_rng_state()
    again = scan(network, IMAGE, score, importance=importance, ratios=(0.5,), batches=[torch.ones(2, *IMAGE)])
    assert torch.equal(torch.get_rng_state(), drawn)
    assert first == again
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_ignored_layers_are_no_group(network):
    found = scan(network, IMAGE, Score(), ignore=("layer1.*", "layer2.*", "layer3.conv2"), ratios=(0.5,))
    assert [each.layer for each in found] == ["layer3.conv1"]
    assert "linear" not in {each.layer for each in scan(network, IMAGE, Score(), cuts=1)}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"ratios": (0.5, 1.0)}, "ratios must be a finite number above 0 and below 1, got 1.0"),
        (
            {"score": lambda _: math.nan},
            "the uncut network scores nan: nothing can be compared with it; look at the network",
        ),
        ({"importance": "l3"}, "unknown importance 'l3'"),
        ({"ignore": ("layer9.*",)}, "'layer9.*' matches no layer"),
        ({"ignore": ("*",)}, "ResNet8 has no channels to "),
    ],
)
def test_what_cannot_be(network, arguments, says):
    with pytest.raises(ModelError) as error:
        scan(network, IMAGE, **{"score": Score(), **arguments})
    assert says in str(error.value)


def least_lost(prunable: Prunable, layer: str, width: int) -> float:
    group = prunable.groups[prunable.roots.index(layer)]
    return float(np.sort(group.scores.numpy())[: group.width - width].sum())


def of_group(prunable: Prunable, layer: str, cuts: dict[int, float | None], uncut: float = 0.9) -> Sensitivity:
    width = prunable.groups[prunable.roots.index(layer)].width
    return Sensitivity(layer, width, 0.1, uncut, tuple(ScannedCut(0.5, kept, score) for kept, score in cuts.items()))


def test_weights_against_the_formula(network):
    prunable = Prunable(network, IMAGE, round_to=1)
    scanned = [
        of_group(prunable, "layer1.conv1", {12: 0.8, 8: 0.4, 4: 0.2}),
        of_group(prunable, "layer2.conv1", {24: 0.95, 16: 0.9, 8: 0.6}),
        of_group(prunable, "layer3.conv1", {48: 0.7, 32: None, 16: None}),
        of_group(prunable, "conv1", {16: 0.9, 8: None}),
    ]
    first = (0.1 + 0.5 + 0.7) / sum(least_lost(prunable, "layer1.conv1", width) for width in (12, 8, 4))
    second = (0.01 + 0.01 + 0.3) / sum(least_lost(prunable, "layer2.conv1", width) for width in (24, 16, 8))
    third = 0.2 / least_lost(prunable, "layer3.conv1", 48)
    expected = {"layer1.conv1": first, "layer2.conv1": second, "layer3.conv1": third}
    weights = sensitivity_weights(scanned, prunable, floor=0.01)
    assert set(weights) == set(prunable.roots)
    for root, weight in weights.items():
        assert weight == pytest.approx(expected.get(root, sorted(expected.values())[1])), root


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_the_greatest_loss_of_all(network, broken):
    prunable = Prunable(network, IMAGE, round_to=1)
    scanned = [
        of_group(prunable, "layer1.conv1", {12: 0.8, 8: broken}),
        of_group(prunable, "layer2.conv1", {24: 0.2}),
        of_group(prunable, "layer3.conv1", {32: broken}),
    ]
    weights = sensitivity_weights(scanned, prunable)
    lost = sum(least_lost(prunable, "layer1.conv1", width) for width in (12, 8))
    assert weights["layer1.conv1"] == pytest.approx((0.1 + 0.7) / lost)
    assert weights["layer3.conv1"] == pytest.approx(0.7 / least_lost(prunable, "layer3.conv1", 32))


def test_two_ratios_of_one_width_count_once(network):
    prunable = Prunable(network, IMAGE)
    one, cut = of_group(prunable, "layer1.conv1", {8: 0.4}), ScannedCut(0.25, 8, 0.4)
    twice = Sensitivity(one.layer, one.width, one.share, one.uncut, (cut, cut, ScannedCut(0.1, 16, 0.9)))
    assert sensitivity_weights([one], prunable) == sensitivity_weights([twice], prunable)


def test_weighted_scores_of_grouped_convolutions_add_up_to_the_measured_loss():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3, groups=4), nn.Flatten(), nn.Linear(16 * 16, 8), nn.Linear(8, 2)
    )
    found = scan(network, IMAGE, Score(), round_to=1)
    weights = sensitivity_weights(found, Prunable(network, IMAGE), floor=1e-6)
    weighted = Prunable(network, IMAGE, round_to=1, weights=weights)
    assert {group.repeats for group in weighted.groups} == {1, 4}
    for each in found:
        group = weighted.groups[weighted.roots.index(each.layer)]
        cuts = {cut.width: max(each.uncut - cut.score, 1e-6) for cut in each.cuts if cut.width < each.width}
        assert sum(group.lost(width // group.repeats) for width in cuts) == pytest.approx(sum(cuts.values()))


@pytest.mark.parametrize(("scope", "untold", "told"), [("global", 32, 8), ("paths", 24, 16)])
def test_channels_without_effect_go_first(network, scope, untold, told):
    """A block whose last BatchNorm is silent does nothing, however large its filters are."""
    torch.manual_seed(3)
    network, inputs = copy.deepcopy(network).eval(), torch.randn(64, *IMAGE)
    with torch.no_grad():
        network.layer2.conv1.weight *= 30
        network.layer2.bn2.weight.zero_()
        logits = network(inputs)

    def likeness(cut: nn.Module) -> float:
        with torch.no_grad():
            return 1 - float((cut(inputs) - logits).square().mean())

    found = scan(network, IMAGE, likeness)
    block = next(each for each in found if each.layer == "layer2.conv1")
    assert [cut.score for cut in block.cuts] == [1.0] * 3
    weights = sensitivity_weights(found, Prunable(network, IMAGE, importance="l2", scope=scope), floor=1e-6)
    blind = prune(network, IMAGE, macs=0.7, importance="l2", scope=scope)
    seeing = prune(network, IMAGE, macs=0.7, importance="l2", scope=scope, weights=weights)
    assert count_macs(seeing.network, IMAGE) <= 0.7 * count_macs(network, IMAGE)
    assert widths(blind.network)["layer2.conv1"] == untold and widths(seeing.network)["layer2.conv1"] == told
    assert likeness(seeing.network.eval()) > likeness(blind.network.eval())


def test_weights_that_cannot_be_computed(network):
    prunable = Prunable(network, IMAGE, ignore=("layer1.conv1",))
    some = of_group(prunable, "layer2.conv1", {16: 0.5})

    def says(scanned: list[Sensitivity], floor: float = 1e-3) -> str:
        with pytest.raises(ModelError) as error:
            sensitivity_weights(scanned, prunable, floor)
        return str(error.value)

    assert says([some], 0.0) == "floor must be a finite number above 0, got 0.0"
    assert says([some], math.nan) == "floor must be a finite number above 0, got nan"
    for nothing in ([], [of_group(prunable, "layer2.conv1", {32: 0.9, 16: None})]):
        assert says(nothing) == "the scan measured no cut of these groups: give it more cuts, or other ratios"
    assert says([some, Sensitivity("layer2.conv9", 32, 0.1, 0.9, ())]) == (
        "the scan is of another network: ResNet8 has no layer 'layer2.conv9' (did you mean 'layer2.conv2'?)"
    )
    assert says([some, Sensitivity("layer3.conv1", 48, 0.1, 0.9, ())]) == (
        "the scan is of another network: 'layer3.conv1' has 64 channels in ResNet8, and 48 in the scan; scan this one"
    )
    ignored = Sensitivity("layer1.conv1", 16, 0.1, 0.9, (ScannedCut(0.5, 8, 0.1),))
    assert sensitivity_weights([some, ignored], prunable) == sensitivity_weights([some], prunable)
