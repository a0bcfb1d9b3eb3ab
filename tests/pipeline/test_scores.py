"""Scores of predictions, against the metric's own evidence and scikit-learn."""

import importlib
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from edgekd.errors import EdgekdError
from edgekd.pipeline.node import NodeCache
from edgekd.pipeline.scores import scores
from edgekd.stats.correct import decode_correct
from edgekd.stats.proportion import wilson_interval
from edgekd.tasks.classification import Classification
from edgekd.tasks.evidence_file import read_evidence
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.regression import Regression
from edgekd.tasks.segmentation import Segmentation
from tests.tasks.multilabel.drawn import drawn

NAMES = tuple("abcdef")


def data_of(task, labels):
    """What is asked of a data set."""
    return SimpleNamespace(task=task, test=SimpleNamespace(labels=torch.from_numpy(labels)), fingerprint="f")


def test_of_classes_a_row_holds_bits(tmp_path):
    labels = np.arange(60) % 3
    np.save(tmp_path / "p.npy", np.where(np.arange(60) < 6, -1, labels).astype(np.int32))
    task = Classification(tuple("abc"))
    found = scores(tmp_path / "p.npy", task, data_of(task, labels), NodeCache(tmp_path)).to_json()
    assert (found["accuracy"], found["n"], found["evidence"]) == (0.9, 60, None)
    assert found["accuracy_ci95"] == wilson_interval(54, 60)
    assert decode_correct(found["right"], 60) == (False,) * 6 + (True,) * 54
    assert not (tmp_path / "measurements").exists()


@pytest.fixture
def labelled(tmp_path):
    logits, targets = drawn(share=0.2)
    np.save(tmp_path / "p.npy", logits.astype(np.float32))
    return logits, data_of(Multilabel(NAMES), targets)


def test_of_labels_a_row_names_a_file(tmp_path, labelled):
    logits, data = labelled
    found = scores(tmp_path / "p.npy", data.task, data, NodeCache(tmp_path))
    targets = data.test.labels.numpy()
    assert found.values["map"] == pytest.approx(average_precision_score(targets, logits, average="macro"))
    assert (found.n, found.right) == (300, None)
    assert set(found.intervals) == {"map_ci95", "macro_f1_ci95"}
    for metric in data.task.metrics:
        low, high = found.intervals[metric.interval_key]
        assert low < found.values[metric.name] < high
    kept = read_evidence(tmp_path, found.evidence, data.task.metrics, "")
    assert {name: each.value() for name, each in kept.items()} == found.values


def as_json(found):
    return json.loads(json.dumps(found.to_json(), default=vars))


def test_they_are_found_again_and_by_content(tmp_path, labelled, monkeypatch):
    _, data = labelled
    first = scores(tmp_path / "p.npy", data.task, data, NodeCache(tmp_path))
    (tmp_path / "p.npy").rename(tmp_path / "q.npy")
    monkeypatch.setattr("edgekd.pipeline.scores.interval", None)
    again = scores(tmp_path / "q.npy", data.task, data, NodeCache(tmp_path))
    assert json.loads(json.dumps(again.to_json(), default=vars)) == json.loads(
        json.dumps(first.to_json(), default=vars)
    )


def test_another_decoder_is_another_score(tmp_path, labelled):
    _, data = labelled
    half = scores(tmp_path / "p.npy", data.task, data, NodeCache(tmp_path))
    low = scores(tmp_path / "p.npy", Multilabel(NAMES, (0.2,) * 6), data, NodeCache(tmp_path))
    assert low.values["map"] == half.values["map"] and low.values["macro_f1"] != half.values["macro_f1"]


OWN_TASK = """
from dataclasses import dataclass

import numpy as np

import own_units
from edgekd.tasks.metric import Evidence, Metric
from edgekd.tasks.multilabel import Multilabel


@dataclass(frozen=True, eq=False)
class Counts(Evidence):
    counts: np.ndarray

    def values(self, weights):
        return weights @ self.counts / weights.sum(1)


def counts(predictions, targets):
    return Counts(own_units.FACTOR * targets["labels"].sum(1))


@dataclass(frozen=True)
class OwnTask(Multilabel):
    metrics = (Metric("labels", "labels", "", "higher", "bootstrap", counts, lambda: Counts),)
"""


@pytest.fixture
def own_task(tmp_path, monkeypatch):
    """Load a user's task whose metric has this factor, from the file beside it."""
    folder, modules = tmp_path / "code", ("own_task", "own_units")
    folder.mkdir()
    (folder / "own_task.py").write_text(OWN_TASK)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # an edit may be faster than its clock

    def load(factor):
        (folder / "own_units.py").write_text(f"FACTOR = {factor}\n")
        for name in modules:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("own_task").OwnTask

    yield load
    for name in modules:
        sys.modules.pop(name, None)


def test_another_function_of_the_users_is_another_score(tmp_path, labelled, own_task, monkeypatch):
    _, data = labelled
    mean = data.test.labels.numpy().sum(1).mean()
    for factor in (1.0, 10.0):
        task = own_task(factor)(NAMES)
        assert scores(tmp_path / "p.npy", task, data, NodeCache(tmp_path)).values["labels"] == factor * mean
    monkeypatch.setattr("edgekd.pipeline.scores.interval", None)
    first = own_task(1.0)(NAMES)
    assert scores(tmp_path / "p.npy", first, data, NodeCache(tmp_path)).values["labels"] == mean


def test_another_version_of_edgekd_scores_anew(tmp_path, labelled, monkeypatch):
    _, data = labelled
    for digest in ("one", "other"):
        monkeypatch.setattr("edgekd.pipeline.scores.source_digest", lambda digest=digest: digest)
        scores(tmp_path / "p.npy", data.task, data, NodeCache(tmp_path))
    assert len(list((tmp_path / "measurements").glob("scores-*"))) == 2


def test_a_metric_of_which_samples_have_no_figure_is_left_out(tmp_path):
    """R² of targets that never differ, and boundaries where no mask has one; the headline is there."""
    task, values = Regression(("weight",)), np.full((9, 1), 3.0, np.float32)
    predicted = values + np.linspace(-1, 1, 9, dtype=np.float32)[:, None]
    np.save(tmp_path / "p.npy", predicted)
    found = scores(tmp_path / "p.npy", task, data_of(task, values), NodeCache(tmp_path))
    squared = np.mean(np.linspace(-1, 1, 9) ** 2)
    assert found.values == {"mae": pytest.approx(5 / 9), "rmse": pytest.approx(np.sqrt(squared))}
    assert set(found.intervals) == {"mae_ci95", "rmse_ci95"} and found.n == 9
    kept = read_evidence(tmp_path, found.evidence, task.metrics, "")
    assert set(kept) == {"mae", "rmse", "r2"} and np.isnan(kept["r2"].value())
    masks, flat = Segmentation(("sky", "road")), np.zeros((2, 8, 8), np.uint8)
    flat[1] = 1
    np.save(tmp_path / "q.npy", flat)
    row = scores(tmp_path / "q.npy", masks, data_of(masks, flat), NodeCache(tmp_path / "masks")).to_json()
    assert (row["miou"], row["mdice"]) == (1, 1) and "boundary_f1" not in row and "boundary_f1_ci95" not in row
    np.save(tmp_path / "p.npy", np.full_like(predicted, np.nan))
    with pytest.raises(EdgekdError, match="mae is no number: look at the network's outputs"):
        scores(tmp_path / "p.npy", task, data_of(task, values), NodeCache(tmp_path))
