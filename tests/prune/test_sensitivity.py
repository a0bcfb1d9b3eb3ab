import copy
import json
import math
import time

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import ModelError, StorageError
from edgekd.models import build
from edgekd.prune import apply_plan
from edgekd.prune.sensitivity import scan
from edgekd.train.batchnorm import reestimate

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


def test_the_most_macs_come_first(network):
    """Convolutions of 3x3: 16 to 16 channels at 8x8 pixels, 32 to 32 at 4x4 and 64 to 64 at 2x2 are as much."""
    block, halving, projection = 9 * 16 * 16 * 64, 9 * 16 * 32 * 16, 16 * 32 * 16
    total = 9 * 3 * 16 * 64 + 2 * block + 2 * (halving + block + projection) + 640
    found = scan(network, IMAGE, Score(), seconds=0)
    shares = {each.layer: each.share for each in found}
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert shares["layer1.conv1"] == pytest.approx(2 * block / total)
    assert shares["layer2.conv1"] == pytest.approx((halving + block) / total)
    assert found[0].share == pytest.approx((9 * 3 * 16 * 64 + 2 * block + halving + projection) / total)


def test_no_time_measures_nothing_but_the_whole(network):
    score = Score()
    found = scan(network, IMAGE, score, seconds=0)
    assert score.calls == 1
    for each in found:
        assert each.missing == tuple(cut.ratio for cut in each.cuts if cut.width < each.width)
        assert all(cut.score == each.uncut for cut in each.cuts if cut.width == each.width)


def test_under_a_limit_the_middle_ratios_come_first(network, tmp_path):
    """Stopped after any number of cuts, what was measured is the middle ratio of the groups with the most MACs."""
    with pytest.raises(KeyboardInterrupt):
        scan(network, IMAGE, Score(most=6), round_to=1, cache=tmp_path)
    found = scan(network, IMAGE, Score(), round_to=1, seconds=0, cache=tmp_path)
    assert [each.missing for each in found] == [(0.25, 0.75)] * 5 + [(0.25, 0.5, 0.75)] * (len(found) - 5)
    with pytest.raises(KeyboardInterrupt):
        scan(network, IMAGE, Score(most=len(found) - 4), round_to=1, cache=tmp_path)
    found = scan(network, IMAGE, Score(), round_to=1, seconds=0, cache=tmp_path)
    assert [each.missing for each in found] == [(0.25, 0.75)] * len(found)


def test_it_keeps_to_the_limit(network):
    class Slow(Score):
        def __call__(self, network: nn.Module) -> float:
            time.sleep(0.25)
            return super().__call__(network)

    score = Slow()
    found = scan(network, IMAGE, score, round_to=1, seconds=2)
    assert 2 <= score.calls <= 8
    assert sum(len(each.missing) for each in found) == 3 * len(found) - (score.calls - 1)


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


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"uncut": 1}', '{"uncut": 1, "scores": {"a": null}}'])
def test_a_damaged_cache_is_measured_again(network, tmp_path, damage):
    expected = scan(network, IMAGE, Score(), cache=tmp_path, ratios=(0.5,), ignore=("layer2.*", "layer3.*"))
    [file] = tmp_path.iterdir()
    file.write_text(damage)
    score = Score()
    assert scan(network, IMAGE, score, cache=tmp_path, ratios=(0.5,), ignore=("layer2.*", "layer3.*")) == expected
    assert score.calls == 1 + len(expected) == 3


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
    assert "linear" not in {each.layer for each in scan(network, IMAGE, Score(), seconds=0)}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"ratios": (0.5, 1.0)}, "cannot cut a share of 1.0 of a group's channels: give ratios between 0 and 1"),
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
