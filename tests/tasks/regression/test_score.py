"""Metrics against scikit-learn's, for any weights; their evidence, and what is refused."""

import re

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from edgekd.errors import DataError, ModelError
from edgekd.tasks.breakdown import NamedPredictions
from edgekd.tasks.compare import compare, interval
from edgekd.tasks.evidence_file import EvidenceFile, read_evidence, write_evidence
from edgekd.tasks.metric import Metric
from edgekd.tasks.regression import Regression
from edgekd.tasks.signature import LOGITS, Signature, TensorSpec
from tests.tasks.regression.drawn import NAMES, drawn

TASK = Regression(NAMES, mean=(180, 35, 56), deviation=(25, 3, 7))
THEIRS = {"mae": mean_absolute_error, "rmse": root_mean_squared_error, "r2": r2_score}


def evidence(metric: Metric, outputs: np.ndarray, values: np.ndarray, task: Regression = TASK):
    return metric.evidence(task.decode({LOGITS: outputs}), task.targets(values))


@pytest.mark.parametrize("metric", TASK.metrics, ids=lambda each: each.name)
@pytest.mark.parametrize("columns", [1, 3])
def test_metrics_are_those_of_scikit_learn(metric, columns):
    outputs, values = (each[:, :columns] for each in drawn())
    task = Regression(NAMES[:columns], TASK.mean[:columns], TASK.deviation[:columns])
    predicted = task.decode({LOGITS: outputs}).values
    found = evidence(metric, outputs, values, task)
    assert found.value() == pytest.approx(THEIRS[metric.name](values, predicted), rel=1e-9)
    for seed in range(3):
        weights = np.random.default_rng(seed).multinomial(len(values), np.full(len(values), 1 / len(values)))
        expected = THEIRS[metric.name](values, predicted, sample_weight=weights)
        assert found.value(weights) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("metric", TASK.metrics, ids=lambda each: each.name)
def test_what_is_not_known_counts_nothing(metric):
    outputs, values = drawn()
    partly = values.copy()
    partly[::3, 1] = np.nan
    expected = np.mean([
        THEIRS[metric.name](values[rows, place], TASK.decode({LOGITS: outputs}).values[rows, place])
        for place in range(3)
        for rows in [np.arange(300) % 3 > 0 if place == 1 else np.ones(300, bool)]
    ])  # fmt: skip
    assert evidence(metric, outputs, partly).value() == pytest.approx(expected, rel=1e-6)
    outputs[4, 0] = np.nan
    broken = evidence(metric, outputs, partly).value()
    assert broken != broken, "a prediction that is no number must show"
    with pytest.raises(DataError, match="no target is known"):
        evidence(metric, outputs, np.full_like(values, np.nan))


def test_a_value_that_never_differs_is_left_out_of_determination():
    outputs, values = drawn()
    values[:, 2] = 56
    found = evidence(TASK.metrics[2], outputs, values).value()
    predicted = TASK.decode({LOGITS: outputs}).values
    assert found == pytest.approx(r2_score(values[:, :2], predicted[:, :2]))
    assert TASK.warnings(TASK.targets(values)) == ["all samples have one 'pulse': R² leaves it out"]


@pytest.mark.parametrize("metric", TASK.metrics, ids=lambda each: each.name)
def test_five_percent_more_error_is_found_and_an_unchanged_network_is_not(metric):
    outputs, values = drawn(n=1000)
    exact = (values - np.array(TASK.mean)) / np.array(TASK.deviation)
    random = np.random.default_rng(1)
    rounded = outputs + random.normal(0, 0.01, outputs.shape)
    worse = exact + 1.05 * (outputs - exact)
    before, same, after = (evidence(metric, each, values) for each in (outputs, rounded, worse))
    assert compare(metric, before, after, 0.99).is_worse
    assert not compare(metric, before, same, 0.99).is_worse
    assert not compare(metric, after, before, 0.99).is_worse and compare(metric, after, before, 0.99).is_better
    low, high = interval(metric, before)
    assert low < before.value() < high


