import pytest

from edgekd.errors import RecipeError
from edgekd.report.budget import check
from edgekd.report.schema import Budget, Latency, Ratio, Row

TEACHER = Row(model="teacher", runtime="onnxruntime", precision="float32", accuracy=0.98, size_bytes=44_000_000)
STUDENT = Row(
    model="quantized", runtime="onnxruntime", precision="int8", accuracy=0.97, size_bytes=1_100_000,
    latency_ms=Latency(p50=0.5, n=400), latency_vs_teacher=Ratio(ratio=0.125),
)  # fmt: skip
UNMEASURED = Row(model="quantized", runtime="tensorrt", precision="int8")


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [
        ("accuracy_drop", 1.0, "points"),
        ("latency_ratio", 0.125, "× teacher"),
        ("latency_ms", 0.5, "ms"),
        ("size_mb", 1.1, "MB"),
        ("size_ratio", 0.025, "× teacher"),
    ],
)
def test_each_promise(name: str, value: float, unit: str) -> None:
    at_bound, below = check({name: value}, STUDENT, TEACHER), check({name: value * 0.99}, STUDENT, TEACHER)
    assert at_bound[0].to_json() == {"name": name, "bound": value, "value": value, "unit": unit, "met": True}
    assert not below[0].met


@pytest.mark.parametrize("name", ["accuracy_drop", "latency_ratio", "latency_ms", "size_mb", "size_ratio"])
def test_what_was_not_measured_is_not_met(name: str) -> None:
    (found,) = check({name: 1e9}, UNMEASURED, TEACHER)
    assert not found.met and "value" not in found.to_json()


def test_a_better_student_has_a_negative_drop() -> None:
    (found,) = check({"accuracy_drop": 0}, TEACHER, STUDENT)
    assert found.value == -1.0 and found.met


def test_order_and_absent_bounds() -> None:
    found = check({"size_mb": 2, "latency_ms": None, "accuracy_drop": 0.5}, STUDENT, TEACHER)
    assert [c.name for c in found] == ["size_mb", "accuracy_drop"]
    assert not Budget.of(found).met and Budget.of(found[:1]).met


def test_unknown_promises_are_refused() -> None:
    with pytest.raises(RecipeError, match="did you mean 'latency_ms'"):
        check({"latency_m": 2}, STUDENT, TEACHER)
