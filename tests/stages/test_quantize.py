"""Quantisation-aware training that goes wrong costs its time, not the network."""

import math

import pytest

import edgekd
from edgekd.data import load_data
from edgekd.recipe import load_recipe
from edgekd.stages.quantize.escalation import Escalation, Needed
from edgekd.tasks.classification import Classification
from edgekd.tasks.compare import noise
from edgekd.tasks.metric import Evidence
from edgekd.tasks.regression import Regression
from edgekd.train import metric_of
from tests.toy import RECIPE, run_stages, write_recipe

[ACCURACY] = Classification.metrics


def at_least(floor: float) -> Escalation:
    return Escalation((Needed(ACCURACY, floor, ""),))


def never() -> Evidence:
    pytest.fail("the values of accuracy are enough")


def test_noise_of_a_difference():
    [accuracy] = Classification.metrics
    expected = 2 * math.sqrt(0.9 * 0.1 / 200 + 0.9 * 0.1 / 200)
    assert noise(accuracy, 200, 0.9, 0.9, never) == pytest.approx(expected)
    assert noise(accuracy, 50, 1.0, 1.0, never) == 0


@pytest.mark.parametrize(
    ("calibrated", "trained", "kept"),
    [
        (0.95, 0.96, True),
        (0.95, 0.945, True),  # both keep the accuracy, and 400 samples cannot tell them apart
        (0.99, 0.945, False),
        (0.95, 0.935, False),  # what was met is not given up for a training that misses it
        (0.93, 0.92, False),  # both miss: the better one
        (0.92, 0.93, True),
    ],
)
def test_which_weights_are_kept(calibrated, trained, kept):
    slack = noise(*Classification.metrics, 400, calibrated, trained, never)
    assert at_least(0.94).keeps_trained((calibrated,), (trained,), slack) is kept


def test_a_floor_is_met_at_the_floor():
    assert at_least(0.1 - 0.01).is_met((0.09,))
    assert at_least(0.07 - 0.01).is_met((0.06,))
    assert not at_least(0.94).is_met((0.9399,))


def test_weights_that_keep_every_metric_are_kept_whatever_the_first_one_gains():
    """Keep R² as well by calibration, where training gives it up for a better MAE; then the other way round."""
    mae, _, r2 = Regression.metrics
    escalation = Escalation((Needed(mae, 2.0, ""), Needed(r2, 0.8, "")))
    assert not escalation.keeps_trained((1.9, 0.8), (1.5, 0.7), 1.0)
    assert escalation.keeps_trained((1.5, 0.7), (1.9, 0.8), 0.0)
    assert [each.name for each in escalation.missed((2.1, 0.7))] == ["mae", "r2"]
    # Where both miss, or both are enough, the first metric decides.
    assert escalation.keeps_trained((1.9, 0.7), (1.8, 0.6), 0.0)
    assert not escalation.keeps_trained((1.8, 0.9), (1.9, 0.95), 0.05)


def test_a_training_that_ruins_the_network_is_not_kept(tmp_path, capsys):
    text = RECIPE.replace(
        "  - distill: {epochs: 2}\n  - prune: {macs: 0.6, round_to: 2, check_latency: false, epochs: 1}\n", ""
    )
    text = text.replace("student: {model: small_cnn, args: {width: 8}}\n", "").replace(
        "epochs: 2, lr: 0.1", "epochs: 6"
    )
    text = text.replace("quantize: {epochs: 1,", "quantize: {epochs: 1, lr: 3.0, clip_norm: 1000.0,")
    recipe = load_recipe(write_recipe(tmp_path, text))
    teacher, quantized = run_stages(recipe, tmp_path / "run")
    assert "the calibrated weights are kept" in capsys.readouterr().err
    assert quantized.metrics["weights"] == "calibrated"
    data = load_data(recipe.data, recipe.seed)
    before, after = (metric_of(edgekd.load(done.folder), data, data.test) for done in (teacher, quantized))
    assert after > before - 0.05 > 0.5
