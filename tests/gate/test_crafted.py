"""Crafted reports, baselines and policies: none that a careful person would refuse passes, no harmless one fails."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import EdgekdError
from edgekd.gate import Policy, check, load_subject
from edgekd.stats.correct import decode_correct, encode_correct
from edgekd.stats.proportion import wilson_interval

Document = dict[str, Any]
# A quickstart as an edgekd of version 1 of reports recorded it; the values below are those of its rows.
RECORDED = Path(__file__).with_name("recorded.json")
SHA = {model: digit * 64 for model, digit in (("teacher", "a"), ("quantized", "b"))}
NAN, INFINITE = float("nan"), float("inf")
NO_NUMBER = ["0.9", "many", True, False, [], [1], {}, NAN, INFINITE, -INFINITE, -1, 10**400]
NO_COUNT = [*NO_NUMBER, 0.5, 1e300, 360.0, -0.5]


@pytest.fixture(scope="module", params=[1, 2])
def good(request: pytest.FixtureRequest) -> Document:
    """The recorded run, with its last network on a registered device too, in either version of a report."""
    document = json.loads(RECORDED.read_text())
    kept = ("schema_version", "name", "recipe_sha256", "environment", "data", "rows", "budget", "warnings")
    report = {key: document[key] for key in kept}
    timed = [row for row in report["rows"] if row["runtime"] == "onnxruntime"]
    for row in timed:
        row["file_sha256"] = SHA.get(row["model"], "c" * 64)
    abroad = [{**deepcopy(row), "device": "orin", "runtime": "tensorrt", "threads": None} for row in timed]
    report["rows"] = [*report["rows"][: -len(timed)], *abroad, *timed]
    report["environment"]["devices"] = {"orin": {"facts": {"board": "a board", "cpu": "a core"}, "tensorrt": "10.3"}}
    if request.param == 2:
        first, last = report["rows"][0]["model"], report["rows"][-1]
        report["rows"] = [{**row, "role": "teacher" if row["model"] == first else "student"} for row in report["rows"]]
        report["deployed"] = {"model": last["model"], "place": "cpu, onnxruntime, 1 thread"}
        report["schema_version"] = 2
    return report


class Bench:
    """Copies of a good report and its baseline, to be changed, and what the command would end with."""

    def __init__(self, good: Document, folder: Path):
        self.folder = folder
        self.good = good
        (folder / "report.json").write_text(json.dumps(good))
        load_subject(folder / "report.json").save(folder / "baseline.json")
        self.agreed = json.loads((folder / "baseline.json").read_text())
        self.fresh()

    def fresh(self) -> None:
        self.now, self.baseline, self.policy = deepcopy(self.good), deepcopy(self.agreed), {}

    @property
    def last(self) -> Document:
        return self.now["rows"][-1]

    @property
    def teacher(self) -> Document:
        return next(row for row in self.now["rows"] if at(row, "teacher"))

    @property
    def held(self) -> Document:
        return self.baseline["rows"]["cpu, onnxruntime, 1 thread"]

    def outcome(self) -> tuple[int, str]:
        for name, document in (("report.json", self.now), ("baseline.json", self.baseline)):
            (self.folder / name).write_text(json.dumps(document))
        try:
            subjects = [load_subject(self.folder / name) for name in ("baseline.json", "report.json")]
            verdict = check(*subjects, Policy.of(self.policy))
        except EdgekdError as error:
            assert "\n" not in str(error)
            return error.exit_code, str(error)
        return 0 if verdict.passed else 2, "; ".join(finding.what for finding in verdict.at("fail"))


def at(row: Document, model: str) -> bool:
    return (row["model"], row["runtime"], row["device"]) == (model, "onnxruntime", "cpu")


def answer(row: Document, wrong: int) -> None:
    """Let ``row`` have answered its last ``wrong`` samples wrongly, and all that belongs to it."""
    right = [place < row["n"] - wrong for place in range(row["n"])]
    row["right"], row["accuracy"] = encode_correct(right), sum(right) / len(right)
    row["accuracy_ci95"] = list(wilson_interval(sum(right), len(right)))


def flipped(text: str, n: int, place: int) -> str:
    right = list(decode_correct(text, n) or ())
    right[place] = not right[place]
    return encode_correct(right)


Change = Callable[[Bench], object]
BAD: dict[str, Callable[[], Iterator[Change]]] = {}


def kind(changes: Callable[[], Iterator[Change]]) -> Callable[[], Iterator[Change]]:
    BAD[changes.__name__] = changes
    return changes


def put(key: str, values: list[Any], of: str = "last") -> Iterator[Change]:
    """``a.b`` of a row set to each of ``values``."""
    *above, name = key.split(".")
    for value in values:

        def change(bench: Bench, value: Any = value) -> None:
            table = getattr(bench, of)
            for part in above:
                table = table[part]
            table[name] = value

        yield change


@kind
def accuracy_of_another_kind():
    yield from put("accuracy", [*NO_NUMBER, 1.0001, 99.2, -0.001])


@kind
def accuracy_that_its_answers_do_not_give():
    yield from put("accuracy", [0, 1, 0.5, 0.9, 0.99, 0.9917, 0.991666, 0.9944444444444445, 0.995, 357.01 / 360])


@kind
def number_of_samples():
    yield from put("n", [*NO_COUNT, 0, 1, 359, 361, 720])


@kind
def answers():
    text = "///////////v///////////////////9//+/////////////////////////"
    yield from put("right", ["", "A", "====", text[:-4], text + "AAAA", "no base64", 7, [text], "é" * 60, text[:-1]])
    for place in (0, 1, 100, 359):
        yield lambda bench, place=place: bench.last.update(right=flipped(text, 360, place))


@kind
def interval_of_the_accuracy():
    yield from put(
        "accuracy_ci95", [[0.9, 0.99], [0.99, 1], [1, 0.98], [0.99, 0.999], [0.5], [0.9, 0.99, 1], "0.9", {}]
    )
    yield from put("accuracy_ci95", [[NAN, 1], [0.9, "1"], [-0.1, 1], [0, 1.1], 0.99, [0.9757, 1], [None, 1]])


@kind
def latency_of_another_kind():
    yield from put("latency_ms", ["fast", 0.1, [0.1], True, {"p50": 0.1}, {"n": 3}, {"p50": 0, "n": 3}])
    yield from put("latency_ms.p50", [*NO_NUMBER, 0, "0.117"])
    yield from put("latency_ms.n", NO_COUNT)


@kind
def percentiles_out_of_order():
    yield from put("latency_ms.p50", [0.2, 0.15538, 10, 1e9])
    yield from put("latency_ms.p90", [0.1, 0.18, 1])
    yield from put("latency_ms.p99", [0.1, 0.1])
    yield from put("latency_ms.ci95_p50", [[0.118, 0.12], [0.1, 0.11], [0.12, 0.1], [0.1]])


@kind
def ratio_of_another_kind():
    yield from put("latency_vs_teacher", [0.02, "0.02", [0.02], True, {"ci95": [0.1, 0.2]}])
    yield from put("latency_vs_teacher.ratio", [*NO_NUMBER, 0, -0.08])


@kind
def interval_of_the_ratio():
    values = [[0.09, 0.08], [0.01, 0.02], [0.0868, 0.1], [0, 1], [0.08], "0.08", 0.08, [NAN, 0.1], [0.08, INFINITE], {}]
    yield from put("latency_vs_teacher.ci95", values)
    yield lambda bench: bench.last["latency_vs_teacher"].pop("ci95")


@kind
def ratio_that_the_medians_contradict():
    for factor in (0.01, 0.1, 0.2, 0.3, 0.45):
        figures = {"ratio": 0.0867 * factor, "ci95": [0.08 * factor, 0.09 * factor]}
        yield lambda bench, figures=figures: bench.last.update(latency_vs_teacher=figures)
    for factor in (0.01, 0.1, 3, 10, 100):
        timed = {"p50": 0.11727 * factor, "n": 1000}
        yield lambda bench, timed=timed: bench.last.update(latency_ms=timed)


@kind
def ratio_without_its_times():
    for of in ("last", "teacher"):
        for times in (None, {}):
            yield from put("latency_ms", [times], of)
        yield lambda bench, of=of: getattr(bench, of).pop("latency_ms")
    yield lambda bench: bench.now["rows"].remove(bench.teacher)
    yield lambda bench: bench.now.update(rows=[bench.last])


@kind
def notes_and_budget():
    yield from put("warnings", [3, "text", [3], [{}], [{"code": "a"}], [{"code": 3, "message": "b"}], {"a": 1}])
    check = {"name": "size_mb", "bound": 1.0, "value": 2.0, "unit": "MB", "met": False}
    for change in (
        {"met": True}, {"value": 0.5}, {"value": NAN}, {"bound": None}, {"met": "no"}, {"unit": 3}, {"bound": "1"},
        {"value": None, "met": True}, {"value": 1.0}, {"value": 1.0000001, "met": True}, {"ci95": [2, 1]},
    ):  # fmt: skip
        budget = {"met": bool(change.get("met")), "checks": [{**check, **change}]}
        yield lambda bench, budget=budget: bench.now.update(budget=budget)
    for value in ({"met": True, "checks": [check]}, {"met": True}, [], "met", {"met": 1, "checks": []}):
        yield lambda bench, value=value: bench.now.update(budget=value)


@kind
def threads():
    yield from put("threads", [*NO_COUNT, 2, 4, 8, 0])


@kind
def size():
    yield from put("size_bytes", [*NO_COUNT, 48750, 48800, 50000, 10**9])


@kind
def parameters():
    yield from put("params", [*NO_COUNT, 33851, 40000, 10**12])


@kind
def operations():
    yield from put("macs", [*NO_COUNT, 1467009, 2 * 10**6, 2**62])


@kind
def operators():
    yield from put(
        "operators", [[], "Conv", {"Conv": "9"}, {"Conv": -1}, {"Conv": 1.5}, {"Conv": None}, {"Conv": True}]
    )
    yield from put("operators", [{}, {"Conv": 3}, {"Conv": NAN}, {"Conv": [1]}, {"\ud800": 1}, 3])
    for more in ({"Cast": 1}, {"Conv": 99}, {"QuantizeLinear": 0}):
        yield lambda bench, more=more: bench.last["operators"].update(more)


@kind
def coverage():
    yield from put("int8_coverage", [*NO_NUMBER, 0, 0.5, 0.999, 0.99999, 1.1, 100])


@kind
def precision():
    yield from put("precision", ["float32", "float16", "int4", "INT8", "", "int8 ", None, 8, True, ["int8"], {}])


@kind
def names_of_the_row():
    yield from put("model", [None, "", 3, True, ["quantized"], "pruned", "teacher", {}])
    yield from put("runtime", [None, "", 3, True, "pytorch", "tensorrt", "ONNXRuntime", {}])
    yield from put("device", ["", 3, True, "orin", "CPU", "cuda", []][1:])


@kind
def rows_of_another_kind():
    for rows in (None, [], {}, "rows", 3, True, [1, 2], [None], [[]], [{}], {"0": {}}):
        yield lambda bench, rows=rows: bench.now.update(rows=rows)


@kind
def version():
    # Of version 1 it has no roles, which version 2 needs.
    yield lambda bench: bench.now.update(schema_version=3 if "role" in bench.last else 2)
    for value in (3, 99, 10**9, 10**400, -1, "1", "2", True, 1.0, 1.5, [1], {}, NAN):
        yield lambda bench, value=value: bench.now.update(schema_version=value)


@kind
def rows_twice():
    for place in range(12):
        yield lambda bench, place=place: bench.now["rows"].append(bench.now["rows"][place])
        yield lambda bench, place=place: bench.now["rows"].insert(0, deepcopy(bench.now["rows"][place]))


@kind
def rows_that_share_a_place():
    for changed in (
        {"accuracy": 0.0}, {"precision": "float32"}, {"size_bytes": 10**9}, {"valid": False}, {"device": None},
        {"latency_ms": None}, {"operators": None}, {"file": "another.onnx"}, {"file_sha256": "d" * 64}, {"params": 1},
    ):  # fmt: skip

        def change(bench: Bench, changed: Document = changed) -> None:
            worse = deepcopy(bench.last) | changed
            if "accuracy" in changed:
                answer(worse, worse["n"])
            bench.now["rows"].insert(-1, worse)

        yield change


@kind
def rows_that_are_gone():
    for gone in ("onnxruntime", "pytorch", "tensorrt"):

        def change(bench: Bench, gone: str = gone) -> None:
            rows = bench.now["rows"]
            bench.now["rows"] = [row for row in rows if (row["model"], row["runtime"]) != ("quantized", gone)]

        yield change
    yield lambda bench: bench.now.update(rows=bench.now["rows"][:-1])
    yield lambda bench: bench.now.update(rows=[row for row in bench.now["rows"] if row["model"] != "quantized"])
    yield lambda bench: bench.now.update(rows=bench.now["rows"][:1])


@kind
def samples_of_another_test():
    for data in (None, {}, [], "digits", {"fingerprint": None, "test": 360}, {"fingerprint": 3, "test": 360}):
        yield lambda bench, data=data: bench.now.update(data=data)
    for change in ({"fingerprint": "e" * 64}, {"fingerprint": ""}, {"test": 361}, {"test": "360"}, {"test": None}):
        yield lambda bench, change=change: bench.now["data"].update(change)


@kind
def machine():
    for change in (
        {"model": "another"},
        {"model": None},
        {"flags": ["avx2"]},
        {"flags": None},
        {"architecture": "arm"},
    ):
        yield lambda bench, change=change: bench.now["environment"]["cpu"].update(change)
    for value in (None, {}, [], "here", 3):
        yield lambda bench, value=value: bench.now.update(environment=value)
    yield lambda bench: bench.now["environment"].update(power_mode="15W")
    yield lambda bench: bench.now["environment"].update(cpu="AMD EPYC")


@kind
def device():
    for devices in (None, {}, [], "orin", {"orin": None}, {"orin": 3}, {"orin": {"facts": "a board"}}, {"orin": {}}):
        yield lambda bench, devices=devices: bench.now["environment"].update(devices=devices)
    for change in ({"tensorrt": "10.4"}, {"tensorrt": None}, {"power_mode": "MAXN"}, {"facts": {"board": "another"}}):
        yield lambda bench, change=change: bench.now["environment"]["devices"]["orin"].update(change)


@kind
def another_teacher():
    yield from put("file_sha256", ["f" * 64, None, "0" * 64, "f", 3], "teacher")
    yield from put("params", [1, 10**9, None], "teacher")
    yield from put("macs", [1, 10**12], "teacher")
    yield from put("precision", ["float16", "int8"], "teacher")
    for wrong in (0, 30, 360):
        yield lambda bench, wrong=wrong: answer(bench.teacher, wrong)


@kind
def fewer_right_answers():
    for wrong in (20, 21, 25, 30, 50, 100, 200, 300, 359, 360):
        yield lambda bench, wrong=wrong: answer(bench.last, wrong)


@kind
def slower():
    for factor in (1.3, 1.35, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.2):

        def change(bench: Bench, factor: float = factor) -> None:
            ratio = bench.last["latency_vs_teacher"]["ratio"] * factor
            bench.last["latency_vs_teacher"] = {"ratio": ratio, "ci95": [0.99 * ratio, 1.01 * ratio]}
            bench.last["latency_ms"] = {"p50": 0.11727 * factor, "n": 1000}

        yield change


@kind
def much_slower_in_trouble():
    for factor in (2.5, 2.6, 2.8, 3, 4, 5, 8, 10, 20, 100):

        def change(bench: Bench, factor: float = factor) -> None:
            next(slower())(bench)
            ratio = 0.0867 * factor
            bench.last["latency_vs_teacher"] = {"ratio": ratio, "ci95": [0.99 * ratio, 1.01 * ratio]}
            bench.last["latency_ms"] = {"p50": 0.11727 * factor, "n": 1000}
            bench.last["valid"] = False

        yield change


@kind
def slower_with_an_interval_that_says_nothing():
    for factor, low, high in ((1.5, 0.1, 10), (2, 0.2, 6), (3, 0.3, 30), (10, 0.5, 100), (20, 0.9, 500)):

        def change(bench: Bench, factor: float = factor, low: float = low, high: float = high) -> None:
            ratio = 0.0867
            bench.last["latency_vs_teacher"] = {"ratio": factor * ratio, "ci95": [low * ratio, high * ratio]}
            bench.last["latency_ms"] = {"p50": 0.11727 * factor, "n": 1000}

        yield change


@kind
def times_beside_the_baseline():
    timed = {"ratio": 1.0, "ci95": [0.99, 1.01], "baseline_sha256": SHA["quantized"]}
    for more in (
        {"ratio": 1.2, "ci95": [1.19, 1.21]}, {"ratio": 1.2, "ci95": None}, {"ratio": 1.02, "ci95": [1.03, 1.04]},
        {"ratio": 1.2}, {"ratio": -1}, {"ratio": "1"}, {"valid": "yes"}, {"ratio": 0.3, "ci95": [0.29, 0.31]},
        {"ratio": 3, "ci95": [2.9, 3.1]}, {"ratio": 2.5, "ci95": [2.4, 2.6], "valid": False}, {"baseline_sha256": None},
    ):  # fmt: skip
        yield lambda bench, more=more: bench.last.update(latency_vs_baseline={**timed, **more})


@kind
def new_places_that_are_wrong():
    for wrong in (30, 40, 60, 100, 360):

        def change(bench: Bench, wrong: int = wrong) -> None:
            bench.now["rows"].insert(-1, {**deepcopy(bench.last), "runtime": "tensorrt"})
            answer(bench.now["rows"][-2], wrong)

        yield change


@kind
def figures_that_are_gone():
    names = ("accuracy", "right", "n", "size_bytes", "params", "macs", "operators", "int8_coverage")
    for name in (*names, "latency_vs_teacher", "precision", "runtime", "model"):
        yield lambda bench, name=name: bench.last.pop(name)


@kind
def bounds_of_the_policy():
    for metric, bound in (
        ("accuracy", {"floor": 0.995}), ("accuracy", {"ceiling": 0.5}), ("latency_ratio", {"ceiling": 0.08}),
        ("latency_ms", {"ceiling": 0.1}), ("size_bytes", {"ceiling": 48748}), ("params", {"ceiling": 1000}),
        ("macs", {"ceiling": 1000}), ("int8_coverage", {"ceiling": 0.5}), ("latency_ratio", {"floor": 0.5}),
        ("latency_ms", {"floor": 1, "ceiling": 2}), ("latency_ms", {"level": "fail", "ceiling": 0.1}),
    ):  # fmt: skip
        for valid in (True, False):

            def change(bench: Bench, metric: str = metric, bound: Document = bound, valid: bool = valid) -> None:
                bench.policy = {"metrics": {metric: bound}}
                for row in bench.now["rows"]:
                    row["valid"] = valid

            yield change


@kind
def metrics_that_the_policy_names_and_nothing_has():
    for metric in ("latency_ratio", "latency_ms", "int8_coverage", "operators", "size_bytes"):
        key = {"latency_ratio": "latency_vs_teacher"}.get(metric, metric)
        rules = [{"ceiling": 0.9}] if metric == "latency_ms" else [{}, {"level": "fail"}]
        for rule in rules:

            def change(bench: Bench, metric: str = metric, key: str = key, rule: Document = rule) -> None:
                bench.policy = {"metrics": {metric: rule}}
                for row in bench.now["rows"]:
                    row.pop(key, None)
                for row in bench.baseline["rows"].values():
                    row.pop(metric, None)

            yield change


@kind
def policies_that_do_nothing_or_too_much():
    for metrics in (
        {"accuracy": {"absolute": 50}}, {"accuracy": {"absolute": 1}}, {"accuracy": {"absolute": 0.5}},
        {"accuracy": {"relative": 5}}, {"accuracy": {"relative": 1}}, {"accuracy": {"floor": 90}},
        {"accuracy": {"points": 50}}, {"accuracy": {"points": -1}}, {"accuracy": {"points": 1, "absolute": 0.01}},
        {"accuracy": {"direction": "lower"}}, {"accuracy": {"floor": 0.9, "ceiling": 0.8}},
        {"accuracy": {"warn": {"absolute": 0.5}}}, {"accuracy": {"warn": {}, "absolute": 0}},
        {"accuracy": {"absolute": NAN}}, {"accuracy": {"floor": INFINITE}}, {"accuracy": {"absolute": True}},
        {"accuracy": {"absolute": "0.01"}}, {"accuracy": {"absolute": -0.01}}, {"accuracy": {"ceiling": 10**400}},
        {"latency_ratio": {"relative": 5}}, {"latency_ratio": {"absolute": 50}}, {"macs": {"floor": -1}},
        {"latency_ratio": {"level": "information", "ceiling": 0.1}}, {"latency_ms": {"relative": 0.1}},
        {"latency_ms": {"warn": {"relative": 0.1}}}, {"operators": {"absolute": 1}}, {"operators": {"floor": 1}},
        {"precision": {"relative": 0.1}}, {"precision": {"direction": "higher"}}, {"size_bytes": {"absolute": 0.5}},
        {"size_bytes": {"ceiling": 0.5}}, {"size_bytes": {"points": 1}}, {"params": {"mb": 1}}, {"size": {}},
        {"size_bytes": {"level": "warning"}}, {"size_bytes": []}, {"int8_coverage": {"floor": 99}},
        {"int8_coverage": {"absolute": 50}}, {"size_bytes": {"warn": {"relative": 0}}},
    ):  # fmt: skip
        yield lambda bench, metrics=metrics: setattr(bench, "policy", {"metrics": metrics})
    for policy in (
        {"confidence": 95},
        {"confidence": 1 - 1e-12},
        {"confidence": 0.5},
        {"metrics": []},
        {"rules": {}},
        [],
    ):
        yield lambda bench, policy=policy: setattr(bench, "policy", policy)


@kind
def policies_that_judge_nothing():
    names = ("accuracy", "latency_ratio", "size_bytes", "params", "macs", "int8_coverage", "precision", "operators")
    shown = {name: {"level": "information"} for name in names}
    yield lambda bench: setattr(bench, "policy", {"metrics": shown})
    yield lambda bench: setattr(bench, "policy", {"metrics": {**shown, "latency_ms": {"level": "information"}}})


@kind
def baselines_of_another_kind():
    for change in (
        {"schema_version": 3}, {"schema_version": 99}, {"schema_version": "1"}, {"schema_version": True}, {"rows": {}},
        {"rows": None}, {"rows": []}, {"rows": 3}, {"rows": {"cpu, pytorch": 3}}, {"rows": {"cpu, pytorch": {}}},
        {"facts": None}, {"facts": {}}, {"facts": []}, {"facts": 3}, {"kind": "edgekd report"}, {"kind": None},
        {"name": 3}, {"rows": {"cpu, onnxruntime": {"device": "cpu", "runtime": "onnxruntime"}}},
    ):  # fmt: skip
        yield lambda bench, change=change: bench.baseline.update(change)


@kind
def figures_of_the_baseline():
    yield from put("accuracy", [*NO_NUMBER, 0.5, 0, 1, 99.2], "held")
    yield from put("right", ["", "AAAA", 7, flipped("//////8=", 40, 3)], "held")
    yield from put("n", [*NO_COUNT, 359, 361], "held")
    yield from put("size_bytes", [*NO_COUNT, 48748, 0], "held")
    yield from put(
        "latency_ratio", ["0.08", {}, {"ratio": 0}, {"ratio": 0.08, "ci95": [0.09, 0.1]}, [0.08], 0.08], "held"
    )
    yield from put("latency_ms", NO_NUMBER, "held")
    yield from put("operators", [{}, [], {"Conv": "9"}, {"Conv": NAN}], "held")
    yield from put("runtime", ["tensorrt", "pytorch", None, 3], "held")
    yield from put("threads", [2, 0, "1", True], "held")
    yield from put("teacher", ["a teacher", {"params": -1}, {"file_sha256": "f" * 64}, {"accuracy": 0.5}], "held")


@pytest.fixture(scope="module")
def bench(good: Document, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(good, tmp_path_factory.mktemp("crafted"))


def test_there_are_over_three_hundred_of_thirty_kinds() -> None:
    assert len(BAD) >= 30
    assert sum(len(list(changes())) for changes in BAD.values()) > 300


@pytest.mark.parametrize("name", BAD)
def test_none_that_a_careful_person_would_refuse_passes(name: str, bench: Bench) -> None:
    passed = []
    for number, change in enumerate(BAD[name]()):
        bench.fresh()
        change(bench)
        code, said = bench.outcome()
        assert code == 0 or said
        passed += [number] if code == 0 else []
    assert not passed


def turned(value: Any) -> Any:
    """The same document with its keys in the other order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(each) for each in value] if isinstance(value, list) else value


