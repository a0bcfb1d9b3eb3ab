import json
import math

import pytest

from edgekd.errors import EdgekdError
from edgekd.files import write_bytes
from edgekd.gate import NotComparable, Policy, check, load_subject
from edgekd.stats.correct import encode_correct
from tests.gate.runs import ENVIRONMENT, row


@pytest.fixture
def baseline(run_folder, tmp_path):
    path = tmp_path / "baseline.json"
    load_subject(run_folder("agreed")).save(path)
    return load_subject(path)


def judged(baseline, folder, **policy):
    return check(baseline, load_subject(folder), Policy.of(policy))


def levels(verdict):
    return {finding.metric: finding.level for finding in verdict.findings if finding.level != "ok"}


def test_a_baseline_file_is_what_the_run_was(run_folder, baseline):
    folder = run_folder("same")
    assert load_subject(folder) == load_subject(folder / "report.json")
    assert load_subject(folder).rows == baseline.rows
    verdict = judged(baseline, folder)
    assert verdict.passed
    assert levels(verdict) == {"latency_ms": "information"}
    assert len(verdict.findings) == 9


def test_a_loss_beyond_chance_and_tolerance_fails_and_says_how_sure(run_folder, baseline):
    verdict = judged(baseline, run_folder("worse", lost=41, won=9))
    [failed] = verdict.at("fail")
    assert failed.metric == "accuracy"
    assert "1.60 points lost, at least" in failed.what
    assert "41 of 2000 samples lost and 9 won, McNemar p = 2.8e-06" in failed.what
    assert "allowed 0.50" in failed.what


def test_a_loss_that_may_be_chance_is_a_warning(run_folder, baseline):
    verdict = judged(baseline, run_folder("perhaps", lost=72, won=60))
    assert verdict.passed
    assert levels(verdict)["accuracy"] == "warn"


def test_an_exact_figure_fails_by_one(run_folder, baseline):
    for changed in ({"size_bytes": 100_001}, {"params": 50_001}, {"macs": 2_000_001}, {"int8_coverage": 0.999}):
        [metric] = changed
        assert levels(judged(baseline, run_folder(metric, **changed)))[metric] == "fail"


def test_an_exact_figure_that_is_better_suggests_a_new_baseline(run_folder, baseline):
    verdict = judged(baseline, run_folder("smaller", size_bytes=90_000, won=100))
    assert verdict.passed
    assert levels(verdict) == {"accuracy": "better", "size_bytes": "better", "latency_ms": "information"}


def test_other_operators_and_another_precision_fail(run_folder, baseline):
    changed = {"operators": {"Conv": 8, "QuantizeLinear": 18, "Cast": 1}, "precision": "float32"}
    verdict = judged(baseline, run_folder("other", **changed))
    assert levels(verdict) == {"operators": "fail", "precision": "fail", "latency_ms": "information"}
    assert "Cast 0 to 1, QuantizeLinear 20 to 18" in verdict.findings[0].what + verdict.findings[1].what


def test_a_ratio_fails_when_it_is_surely_worse_than_allowed(run_folder, baseline):
    def ratio(name, value, spread, **more):
        figures = {"ratio": value, "ci95": [value * (1 - spread), value * (1 + spread)]}
        return levels(judged(baseline, run_folder(name, latency_vs_teacher=figures, **more))).get("latency_ratio", "ok")

    assert ratio("a", 0.275, 0.01) == "fail"
    assert ratio("b", 0.275, 0.2) == "warn"
    assert ratio("c", 0.26, 0.01) == "ok"
    assert ratio("d", 0.2, 0.01) == "better"
    assert ratio("e", 0.275, 0.01, valid=False) == "warn"


TAKEN = {"code": "others_took_time", "message": "others took processor time from 29 of 30 rounds: stop them"}


def ratio_of(baseline, folder):
    [found] = [each for each in judged(baseline, folder).findings if each.metric == "latency_ratio"]
    return found


def test_a_ratio_that_is_not_valid_fails_only_where_its_lower_bound_is_far_beyond(run_folder, baseline):
    def found(name, value, spread, **more):
        figures = {"ratio": value, "ci95": [value * (1 - spread), value * (1 + spread)]}
        times = {"latency_ms": {"p50": 0.8 * value, "n": 1000}, "valid": False, "warnings": [TAKEN]}
        return ratio_of(baseline, run_folder(name, latency_vs_teacher=figures, **times))

    assert found("far", 0.6, 0.01).level == "fail"
    assert found("wide", 0.55, 0.2).level == "warn"  # its lower bound is not
    near = found("near", 0.3, 0.01)
    assert (near.level, near.advice) == ("warn", "measure again on a quiet machine")
    assert near.what.startswith("not measured: +20.0% of") and near.what.endswith(TAKEN["message"])
    assert found("vast", 0.3, 0.9).level == "warn"


