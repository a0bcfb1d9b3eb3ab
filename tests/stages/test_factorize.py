"""The factorize stage: one file, from its options to what reports say of it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgekd.artifact import Artifact, capture
from edgekd.errors import ModelError, RecipeError
from edgekd.models import build, count_macs
from edgekd.recipe import load_recipe
from edgekd.spec import Spec
from edgekd.stages import STAGES
from edgekd.stages.factorize.options import Factorize
from edgekd.stages.factorize.work import check, factorize
from edgekd.stages.job import Job, Result, Trial
from edgekd.stages.network import restore
from edgekd.stages.work import WORK
from edgekd.tasks.classification import Classification
from tests.toy import RECIPE, write_recipe

SHAPE = (1, 8, 8)
SPEC = Spec("resnet8", SHAPE, 10, {"width": 16})


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build(SPEC.builder, SHAPE, 10, **SPEC.args).eval()


@pytest.fixture
def run(few_digits, network, tmp_path):
    def run(folder: Path = tmp_path, taught_by: nn.Module | None = None, **options: Any) -> Result:
        stage = Factorize(**{"macs": 0.6, "epochs": 1, "round_to": 2, **options})
        job = Job("01-factorize", copy.deepcopy(network), SPEC, stage, few_digits, 0, taught_by, folder, lambda _: None)
        return factorize(job)

    return run


def test_it_keeps_the_share_of_the_macs_and_trains(run, network):
    result = run()
    share = count_macs(result.network, SHAPE) / count_macs(network, SHAPE)
    assert 0.4 < share <= 0.6
    assert result.metrics["kept"] == {"macs": share}
    assert [entry["epoch"] for entry in result.metrics["history"]] == [1]
    assert {each["path"] for each in result.metrics["factorized"]} < set(dict(network.named_modules()))


def test_the_same_outputs_after_a_reload(run, tmp_path):
    result = run(tmp_path / "work")
    capture(result.network, result.spec).save(tmp_path / "saved")
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(restore(Artifact.load(tmp_path / "saved"))(x), result.network.eval()(x))


def test_by_energy_each_layer_keeps_as_much(run):
    result = run(macs=None, energy=0.9, epochs=0)
    assert all(each["energy"] >= 0.9 for each in result.metrics["factorized"])
    assert result.metrics["history"] == []


def test_it_learns_from_the_teacher_unless_told_not_to(run, network, tmp_path):
    taught = run(tmp_path / "taught", copy.deepcopy(network)).metrics["history"][0]
    alone = run(tmp_path / "alone", copy.deepcopy(network), teacher=False).metrics["history"][0]
    assert "terms" in taught
    assert "terms" not in alone


def test_cuts_and_quantisation_follow(run, few_digits, tmp_path):
    """Each stage starts from the network that the one before it left, and all of it is built again in order."""
    at = run(tmp_path / "0", epochs=0)
    for number, stage in enumerate(
        (
            STAGES["prune"](macs=0.8, epochs=0, round_to=2, check_latency=False, batchnorm_batches=0),
            STAGES["quantize"](rungs=("ptq",), calibration="minmax", bias_correction=False, calibration_batches=1),
        ),
        start=1,
    ):
        recipe = load_recipe(write_recipe(tmp_path, RECIPE))
        job = Job(
            **{"name": stage.name, "network": at.network, "spec": at.spec, "stage": stage, "data": few_digits},
            **{"seed": 0, "teacher": None, "folder": tmp_path / str(number), "log": lambda _: None},
            needs=WORK[stage.name].needs(recipe),
        )
        at = WORK[stage.name].run(job)
    assert [each.stage for each in at.spec.transforms] == ["factorize", "prune", "quantize"]
    capture(at.network, at.spec).save(tmp_path / "saved")
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(restore(Artifact.load(tmp_path / "saved"))(x), at.network(x))


def test_what_cannot_be_reached_is_known_before_training(network):
    trial = Trial(lambda: copy.deepcopy(network), network, network, SHAPE, 100, Classification(tuple("abcdefghij")))
    with pytest.raises(ModelError, match=r"factorisation cannot reach 1.0% of the MACs.*the least is"):
        check(Factorize(macs=0.01), trial)
    assert all(note.startswith("not factorised: ") for note in check(Factorize(macs=0.6, round_to=2), trial))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("{}", "nothing says how far to factorise; give macs or energy"),
        ("{macs: 0.5, energy: 0.9}", "macs and energy exclude each other"),
        ("{macs: 1.5}", "below 1"),
        ("{mac: 0.5}", "did you mean 'macs'"),
        ("{macs: 0.5, methods: [svdd]}", "did you mean 'svd'"),
    ],
)
def test_mistakes_in_a_recipe(tmp_path, options, reason):
    with pytest.raises(RecipeError, match=reason):
        load_recipe(write_recipe(tmp_path, RECIPE.replace("  - quantize:", f"  - factorize: {options}\n  - quantize:")))


def test_its_place_in_a_recipe(tmp_path):
    text = RECIPE.replace("  - quantize:", "  - factorize: {energy: 0.9}\n  - quantize:")
    names = [stage.name for stage in load_recipe(write_recipe(tmp_path, text)).stages]
    assert names[-2:] == ["factorize", "quantize"]


def test_in_words():
    metrics = {
        "kept": {"macs": 0.5},
        "energy": 0.9123,
        "factorized": [
            {"path": "a", "method": "svd", "ranks": [8]},
            {"path": "b", "method": "tucker", "ranks": [8, 16]},
        ],
        "left_whole": [{"path": "c", "reason": "depthwise"}],
    }
    assert Factorize.describe(metrics) == [
        ("Kept", "50.0 % of the MACs, 91.2 % of each layer's energy"),
        ("Factorised", "a (svd, rank 8), b (tucker, ranks 8 and 16)"),
        ("Not factorised", "c (depthwise)"),
    ]
    assert Factorize.describe({"history": []}) == []


def test_statistics_of_batchnorm_are_those_of_the_factorised_network(run, network, tmp_path):
    kept, again = (run(tmp_path / str(count), epochs=0, batchnorm_batches=count).network for count in (0, 4))
    name = "bn1.running_mean"
    assert torch.equal(dict(kept.named_buffers())[name], dict(network.named_buffers())[name])
    assert not torch.equal(dict(again.named_buffers())[name], dict(network.named_buffers())[name])
