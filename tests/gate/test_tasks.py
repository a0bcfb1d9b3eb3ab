"""The gate on metrics of which samples are not right or wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import DataError, EdgekdError
from edgekd.files import sha256_file
from edgekd.gate import NotComparable, Policy, check, load_subject
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.registry import TASKS
from tests.gate.runs import writer
from tests.gate.tasks import Lengths, N, lengths, logits, of_labels, written


@pytest.fixture
def agreed(tmp_path: Path) -> Path:
    path = tmp_path / "baseline.json"
    load_subject(written(tmp_path / "agreed", Multilabel, of_labels(logits()))).save(path)
    return path


def judged(baseline, run, **policy):
    verdict = check(load_subject(baseline), load_subject(run), Policy.of(policy))
    return verdict, {finding.metric: finding for finding in verdict.findings}


def test_an_unchanged_network_passes(agreed, tmp_path):
    verdict, found = judged(agreed, written(tmp_path / "same", Multilabel, of_labels(logits())))
    assert verdict.passed
    assert [found[name].level for name in ("map", "macro_f1")] == ["ok", "ok"]
    assert found["map"].what.startswith("0.00 points lost, at least 0.00 with 95% confidence; 600 samples, ")
    assert found["map"].what.endswith("; allowed 0.50") and found["map"].cell == "as before on all 600 samples"


@pytest.mark.parametrize("seed", range(3))
def test_the_noise_of_rounding_passes(agreed, tmp_path, seed):
    verdict, found = judged(agreed, written(tmp_path / "rounded", Multilabel, of_labels(logits(0.02, seed))))
    assert verdict.passed
    assert "fail" not in {each.level for each in found.values()}


def test_a_planted_regression_fails_and_says_how_sure(agreed, tmp_path):
    worse = of_labels(logits(1.5))
    verdict, found = judged(agreed, written(tmp_path / "worse", Multilabel, worse))
    assert {each.metric for each in verdict.at("fail")} == {"map", "macro_f1"}
    lost = 100 * (of_labels(logits())["map"].value() - worse["map"].value())
    assert found["map"].what.startswith(f"{lost:.2f} points lost, at least ")
    assert "600 samples, randomisation p = 0.0005; allowed 0.50" in found["map"].what
    assert found["map"].baseline == f"{100 * of_labels(logits())['map'].value():.1f} %"


def test_a_regression_of_one_label_alone_is_found(agreed, tmp_path):
    mixed = logits()
    mixed[:, 3] = np.random.default_rng(0).permutation(mixed[:, 3])
    verdict, _ = judged(agreed, written(tmp_path / "label", Multilabel, of_labels(mixed)))
    assert {each.metric for each in verdict.at("fail")} == {"map", "macro_f1"}


def test_a_better_network_suggests_a_new_baseline(tmp_path):
    path = tmp_path / "baseline.json"
    load_subject(written(tmp_path / "noisy", Multilabel, of_labels(logits(1.5)))).save(path)
    verdict, found = judged(path, written(tmp_path / "now", Multilabel, of_labels(logits())))
    assert verdict.passed and found["map"].level == "better"
    assert "points won; 600 samples" in found["map"].what


def test_a_policy_names_the_metrics_of_any_task(agreed, tmp_path):
    run = written(tmp_path / "worse", Multilabel, of_labels(logits(0.5)))
    assert not judged(agreed, run)[0].passed
    wide = {"map": {"points": 10}, "macro_f1": {"points": 10}, "accuracy": {"points": 1}}
    verdict, found = judged(agreed, run, metrics=wide)
    assert verdict.passed and "accuracy" not in found
    floor = judged(agreed, run, metrics={**wide, "map": {"points": 10, "floor": 0.999}})[1]["map"]
    assert floor.level == "fail" and floor.what.startswith("below the floor of 99.9 %; ")


@pytest.fixture
def measured(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "lengths", Lengths)
    path = tmp_path / "baseline.json"
    load_subject(written(tmp_path / "agreed", Lengths, lengths())).save(path)
    return path


@pytest.mark.parametrize(
    ("more", "level", "says"),
    [
        (0.0, "ok", "0 mm worse, at least 0 with"),
        (0.3, "fail", "0.300 mm worse, at least 0.300 with"),
        (-0.3, "better", "0.300 mm better; 600 samples"),
        (0.01, "ok", "allowed 0.0"),
    ],
)
def test_where_less_is_better(measured, tmp_path, more, level, says):
    _, found = judged(measured, written(tmp_path / "now", Lengths, lengths(more=more)))
    assert found["mae"].level == level and says in found["mae"].what
    assert found["mae"].current.endswith(" mm")


def test_its_tolerance_is_in_its_own_unit(measured, tmp_path):
    run = written(tmp_path / "now", Lengths, lengths(more=0.3))
    assert judged(measured, run, metrics={"mae": {"absolute": 0.4}})[0].passed
    assert judged(measured, run, metrics={"mae": {"absolute": 0.0, "relative": 0.2}})[0].passed
    assert not judged(measured, run, metrics={"mae": {"ceiling": 2.1, "absolute": 0.4}})[0].passed
    with pytest.raises(EdgekdError, match="unknown key 'points'"):
        Policy.of({"metrics": {"mae": {"points": 1}}})
    with pytest.raises(EdgekdError, match="direction does nothing but as 'lower'"):
        Policy.of({"metrics": {"mae": {"direction": "higher"}}})


def test_a_baseline_of_another_task_is_not_comparable(agreed, tmp_path):
    with pytest.raises(NotComparable, match="task: multilabel, now classification") as found:
        judged(agreed, writer(tmp_path)("classes"))
    assert found.value.exit_code == 3


def test_the_baseline_keeps_its_own_file_of_evidence(agreed, tmp_path):
    document = json.loads(agreed.read_text())
    [held] = document["rows"].values()
    digest = sha256_file(tmp_path / "agreed/evidence/quantized.npz")
    assert document["task"] == "multilabel"
    assert held["evidence"] == {"file": f"baseline-files/{digest[:16]}.npz", "sha256": digest}
    assert sha256_file(tmp_path / held["evidence"]["file"]) == digest
    assert held["map"] == of_labels(logits())["map"].value()


def test_a_new_baseline_removes_the_files_that_the_old_one_named_and_no_others(agreed, tmp_path):
    folder = tmp_path / "baseline-files"
    [old] = folder.iterdir()
    other = folder / f"{'a' * 16}.npz"
    other.write_bytes(b"another's")
    load_subject(agreed).save(agreed)
    assert set(folder.iterdir()) == {old, other}
    load_subject(written(tmp_path / "next", Multilabel, of_labels(logits(0.1)))).save(agreed)
    assert old not in folder.iterdir() and other in folder.iterdir()
    assert load_subject(agreed).rows


def test_a_baseline_names_nothing_outside_of_its_folder_to_be_removed(agreed, tmp_path):
    victim = tmp_path / "0123456789abcdef.npz"
    victim.write_bytes(b"precious")
    document = json.loads(agreed.read_text())
    for name in ("0123456789abcdef.npz", "baseline-files/../0123456789abcdef.npz", 7):
        next(iter(document["rows"].values()))["evidence"] = {"file": name}
        agreed.write_text(json.dumps(document))
        load_subject(tmp_path / "agreed").save(agreed)
        assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("of", ["baseline", "run"])
@pytest.mark.parametrize("damage", ["missing", "changed", "another"])
def test_damaged_evidence_says_the_way_out(agreed, tmp_path, of, damage):
    run = written(tmp_path / "now", Multilabel, of_labels(logits()))
    [file] = (tmp_path / "baseline-files").iterdir() if of == "baseline" else [run / "evidence/quantized.npz"]
    if damage == "missing":
        file.unlink()
    elif damage == "changed":
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    else:
        file.write_bytes(
            (written(tmp_path / "x", Multilabel, of_labels(logits(1.0))) / "evidence/quantized.npz").read_bytes()
        )
    way = "promote the baseline again" if of == "baseline" else "run the recipe again"
    with pytest.raises(DataError, match=way):
        judged(agreed, run)


def test_evidence_that_gives_another_value_is_refused(agreed, tmp_path):
    run = written(tmp_path / "now", Multilabel, of_labels(logits()), map=0.99, map_ci95=[0.98, 1.0])
    with pytest.raises(EdgekdError, match=r"rows\.1\.map: it is said to be 0\.99, and its evidence gives 0\."):
        load_subject(run)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"map": 1.5}, "map: 1.5 is not between 0 and 1"),
        ({"map_ci95": [0.1, 0.2]}, "map_ci95: map is"),
        ({"evidence": {"file": "e.npz"}}, "evidence.sha256: is missing"),
        ({"evidence": {"file": "e.npz", "sha256": "0"}}, "no SHA-256"),
        ({"n": N - 1}, "n: it was tested on 599 samples"),
    ],
)
def test_impossible_rows_are_refused(tmp_path, changed, says):
    with pytest.raises(EdgekdError, match=says):
        load_subject(written(tmp_path / "now", Multilabel, of_labels(logits()), **changed))


def test_a_run_without_evidence_fails_and_is_no_baseline(agreed, tmp_path):
    run = written(tmp_path / "now", Multilabel, of_labels(logits()), evidence=None)
    _, found = judged(agreed, run)
    assert found["map"].level == "fail" and "are not kept in both" in found["map"].what
    with pytest.raises(EdgekdError, match="does not keep what was predicted for each test sample"):
        load_subject(run).warnings()


def test_a_run_of_whose_samples_a_further_metric_has_no_figure_is_a_baseline(tmp_path):
    run = written(tmp_path / "now", Multilabel, of_labels(logits()), macro_f1=None, macro_f1_ci95=None)
    load_subject(run).warnings()
    load_subject(run).save(tmp_path / "baseline.json")
    verdict, found = judged(tmp_path / "baseline.json", run)
    assert verdict.passed and "map" in found and "macro_f1" not in found
    with pytest.raises(EdgekdError, match="does not keep what was predicted for each test sample"):
        load_subject(written(tmp_path / "none", Multilabel, of_labels(logits()), map=None, map_ci95=None)).warnings()


def test_an_unknown_task_is_named(agreed):
    agreed.write_text(json.dumps({**json.loads(agreed.read_text()), "task": "multilable"}))
    with pytest.raises(EdgekdError, match="task: 'multilable' is none of classification, multilabel"):
        load_subject(agreed)


NO_VALUE = ["0.9", True, [], [1], {}, {"a": 1}, float("nan"), -1, 10**400, 2.5, "/etc/passwd", "../baseline.json", None]


@pytest.mark.parametrize(
    "key", ["map", "macro_f1", "n", "right", "evidence", "evidence.file", "evidence.sha256", "teacher"]
)
def test_whatever_a_baseline_holds_ends_in_one_sentence(agreed, tmp_path, key):
    good, run = json.loads(agreed.read_text()), written(tmp_path / "now", Multilabel, of_labels(logits()))
    name, _, part = key.partition(".")
    for value in NO_VALUE:
        document = json.loads(json.dumps(good))
        [held] = document["rows"].values()
        if part:
            held[name][part] = value
        else:
            held[name] = value
        agreed.write_text(json.dumps(document))
        try:
            assert not judged(agreed, run)[0].passed or value is None or key in ("right", "teacher", "n")
        except EdgekdError as error:
            assert "\n" not in str(error)


def test_a_classifiers_report_has_no_file_of_evidence_to_copy(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    named = {"file": "../secret", "sha256": sha256_file(tmp_path / "secret")}
    load_subject(writer(tmp_path)("classes", evidence=named)).save(tmp_path / "baseline.json")
    assert not (tmp_path / "baseline-files").exists()
    assert "evidence" not in (tmp_path / "baseline.json").read_text()


def test_a_gate_of_classes_starts_without_numpy(tmp_path):
    """NumPy alone takes as long to be imported as the rest of the gate."""
    write = writer(tmp_path)
    load_subject(write("before")).save(tmp_path / "baseline.json")
    program = (
        "import sys; from pathlib import Path; from edgekd.gate import check, load_subject; "
        f"found = check(*(load_subject(Path(p)) for p in {[str(tmp_path / 'baseline.json'), str(write('now'))]})); "
        "print(found.passed, {'numpy', 'scipy', 'torch', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True set()\n"