def test_a_ratio_that_others_left_none_of_is_not_measured_but_one_that_is_gone_is_missing(run_folder, baseline):
    unclear = ratio_of(baseline, run_folder("unclear", latency_vs_teacher=None, valid=False, warnings=[TAKEN]))
    assert (unclear.level, unclear.current, unclear.what) == ("warn", "–", f"not measured: {TAKEN['message']}")
    for name, more in (("gone", {"warnings": [TAKEN]}), ("unsaid", {"valid": False})):
        assert ratio_of(baseline, run_folder(name, latency_vs_teacher=None, **more)).level == "fail"


def test_milliseconds_are_costs_where_both_have_them(run_folder, tmp_path):
    def cost(p50, *ends):
        return {"p50": p50, "rounds": 30, "of": 30, "taken": 0.3, **({"ci95_p50": ends} if ends else {})}

    def disturbed(name, **times):
        return run_folder(name, valid=False, warnings=[TAKEN], latency_vs_teacher=None, **times)

    def found(before, now, **changed):
        policy = Policy.of({"metrics": {"latency_ms": {"level": "fail", "relative": 0.1}}})
        [each] = [each for each in check(before, load_subject(now), policy).findings if each.metric == "latency_ms"]
        return each.level, each.baseline, each.current

    path = tmp_path / "costs.json"
    load_subject(run_folder("kept", cost_ms=cost(0.19))).save(path)
    busy = run_folder("busy", cost_ms=cost(0.2), latency_ms={"p50": 0.39, "n": 1000})
    assert json.loads(path.read_text())["rows"]["cpu, onnxruntime, 1 thread"]["cost_ms"] == 0.19
    assert found(load_subject(path), busy) == ("ok", "0.190", "0.200")
    assert "cost_at_least_ms" not in path.read_text()
    older = load_subject(run_folder("older"))
    assert found(older, busy)[0] == "fail"
    gone = run_folder("gone", latency_ms=None, latency_vs_teacher=None)
    assert found(load_subject(path), gone) == ("fail", "0.200", "–")
    # A latency is what others make it, however far it is beyond.
    for name, p50, shown in (("unclear", 0.39, "0.390"), ("vast", 9.0, "9.00")):
        unclear = disturbed(name, latency_ms={"p50": p50, "n": 1000})
        assert found(load_subject(path), unclear) == ("warn", "0.190", "–")
        assert found(older, unclear) == ("warn", "0.200", shown)
    for name, now, level in (("far", cost(0.6, 0.5, 0.7), "fail"), ("wide", cost(0.6, 0.3, 0.9), "warn")):
        slower = disturbed(name, cost_ms=now, latency_ms={"p50": 0.9, "n": 1000})
        assert found(load_subject(path), slower) == (level, "0.190", "0.600")
    assert found(load_subject(path), disturbed("unsure", cost_ms=cost(0.6)))[0] == "warn"


def test_the_costs_must_agree_with_the_ratio_where_both_are_known(run_folder):
    teacher = row("teacher", latency_vs_teacher=None, latency_ms={"p50": 0.8, "n": 1000})
    for name, p50, wrong in (("agree", 0.2, False), ("contradict", 0.9, True)):
        costs = [{"p50": each, "rounds": 30, "of": 30, "taken": 0.3} for each in (0.8, p50)]
        rows = [{**teacher, "cost_ms": costs[0]}, row("quantized", cost_ms=costs[1], latency_ms={"p50": 0.7, "n": 9})]
        folder = run_folder(name, report={"rows": rows})
        if not wrong:
            load_subject(folder)
            continue
        with pytest.raises(EdgekdError, match=r"0\.25 is far from 0\.9 ms over the teacher's 0\.8 ms"):
            load_subject(folder)


BEFORE = "b" * 64


def beside(value, spread=0.01, sha256=BEFORE, **more):
    figures = {"ratio": value, "ci95": [value * (1 - spread), value * (1 + spread)], "baseline_sha256": sha256}
    return {"latency_vs_baseline": {**figures, **more}}