def added_to(value: Any) -> Any:
    """The same document with a key that a newer edgekd may have added, in every table with names of ours."""
    if isinstance(value, dict) and "Conv" not in value:
        return {**{key: added_to(each) for key, each in value.items()}, "of_tomorrow": {"figure": [1, None, "text"]}}
    return [added_to(each) for each in value] if isinstance(value, list) else value


def with_new_key(bench: Bench) -> None:
    bench.now = added_to(bench.now)
    del bench.now["environment"]["devices"]["of_tomorrow"]


def new_place(bench: Bench) -> None:
    bench.now["rows"].insert(0, {**deepcopy(bench.teacher), "threads": 4})
    bench.now["rows"].insert(-1, {**deepcopy(bench.last), "threads": 4})
    if "deployed" in bench.now:  # it is the first target now
        bench.now["deployed"]["place"] = "cpu, onnxruntime, 4 threads"


HARMLESS: dict[str, Change] = {
    "unchanged": lambda bench: None,
    "reordered keys": lambda bench: bench.__dict__.update(now=turned(bench.now), baseline=turned(bench.baseline)),
    "unknown keys": with_new_key,
    "unknown keys of a baseline's rows": lambda bench: bench.held.update(of_tomorrow={"a": [1]}),
    "an older version": lambda bench: bench.now.update(schema_version=0),
    "an older baseline": lambda bench: bench.baseline.update(schema_version=0),
    "no version": lambda bench: bench.now.pop("schema_version"),
    "a baseline that does not know its teacher": lambda bench: bench.held.pop("teacher"),
    "null for what was not measured": lambda bench: bench.last.update(energy_mj=None, peak_rss_bytes=None),
    "without the budget": lambda bench: bench.now.pop("budget"),
    "another name": lambda bench: bench.now.update(name="another"),
    "another recipe": lambda bench: bench.now.update(recipe_sha256="0" * 64),
    "more packages": lambda bench: bench.now["environment"]["packages"].update(torch="3.0"),
    "another load": lambda bench: bench.now["environment"].update(load_average=[0.0, 0.1, 0.2]),
    "a smaller file": lambda bench: bench.last.update(size_bytes=48000),
    "fewer operations": lambda bench: bench.last.update(macs=10**6, params=30000),
    "all right": lambda bench: answer(bench.last, 0),
    "one answer fewer": lambda bench: answer(bench.last, 4),
    "other percentiles": lambda bench: bench.last["latency_ms"].update(p50=0.117, p90=0.155, p99=0.29),
    "a new place": new_place,
    "as fast as the baseline's file": lambda bench: bench.last.update(
        latency_vs_baseline={"ratio": 1.01, "ci95": [1.0, 1.02], "baseline_sha256": SHA["quantized"]}
    ),
    "a new figure": lambda bench: bench.held.pop("macs"),
    "a tolerance in points": lambda bench: setattr(bench, "policy", {"metrics": {"accuracy": {"points": 1}}}),
    "a tolerance in MB": lambda bench: setattr(bench, "policy", {"metrics": {"size_bytes": {"mb": 0.5}}}),
    "an older policy": lambda bench: setattr(
        bench,
        "policy",
        {
            "confidence": 0.95,
            "metrics": {
                "accuracy": {"absolute": 0.01, "floor": 0.9, "direction": "higher"},
                "latency_ratio": {"relative": 0.1, "warn": {"relative": 0.03}},
                "size_bytes": {"ceiling": 500_000, "level": "warn"},
            },
        },
    ),
    "a bound that is met exactly": lambda bench: setattr(
        bench, "policy", {"metrics": {"size_bytes": {"ceiling": 48749}, "accuracy": {"floor": 357 / 360}}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_passes(name: str, bench: Bench) -> None:
    bench.fresh()
    HARMLESS[name](bench)
    assert bench.outcome() == (0, "")
