"""benchmarks/tasks.py: its recipes load, its tables are those of its figures, and its gains have the right sign."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from edgekd.tasks.registry import TASKS

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])


def test_its_recipes_load_in_both_lengths_and_are_of_every_task_that_it_is_about():
    from task_runs import CASES

    recipes = {name: case.recipe() for name, case in CASES.items()}
    assert {each.kind.name for each in recipes.values()} == {"regression", "keypoints", "segmentation", "detection"}
    assert all(each.stages[-1].name == "quantize" for each in recipes.values())
    assert all(stage.epochs == 1 for case in CASES.values() for stage in case.recipe(quick=True).stages)


def test_ways_to_learn_boxes_differ_in_the_loss_of_boxes_alone():
    from distill_boxes import DISTRIBUTIONS, LABELS, OVERLAP, recipe_of, stage_of

    recipe = recipe_of(quick=False)
    assert recipe.student.args == {"width": 8, "bins": 16} and recipe.teacher.args == {"width": 16, "bins": 16}
    assert recipe.stages == () and recipe.teacher.train.epochs == 40
    labels, overlap, distributions = (stage_of(way, 3).model_dump() for way in (LABELS, OVERLAP, DISTRIBUTIONS))
    assert {name for name in overlap if overlap[name] != distributions[name]} == {"method"}
    assert {name for name in overlap if overlap[name] != labels[name]} == {"hard_weight"} and labels["hard_weight"] == 1


@pytest.mark.parametrize("name", ["accuracy", "mae"])
def test_gain_of_a_mean_is_that_of_a_paired_z_interval_and_above_0_where_ours_are_better(name):
    from paired import gain

    random, seeds, n = np.random.default_rng(0), 3, 800
    kind = TASKS["classification" if name == "accuracy" else "regression"]
    metric = next(each for each in kind.metrics if each.name == name)
    if name == "accuracy":
        theirs = random.random((seeds, n)) < 0.6
        ours = theirs | (random.random((seeds, n)) < 0.1)
        each = 100 * (ours.astype(float) - theirs)
    else:
        theirs = random.exponential(size=(seeds, n, 1))
        ours = 0.9 * theirs
        each = (theirs - ours)[..., 0]
    pairs = [[_evidence(metric, rows) for rows in both] for both in (ours, theirs)]
    found = gain(metric, *pairs)
    assert found["value"] == pytest.approx(each.mean()) and found["value"] > 0
    assert found["by_seed"] == pytest.approx(each.mean(1))
    by_sample = each.mean(0)
    expected = stats.norm.interval(0.95, each.mean(), by_sample.std(ddof=1) / np.sqrt(n))
    assert found["samples_ci95"] == pytest.approx(expected, rel=0.1)
    assert found["seeds_ci95"] == pytest.approx(stats.t.interval(0.95, 2, each.mean(), stats.sem(each.mean(1))))
    ends = (found["samples_ci95"], found["seeds_ci95"])
    assert found["ci95"] == [min(low for low, _ in ends), max(high for _, high in ends)]


def _evidence(metric, rows):
    more = [] if metric.name == "accuracy" else [np.ones_like(rows, bool)]
    return metric.evidence_type()(rows, *more)


def test_tables_have_a_line_for_each_case_with_its_metric_loss_size_and_time():
    import task_tables

    about = {"title": "masks: U-Net", "task": "segmentation", "metric": "miou"}
    rows = [
        {"model": name, "miou": miou, "miou_ci95": [miou - 0.01, miou + 0.01], "size_bytes": size,
         "latency_vs_teacher": against, "int8_coverage": coverage, "precision": "int8" if coverage else "float32"}
        for name, miou, size, against, coverage in (
            ("teacher", 0.81, 2_000_000, None, 0.0),
            ("pruned", 0.8, 500_000, {"ratio": 0.5}, 0.0),
            ("quantized", 0.795, 140_000, {"ratio": 0.25, "ci95": [0.24, 0.26]}, 0.99),
        )
    ]  # fmt: skip
    lost = {"value": 0.5, "ci95": [-0.1, 1.1]}
    chain = {**about, "teacher": "teacher", "deployed": "quantized", "rows": rows, "lost_in_int8": lost}
    [*_, line] = task_tables.chains({"chain": {"unet": chain}}).splitlines()
    assert line == (
        "| masks: U-Net | mean IoU | 81.0 % (80.0–82.0) | 79.5 % (78.5–80.5) | "
        "+0.50 (−0.10 to +1.10) | 140 kB, 14.3× | 4.00× (3.85–4.17) |"
    )
    rows[-1]["precision"] = "float32"
    [*_, line] = task_tables.chains({"chain": {"unet": chain}}).splitlines()
    assert "| 79.5 % (78.5–80.5), in float |" in line
    gain = {"value": 1.0, "ci95": [-0.5, 2.5], "samples_ci95": [0.4, 1.6]}
    kept = {**about, "labels": [0.78, 0.8], "teacher": [0.8, 0.8], "gain": gain}
    kept |= {"epochs": 24, "seeds": 3, "teacher_itself": 0.81}
    [*_, line] = task_tables.taught({"teacher": {"unet": kept}}).splitlines()
    assert line.endswith("| 24 | 81.0 % | 79.0 % | 80.0 % | +1.00 (−0.50 to +2.50) |")
    [*_, line] = task_tables.taught({"teacher": {"unet": {**kept, "seeds": 2}}}).splitlines()
    assert line.endswith("| 24 | 81.0 % | 79.0 % | 80.0 % | +1.00 |")
    files = {"float": {"value": 0.8}, "edgekd": {"value": 0.795}}
    times = {"edgekd": {"over_float": {"ratio": 0.5}}}
    peers = {**about, "versions": {"ORT": "1.31"}, "methods": files, "failed": {"ORT": "no"}, "times": times}
    [*_, line] = task_tables.beside_peers({"peers": {"unet": peers}}).splitlines()
    assert line == "| masks: U-Net | 80.0 % | 79.5 %, 2.00× | no file that runs |"