def test_a_network_timed_beside_the_baselines_own_file_is_judged_by_that(run_folder):
    baseline = load_subject(run_folder("agreed", file_sha256=BEFORE))

    def found(name, **row):
        verdict = judged(baseline, run_folder(name, **row))
        return next(finding for finding in verdict.findings if finding.metric == "latency_ratio")

    # The ratio to the teacher moved with the machine; the network did not get slower.
    noisy = {"latency_vs_teacher": {"ratio": 0.33, "ci95": [0.32, 0.34]}}
    assert found("same", **noisy, **beside(1.0)).level == "ok"
    slower = found("slower", **beside(1.1))
    assert slower.level == "fail"
    assert "+10.0% of the baseline's own time, in turns, at least +9.1%" in slower.what
    assert found("perhaps", **beside(1.1, 0.2)).level == "warn"
    assert found("faster", **beside(0.8)).level == "better"
    assert found("trouble", **beside(1.1, valid=False)).level == "warn"


@pytest.mark.parametrize("of_teacher", [None, {"ratio": 0.25, "ci95": [0.2475, 0.2525]}])
@pytest.mark.parametrize(("value", "level"), [(1.0, "ok"), (1.1, "fail"), (0.8, "better")])
def test_the_time_in_turns_is_judged_where_a_ratio_to_the_teacher_is_missing(run_folder, value, level, of_teacher):
    for name, before, now in (("then", None, of_teacher), ("now", of_teacher, None)):
        baseline = load_subject(run_folder(f"agreed without {name}", file_sha256=BEFORE, latency_vs_teacher=before))
        verdict = judged(baseline, run_folder(f"now without {name}", latency_vs_teacher=now, **beside(value)))
        [found] = [each for each in verdict.findings if each.metric == "latency_ratio"]
        assert (found.level, found.baseline, found.current) == (level, "1.0000", f"{value:.4f}")
        assert f"{100 * (value - 1):+.1f}% of the baseline's own time" in found.what and "allowed +5.0%" in found.what


def test_a_bound_on_the_ratio_to_the_teacher_needs_that_ratio(run_folder):
    baseline = load_subject(run_folder("agreed", file_sha256=BEFORE, latency_vs_teacher=None))
    run = run_folder("now", latency_vs_teacher=None, **beside(1.0))
    ceiling = {"metrics": {"latency_ratio": {"ceiling": 0.5}}}
    [failed] = judged(baseline, run, **ceiling).at("fail")
    assert (failed.metric, failed.what) == ("latency_ratio", "latency_ratio is missing, and the policy bounds it")
    measured = run_folder("measured", **beside(1.0))
    assert judged(baseline, measured, **ceiling).passed
    [failed] = judged(baseline, measured, metrics={"latency_ratio": {"ceiling": 0.2}}).at("fail")
    assert failed.what.startswith("above the ceiling of 0.2000; +0.0% of the baseline's own time")


def test_a_policy_that_names_the_ratio_takes_the_time_in_turns(run_folder):
    baseline = load_subject(run_folder("agreed", file_sha256=BEFORE, latency_vs_teacher=None))
    policy = {"metrics": {"latency_ratio": {"relative": 0.1}}}
    now = run_folder("now", latency_vs_teacher=None, **beside(1.06))
    assert judged(baseline, now, **policy).passed
    [failed] = judged(baseline, run_folder("alone", latency_vs_teacher=None), **policy).at("fail")
    assert failed.what == "the policy names latency_ratio, and neither the run nor the baseline has it"


def test_a_time_beside_the_baseline_without_an_interval_is_not_passed_over(run_folder):
    baseline = load_subject(run_folder("agreed", file_sha256=BEFORE))
    row = {"latency_vs_baseline": {"ratio": 1.3, "baseline_sha256": BEFORE}}
    verdict = judged(baseline, run_folder("cut", **row))
    [failed] = verdict.at("fail")
    assert failed.metric == "latency_ratio" and "without an interval" in failed.what


def test_a_file_that_is_not_the_baselines_says_nothing_of_it(run_folder):
    baseline = load_subject(run_folder("agreed", file_sha256=BEFORE))
    for name, timed in (("other", beside(1.5, sha256="c" * 64)), ("none", {"latency_vs_baseline": None})):
        verdict = judged(baseline, run_folder(name, **timed))
        [finding] = [each for each in verdict.findings if each.metric == "latency_ratio"]
        assert (finding.level, "the teacher's time" in finding.what) == ("ok", True)