def test_evidence_survives_a_file(tmp_path):
    outputs, values = drawn()
    kept = {metric.name: evidence(metric, outputs, values) for metric in TASK.metrics}
    file = EvidenceFile("evidence.npz", write_evidence(tmp_path / "evidence.npz", kept))
    for name, each in read_evidence(tmp_path, file, TASK.metrics, "").items():
        assert each.value() == kept[name].value()
    with pytest.raises(DataError, match=r"bool for 'known'; known is int64 \(300, 3\)"):
        type(kept["mae"])(errors=kept["mae"].errors, known=kept["mae"].known.astype(int))


def test_a_bundles_options_decode_alike():
    again = Regression(NAMES, **TASK.decoder())
    outputs, _ = drawn()
    np.testing.assert_array_equal(again.decode({LOGITS: outputs}).values, TASK.decode({LOGITS: outputs}).values)
    assert again.decoder() == TASK.decoder() and Regression(NAMES).decoder()["mean"] == [0, 0, 0]
    for options, said in (
        ({"mean": (1,)}, "mean is [1]; expected 3 numbers"),
        ({"deviation": (1, 0, 1)}, "deviation is [1, 0, 1]; expected 3 numbers above 0"),
    ):
        with pytest.raises(ModelError, match=re.escape(said)):
            Regression(NAMES, **options)


def test_predictions_are_alike_to_a_tenth_of_the_deviation():
    outputs, _ = drawn(n=4)
    moved = outputs + np.array([[0.09] * 3, [0.11, 0, 0], [0, 0, 0], [np.nan, 0, 0]])
    ours, theirs = (TASK.decode({LOGITS: each}) for each in (outputs, moved))
    assert TASK.agree(ours, theirs).tolist() == [True, False, True, False]
    assert TASK.settled({LOGITS: outputs}, {LOGITS: 0.05}).all()
    assert not TASK.settled({LOGITS: outputs}, {LOGITS: 0.2}).any()


def test_a_sample_is_read_by_people_and_programs():
    found, broken = TASK.sample_predictions(TASK.decode({LOGITS: np.array([[1, 0, -1], [0, np.nan, np.inf]])}))
    assert found.to_json() == {"values": {"weight": 205.0, "waist": 35.0, "pulse": 49.0}}
    assert found.to_text() == "weight 205, waist 35, pulse 49"
    assert found.to_cells() == {"weight": "205", "waist": "35", "pulse": "49"}
    assert broken.to_json()["values"] == {"weight": 180.0, "waist": None, "pulse": None}
    assert broken.to_cells() == {"weight": "180", "waist": "", "pulse": ""}
    assert broken.to_text() == "weight 180, waist not finite, pulse not finite"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (np.zeros(3), "gives 4 samples and targets of shape (3,)"),
        (np.zeros((4, 2, 2)), "a row of numbers, a column for each value"),
        (np.array(["a"] * 4), "expected a number for each sample"),
        (np.array([1, 2, np.inf, 3]), "row 2 (from 0) is inf, no finite float32; replace it"),
        (np.array([1, 1e39, 1e39, 3]), "row 1 (from 0, the first of 2) is 1e+39, no finite"),
        (np.array([[1, np.nan], [np.nan] * 2, [1, 2], [1, 2]]), "row 1 (from 0) is nan, nan, nothing but NaN; drop"),
    ],
)
def test_targets_that_cannot_be(raw, said):
    with pytest.raises(DataError, match=re.escape(said)):
        Regression.read_targets(raw, 4, "set.npz: train_y")


