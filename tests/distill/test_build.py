import copy

import pytest
import torch
from torch import nn

from edgekd.distill import LOSSES, Ensemble, FeatureHooks, FeatureLoss, LossSpec, Standardized, build_terms
from edgekd.errors import TrainingError
from edgekd.models import build
from edgekd.tasks.detection import Detection
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.regression import Regression
from edgekd.tasks.segmentation import Segmentation

SHAPE = (3, 32, 32)
# The other is of boxes.
OF_CLASSES = [method for method in LOSSES if method != "ld"]


@pytest.fixture(scope="module")
def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return build("resnet8", SHAPE, 10).eval(), build("resnet20", SHAPE, 10, width=32).eval()


def test_every_method_by_its_name_alone(networks):
    for method in OF_CLASSES:
        [term] = build_terms([LossSpec(method)], *networks, SHAPE, temperature=3.0, samples=100)
        assert term.name == method
        assert isinstance(term.loss, LOSSES[method])
        assert bool(term.pairs) == isinstance(term.loss, FeatureLoss)


def test_the_temperature_is_the_recipes_where_the_loss_has_one(networks):
    wanted = [LossSpec("kd"), LossSpec("kd", options={"temperature": 7.0}), LossSpec("sp")]
    first, second, _ = build_terms(wanted, *networks, SHAPE, temperature=3.0)
    assert (first.loss.temperature, second.loss.temperature) == (3.0, 7.0)
    assert (first.name, second.name) == ("kd", "kd 2")


def test_of_an_ensemble_the_first_ones_layers_are_named_and_compared(networks):
    student, teacher = copy.deepcopy(networks)
    ensemble = Ensemble([teacher, build("small_cnn", SHAPE, 10)])
    for wanted in (LossSpec("at"), LossSpec("at", pairs=[("layer2", "layer2")])):
        [alone], [together] = (build_terms([wanted], student, each, SHAPE) for each in (teacher, ensemble))
        assert together.pairs == [(ours, f"teachers.0.{theirs}") for ours, theirs in alone.pairs]
    inputs = torch.randn(2, *SHAPE)
    with FeatureHooks(ensemble, ["teachers.0.layer2"]) as hooks:
        ensemble(inputs)
    expected = teacher.layer2(teacher.layer1(teacher.bn1(teacher.conv1(inputs)).relu()))
    torch.testing.assert_close(hooks.read()["teachers.0.layer2"], expected)


def test_standardised(networks):
    [term] = build_terms([LossSpec("kd", standardize=True)], *networks, SHAPE)
    assert isinstance(term.loss, Standardized)


@pytest.mark.parametrize("kind", [Multilabel, Regression, Segmentation, Detection])
def test_nothing_but_classes_is_standardised(networks, kind):
    """Over the values of a sample, or the positions of a map, a mean and a deviation mean nothing."""
    said = f"logits are standardized over the classes of a sample, and this network gives {kind.outputs}: leave"
    with pytest.raises(TrainingError, match=said):
        build_terms([LossSpec("kd", standardize=True)], *networks, SHAPE, task=kind(("a", "b")))


def test_usual_pairs_and_weights(networks):
    wanted = [LossSpec(method) for method in ("fitnet", "at", "sp", "crd", "reviewkd")]
    terms = build_terms(wanted, *networks, SHAPE, samples=100)
    assert [len(term.pairs) for term in terms] == [1, 3, 1, 1, 4]
    assert [term.weight for term in terms] == [100.0, 1000.0, 3000.0, 0.8, 1.0]
    assert terms[0].pairs[0][0].startswith("layer2")
    assert build_terms([LossSpec("at", weight=5.0)], *networks, SHAPE)[0].weight == 5.0


def test_named_pairs(networks):
    pairs = (("layer1", "layer1"), ("layer3", "layer3"))
    [term] = build_terms([LossSpec("at", pairs=pairs)], *networks, SHAPE)
    assert tuple(term.pairs) == pairs


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (LossSpec("kdd"), "unknown distillation method 'kdd' (did you mean 'kd'?)"),
        (LossSpec("dkd", options={"betta": 1}), "dkd has no option 'betta' (did you mean 'beta'?)"),
        (LossSpec("kd", options={"temperature": 0}), "temperature must be a number above 0, got 0"),
        (
            LossSpec("kd", pairs=(("layer1", "layer1"),)),
            "kd compares logits and has no pairs of layers: leave pairs out",
        ),
        (LossSpec("at", standardize=True), "at compares features and has no logits to standardize: leave it out"),
        (LossSpec("at", pairs=(("layer9", "layer1"),)), "'layer9'"),
        (LossSpec("fitnet", pairs=(("layer1", "linear"),)), "(10,)"),
    ],
)
def test_what_cannot_be_built(networks, wanted, says):
    with pytest.raises(TrainingError) as error:
        build_terms([wanted], *networks, SHAPE, samples=100)
    assert says in str(error.value)