def test_before_and_now_are_what_was_judged(run_folder):
    baseline = load_subject(run_folder("agreed", file_sha256=BEFORE))
    slower = {"latency_vs_teacher": {"ratio": 0.3, "ci95": [0.29, 0.31]}}

    def found(name, policy=None, **row):
        verdict = check(baseline, load_subject(run_folder(name, **row)), Policy.of(policy or {}))
        return next(finding for finding in verdict.findings if finding.metric == "latency_ratio")

    by_file = found("file", **slower, **beside(0.977))
    assert (by_file.baseline, by_file.current) == ("1.0000", "0.9770") and by_file.what.startswith("-2.3% of")
    by_teacher = found("teacher", **slower)
    assert (by_teacher.baseline, by_teacher.current) == ("0.2500", "0.3000") and "+20.0% of" in by_teacher.what
    ceiling = found("ceiling", {"metrics": {"latency_ratio": {"ceiling": 0.28}}}, **slower, **beside(0.977))
    assert (ceiling.level, ceiling.baseline, ceiling.current) == ("fail", "0.2500", "0.3000")
    assert ceiling.what.startswith("above the ceiling of 0.2800; -2.3% of the baseline's own time")


@pytest.mark.parametrize(
    ("metric", "before", "now", "shown"),
    [
        ("int8_coverage", 1.0, 0.99996, ("100.000 %", "99.996 %")),
        ("params", 10_000_000, 10_000_001, ("10000000", "10000001")),
        ("macs", 5 * 10**9, 5 * 10**9 + 1, ("5000000000", "5000000001")),
        ("size_bytes", 10**9, 10**9 + 1, ("1000000000 B", "1000000001 B")),
    ],
)
def test_what_differs_is_not_shown_as_the_same(metric, before, now, shown, run_folder):
    verdict = check(load_subject(run_folder("a", **{metric: before})), load_subject(run_folder("b", **{metric: now})))
    [failed] = verdict.at("fail")
    assert (failed.baseline, failed.current) == shown


def test_a_file_for_another_processor_has_its_own_place(run_folder):
    here, other = row("quantized", threads=None, latency_vs_teacher=None), {"built_for": "onnxruntime-arm"}
    subject = load_subject(run_folder("two", report={"rows": [{**here, **other}, here]}))
    assert list(subject.rows) == ["cpu, onnxruntime, file for onnxruntime-arm", "cpu, onnxruntime"]
    with pytest.raises(EdgekdError, match=r"rows.1: quantized on cpu, onnxruntime is in rows.0 already"):
        load_subject(run_folder("one", report={"rows": [here, here]}))


def test_a_row_that_is_new_is_said_and_held_to_the_accuracy_elsewhere(run_folder):
    rows = [row("quantized", latency_vs_teacher=None)]
    before = load_subject(run_folder("one", report={"rows": rows}))
    new = {**rows[0], "runtime": "tensorrt"}
    verdict = check(before, load_subject(run_folder("two", report={"rows": [new, *rows]})))
    assert verdict.passed
    found = {each.metric: each for each in verdict.findings if each.place == "cpu, tensorrt, 1 thread"}
    assert found["accuracy"].what.endswith("this place is new, and compared with cpu, onnxruntime, 1 thread")
    assert found["size_bytes"].what.startswith("new: the baseline has no such figure")
    wrong = {**new, "accuracy": 0.0, "right": encode_correct([False] * 2000)}
    failed = check(before, load_subject(run_folder("wrong", report={"rows": [wrong, *rows]}))).at("fail")
    assert [(each.place, each.metric) for each in failed] == [("cpu, tensorrt, 1 thread", "accuracy")]


def test_what_a_run_was_timed_beside_is_not_in_its_own_baseline(run_folder, tmp_path):
    load_subject(run_folder("agreed", file_sha256=BEFORE, **beside(1.0))).save(tmp_path / "baseline.json")
    assert "latency_vs_baseline" not in (tmp_path / "baseline.json").read_text()


def test_the_bound_of_a_ratio_is_that_of_two_independent_ones(run_folder, baseline):
    figures = {"ratio": 0.3, "ci95": [0.294, 0.306]}
    [failed] = judged(baseline, run_folder("slow", latency_vs_teacher=figures)).at("fail")
    each = math.log(0.2525 / 0.2475) / (2 * 1.959964), math.log(0.306 / 0.294) / (2 * 1.959964)
    at_least = 1.2 * math.exp(-1.644854 * math.hypot(*each)) - 1
    assert f"+20.0% of the teacher's time, at least {at_least:+.1%}" in failed.what