def test_targets_as_data_sets_store_them():
    stored = Regression.read_targets(np.array([1, 2, 3, 5]), 4, "")
    assert stored.shape == (4, 1) and stored.dtype == np.float32 and Regression.numbered(stored, "") == ("value",)
    task = Regression(("value",)).adapted(stored)
    assert task.decoder() == {"mean": [2.75], "deviation": [1.47902]}
    unknown = Regression.unknown(stored, 2)
    assert Regression.known(np.concatenate([stored, unknown])).tolist() == [True] * 4 + [False] * 2
    assert Regression.contradict(stored[0], stored[1]) and not Regression.contradict(stored[0], unknown[0])
    assert task.describe(stored[3]) == "5.00"
    for values, said in (([[1], [1]], "'value' is always 1 in training"), ([[np.nan]], "'value' is never known")):
        with pytest.raises(DataError, match=said):
            task.must_be_learnable(np.array(values, np.float32), "set")
    with pytest.raises(DataError, match="2 targets in a row, and there are 1 names"):
        task.must_be_named(np.zeros((1, 2), np.float32), "set")


def test_a_network_of_other_values_is_refused():
    signature = Signature((TensorSpec("input", (4,)),), (TensorSpec(LOGITS, (3,)),))
    values = drawn()[1]
    TASK.check(signature, TASK.targets(values))
    with pytest.raises(ModelError, match="a logit for each value"):
        Regression(NAMES[:2]).check(signature, TASK.targets(values))
    with pytest.raises(DataError, match=r"expected numbers \('N', 3\)"):
        TASK.check_targets({"values": values[:, :2]})


def test_what_a_report_shows():
    outputs, values = drawn()
    worse = outputs * np.array([1.0, 1.0, 1.3])
    both = [NamedPredictions(name, TASK.decode({LOGITS: each})) for name, each in (("float", outputs), ("int8", worse))]
    found = TASK.breakdown(*both, TASK.targets(values), "onnxruntime")
    again = TASK.breakdown_from_json(found.to_json())
    assert again == found and [each.name for each in found.changed] == ["pulse", "weight", "waist"]
    [lost] = found.lost()
    assert lost.code == "value_lost" and "'pulse'" in lost.message
    panel = found.panel()
    assert panel.sentences[0] == "Of 3 values the error grew for 1 and shrank for 0 from float to int8."
    assert sum(each.before for each in panel.groups) == pytest.approx(1) == sum(each.after for each in panel.groups)
    cells = [[column.cell(row) for column in panel.table.columns] for row in panel.table.rows]
    assert [row[0] for row in cells] == ["pulse", "weight", "waist"] and cells[1][3] == "+0.0 %"
    details = TASK.details({LOGITS: outputs}, TASK.targets(values)).to_json()
    assert sum(details["error_counts"]) == 900 and len(details["error_edges"]) == 13
    assert details["absolute_error_by_value"][0] == pytest.approx(found.values[0].error_before)


@pytest.mark.parametrize("apart", [0.0, 5e-16])
def test_errors_that_are_all_alike_are_one_bin(apart):
    """As of one test sample, or where they differ by rounding alone."""
    task, values = Regression(("weight",)), np.full((2, 1), 3.0)
    outputs = np.array([[3.25 + apart], [3.25]])
    pairs = (("a", outputs), ("b", outputs[::-1]))
    both = [NamedPredictions(name, task.decode({LOGITS: each})) for name, each in pairs]
    found = task.breakdown(*both, task.targets(values), "onnxruntime")
    assert [(each.before, each.after) for each in found.bins] == [(1, 1), *[(0, 0)] * 7] and found.bins[0].low == 0.25
    assert task.breakdown_from_json(found.to_json()) == found
    details = task.details({LOGITS: outputs}, task.targets(values)).to_json()
    assert details["error_counts"] == [2, *[0] * 11] and details["error_edges"][::12] == [0.25, 1.25]
    exact = [NamedPredictions(name, task.decode({LOGITS: values})) for name in "ab"]
    assert task.breakdown(*exact, task.targets(values), "onnxruntime").bins[0].low == 0


def test_the_program_on_a_card_prints_units(capsys):
    outputs, _ = drawn(n=1)
    exec(TASK.code("python"), {"labels": NAMES, "logits": outputs[0]})
    printed = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(printed, TASK.decode({LOGITS: outputs}).values[0])
    assert "const double mean[] = {180.0, 35.0, 56.0};" in TASK.code("cpp")