FIGURES = ["accuracy", "size_bytes", "params", "macs", "operators", "int8_coverage", "precision"]


@pytest.mark.parametrize("metric", FIGURES[:-1])
def test_a_figure_that_is_missing_fails(metric, run_folder, baseline):
    verdict = judged(baseline, run_folder("broken", **{metric: None}))
    assert levels(verdict)[metric] == "fail"
    assert not verdict.passed


@pytest.mark.parametrize("metric", FIGURES)
@pytest.mark.parametrize("value", ["many" * 20, True, -1, [3]])
def test_a_figure_that_is_none_is_refused_by_its_key(metric, value, run_folder, baseline):
    if metric == "precision" and isinstance(value, str):
        return
    with pytest.raises(EdgekdError, match=rf"broken/report.json: rows.1.{metric}: .* is no"):
        judged(baseline, run_folder("broken", **{metric: value}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_a_report_with_a_figure_that_json_has_no_number_for_is_refused(value, run_folder):
    with pytest.raises(EdgekdError, match="is no JSON: .*(no number|64 bits)"):
        load_subject(run_folder("broken", accuracy=value))


@pytest.mark.parametrize("ratio", [None, {"ratio": 0.25}])
def test_a_ratio_that_is_missing_or_without_an_interval_fails(ratio, run_folder, baseline):
    assert levels(judged(baseline, run_folder("broken", latency_vs_teacher=ratio)))["latency_ratio"] == "fail"


@pytest.mark.parametrize(
    ("ratio", "says"),
    [
        ({"ci95": [1, 2]}, "ratio: is missing"),
        ({"ratio": 0, "ci95": [0, 1]}, "ratio: 0 is not above 0"),
        ({"ratio": 0.25, "ci95": [0.3, 0.2]}, "ci95: the lower end 0.3 is above the upper end 0.2"),
        ({"ratio": 0.25, "ci95": [0.26, 0.3]}, "ci95: ratio is 0.25, which its interval 0.26 to 0.3 does not hold"),
        ({"ratio": 0.25, "ci95": [0.2]}, "ci95: a list is no pair"),
        ([0.25], "a list is no table"),
    ],
)
def test_a_ratio_that_cannot_be_is_refused(ratio, says, run_folder, baseline):
    with pytest.raises(EdgekdError, match=f"rows.1.latency_vs_teacher.*{says}"):
        judged(baseline, run_folder("broken", latency_vs_teacher=ratio))


def test_answers_that_are_not_kept_fail(run_folder, baseline):
    failed = judged(baseline, run_folder("lost", right=None)).at("fail")
    assert "cannot be compared in pairs" in failed[0].what


@pytest.mark.parametrize("kept", ["", "AAAA", "no base64!", 7, ["AAAA"]])
def test_answers_of_another_number_of_samples_are_refused(kept, run_folder, baseline):
    with pytest.raises(EdgekdError, match="rows.1.right: "):
        judged(baseline, run_folder("lost", right=kept))


def test_a_floor_and_a_ceiling_hold_whatever_the_baseline_was(run_folder, baseline):
    metrics = {"accuracy": {"floor": 0.95}, "latency_ratio": {"ceiling": 0.2}}
    verdict = judged(baseline, run_folder("same"), metrics=metrics)
    assert levels(verdict) == {"accuracy": "fail", "latency_ratio": "fail", "latency_ms": "information"}
    assert all(
        finding.what.startswith(("below the floor of 95.0 %", "above the ceiling")) for finding in verdict.at("fail")
    )


def test_a_floor_holds_for_what_is_better_than_the_baseline_too(run_folder, baseline):
    verdict = judged(baseline, run_folder("won", won=60), metrics={"accuracy": {"floor": 0.95}})
    assert levels(verdict)["accuracy"] == "fail"


def test_levels_and_tolerances_are_the_policys(run_folder, baseline):
    folder = run_folder("larger", size_bytes=101_000, latency_ms={"p50": 0.3, "n": 3})
    assert levels(judged(baseline, folder, metrics={"size_bytes": {"level": "warn"}}))["size_bytes"] == "warn"
    assert "size_bytes" not in levels(judged(baseline, folder, metrics={"size_bytes": {"relative": 0.02}}))
    soft = {"size_bytes": {"relative": 0.02, "warn": {"relative": 0.005}}}
    assert levels(judged(baseline, folder, metrics=soft))["size_bytes"] == "warn"


@pytest.mark.parametrize(
    ("report", "field"),
    [
        ({"data": {"fingerprint": "e" * 64, "test": 2000}}, "test set"),
        ({"environment": {"cpu": {**ENVIRONMENT["cpu"], "model": "another"}}}, "processor"),
        ({"environment": {"cpu": {**ENVIRONMENT["cpu"], "flags": ["avx2"]}}}, "processor features"),
        ({"environment": {**ENVIRONMENT, "power_mode": "15W"}}, "power mode"),
    ],
)
def test_another_test_set_or_machine_is_not_compared(report, field, run_folder, baseline):
    with pytest.raises(NotComparable) as error:
        judged(baseline, run_folder("elsewhere", report=report))
    assert [each.field for each in error.value.differences] == [field]
    assert error.value.exit_code == 3


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"threads": 2}, "threads in onnxruntime"), ({"device": "jetson"}, "device in onnxruntime")],
)
def test_other_threads_or_another_device_are_not_compared(changed, field, run_folder, baseline):
    with pytest.raises(NotComparable, match=field):
        judged(baseline, run_folder("other", **changed))


def test_another_runtime_is_not_compared(run_folder, baseline):
    with pytest.raises(NotComparable, match="places"):
        judged(baseline, run_folder("other", runtime="tensorrt"))


def test_a_row_that_is_gone_fails_in_every_figure(run_folder, tmp_path):
    rows = [row("quantized", latency_vs_teacher=None), row("quantized", latency_vs_teacher=None, runtime="tensorrt")]
    before = load_subject(run_folder("two", report={"rows": rows}))
    verdict = check(before, load_subject(run_folder("one", report={"rows": rows[:1]})))
    assert {finding.place for finding in verdict.at("fail")} == {"cpu, tensorrt, 1 thread"}
    assert len(verdict.at("fail")) == 7


def test_files_that_are_neither_are_refused(tmp_path):
    for name, text, said in (
        ("a.json", "{", "is no JSON"),
        ("b.json", "[]", "holds no JSON object"),
        ("c.json", "{}", "neither a report nor a baseline"),
        ("d.json", json.dumps({"kind": "edgekd baseline", "schema_version": 9}), "of version 9"),
        ("e.json", json.dumps({"kind": "edgekd baseline", "schema_version": 1, "rows": 3}), "facts: is missing"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(EdgekdError, match=said):
            load_subject(tmp_path / name)
    with pytest.raises(EdgekdError, match="cannot read"):
        load_subject(tmp_path / "none.json")


@pytest.mark.parametrize("name", ["model.onnx.data", "model.onnx_data", "weights.bin", "more/model.onnx"])
def test_a_file_is_as_large_as_its_run_says_whatever_lies_beside(run_folder, name):
    folder = run_folder("kept", file="model.onnx", size_bytes=1000)
    (folder / "model.onnx").write_bytes(bytes(1000))
    write_bytes(folder / name, b"of another program")
    assert load_subject(folder).name
    (folder / "model.onnx").write_bytes(bytes(1001))
    with pytest.raises(EdgekdError, match="1000 bytes are said of model.onnx, which has 1001"):
        load_subject(folder)


def test_a_folder_of_a_run_may_be_a_link_to_another_disk(run_folder, tmp_path):
    folder = run_folder("linked", file="exports/model.onnx", size_bytes=1000)
    disk = tmp_path / "disk"
    write_bytes(disk / "model.onnx", bytes(1000))
    (folder / "exports").symlink_to(disk)
    assert load_subject(folder).name
    write_bytes(disk / "model.onnx", bytes(1001))
    with pytest.raises(EdgekdError, match="1000 bytes are said of exports/model.onnx, which has 1001"):
        load_subject(folder)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("n" * 300, r"file: 'n{100}' cannot be read \(\[Errno 36\] File name too long"),
        ("../elsewhere.onnx", "is outside the run's folder"),
    ],
)
def test_a_file_that_cannot_be_looked_at_is_no_runs(run_folder, name, says):
    folder = run_folder("odd", file=name, size_bytes=1000)
    with pytest.raises(EdgekdError, match=says):
        load_subject(folder)
