import pytest

from edgekd.bench.energy import NO_SENSOR
from edgekd.errors import EdgekdError, RecipeError
from edgekd.report.budget import check as check_promises
from edgekd.report.schema import BudgetRecord, Check, Cost, Latency, Note, Ratio, Report, Row
from edgekd.report.verdict import line
from edgekd.stats.correct import encode_correct
from edgekd.tasks.classification import Classification


def check(bounds: dict[str, float], student: Row, teacher: Row) -> list[Check]:
    return check_promises(bounds, student, teacher, Classification.metrics)


TEACHER = Row(model="teacher", runtime="onnxruntime", precision="float32", accuracy=0.98, size_bytes=44_000_000)
STUDENT = Row(
    model="quantized", runtime="onnxruntime", precision="int8", accuracy=0.97, size_bytes=1_100_000,
    latency_ms=Latency(p50=0.5, n=400), latency_vs_teacher=Ratio(ratio=0.125), energy_mj=6.0,
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
        ("energy_mj", 6.0, "mJ"),
    ],
)
def test_each_promise(name: str, value: float, unit: str) -> None:
    at_bound, below = check({name: value}, STUDENT, TEACHER), check({name: value * 0.99}, STUDENT, TEACHER)
    assert at_bound[0].to_json() == {"name": name, "bound": value, "value": value, "unit": unit, "met": True}
    assert not below[0].met


@pytest.mark.parametrize("name", ["accuracy_drop", "latency_ratio", "latency_ms", "size_mb", "size_ratio", "energy_mj"])
def test_what_was_not_measured_is_not_met(name: str) -> None:
    (found,) = check({name: 1e9}, UNMEASURED, TEACHER)
    assert not found.met and "value" not in found.to_json()


TAKEN = Note(code="others_took_time", message="others took processor time from 30 of 30 rounds: stop them")


@pytest.mark.parametrize("name", ["latency_ratio", "latency_ms", "energy_mj"])
def test_a_time_that_is_not_valid_counts_as_not_measured_with_the_way_out(name: str) -> None:
    row = STUDENT.model_copy(update={"valid": False, "warnings": (Note(code="busy_neighbour", message="b"), TAKEN)})
    (found,) = check({name: 1e9}, row, TEACHER)
    assert (found.value, found.met, found.note) == (None, False, TAKEN.message)
    assert (line(found).verdict, line(found).remark) == ("not met (not measured)", TAKEN.message)


def test_energy_that_nobody_could_read_counts_as_not_measured_with_the_way_out() -> None:
    shared = Note(code="power_of_others", message="others kept 30% of the CPUs busy while power was read: stop them")
    for warnings, why in (((), NO_SENSOR), ((shared,), shared.message)):
        row = STUDENT.model_copy(update={"energy_mj": None, "warnings": warnings})
        (found,) = check({"energy_mj": 1e9}, row, TEACHER)
        assert (found.value, found.met, found.note) == (None, False, why)
        assert str(line(found)) == f"energy: –, at most 1000000000 mJ: not met (not measured) ({why})"
    (found,) = check({"energy_mj": 4.0}, STUDENT, TEACHER)
    assert str(line(found)) == "energy: 6.00 mJ, at most 4 mJ: not met (2.00 mJ too much)"


def test_a_bound_in_milliseconds_is_one_on_the_cost() -> None:
    cost = Cost(p50=0.3, rounds=20, of=30, taken=0.4)
    (found,) = check({"latency_ms": 0.4}, STUDENT.model_copy(update={"cost_ms": cost}), TEACHER)
    assert (found.value, found.met) == (0.3, True)
    assert line(found).remark == "the cost of an inference, which took 0.500 ms beside other processes"
    (alike,) = check(
        {"latency_ms": 0.4}, STUDENT.model_copy(update={"cost_ms": Cost(**{**vars(cost), "p50": 0.499})}), TEACHER
    )
    assert (alike.value, alike.met, alike.note) == (0.499, False, None)


def test_a_better_student_has_a_negative_drop() -> None:
    (found,) = check({"accuracy_drop": 0}, TEACHER, STUDENT)
    assert found.value == -1.0 and found.met
    assert str(line(found, *Classification.metrics)) == (
        "accuracy: 1.00 points better than the teacher; no drop is allowed: met (1.00 points to spare)"
    )
    unsure = line(found.model_copy(update={"bound": 1.5, "ci95": (-3.0, 2.0), "n": 20}))
    assert (unsure.name, unsure.said) == ("accuracy", "1.00 points better than the teacher; a drop of 1.5 is allowed")
    assert unsure.remark == (
        "20 samples cannot tell: between 3.00 points better and 2.00 points worse with 95 % confidence"
    )


def test_order() -> None:
    found = check({"size_mb": 2, "accuracy_drop": 0.5}, STUDENT, TEACHER)
    assert [c.name for c in found] == ["size_mb", "accuracy_drop"]
    assert not BudgetRecord.of(found).met and BudgetRecord.of(found[:1]).met


def test_unknown_promises_are_refused() -> None:
    with pytest.raises(RecipeError, match="did you mean 'latency_ms'"):
        check({"latency_m": 2}, STUDENT, TEACHER)


@pytest.mark.parametrize(
    ("value", "bound", "met", "shown", "margin"),
    [
        (1.004, 1.0, False, "1.004 points", "0.00400 points too much"),
        (1.0, 1.0, True, "1.00 points", "0 points to spare"),
        (0.1 + 0.2, 0.3, True, "0.300 points", "0 points to spare"),
        (2 / 3, 0.6666666666666666, True, "0.667 points", "0 points to spare"),
        (0.9996, 1.0, True, "0.9996 points", "0.000400 points to spare"),
        (5.0, 1.0, False, "5.00 points", "4.00 points too much"),
    ],
)
def test_the_digits_tell_value_and_bound_apart(value: float, bound: float, met: bool, shown: str, margin: str) -> None:
    found = line(Check(name="accuracy_drop", bound=bound, value=value, unit="points", met=met))
    assert (found.value, found.margin, found.met) == (shown, margin, met)


@pytest.mark.parametrize(
    ("name", "value", "bound", "met", "expected"),
    [
        ("latency_ratio", 0.0867, 0.125, True, ("latency", "11.5× faster", "at least 8× faster", "31 % less time")),
        ("latency_ratio", 1.3, 0.5, False, ("latency", "1.30× slower", "at least 2× faster", "160 % more time")),
        (
            "latency_ratio",
            0.17,
            0.01,
            False,
            ("latency", "5.88× faster", "at least 100× faster", "17.0× what is allowed"),
        ),
        ("latency_ratio", 0.5, 1.25, True, ("latency", "2.00× faster", "at most 1.25× slower", "60 % less time")),
        ("size_ratio", 0.3001, 0.3, False, ("size", "3.332× smaller", "at least 3.333× smaller", "0.033 % larger")),
        ("size_ratio", 0.1 + 0.2, 0.3, True, ("size", "3.33× smaller", "at least 3.33× smaller", "exactly the bound")),
        ("size_ratio", None, 0.02, False, ("size", "–", "at least 50× smaller", "–")),
    ],
)
def test_ratios_are_times_faster_or_smaller(
    name: str, value: float | None, bound: float, met: bool, expected: tuple[str, ...]
) -> None:
    found = line(Check(name=name, bound=bound, value=value, unit="× teacher", met=met))
    assert (found.name, found.value, found.bound, found.margin.removesuffix(" than allowed")) == expected


def answered(lost: int, won: int, n: int) -> tuple[Row, Row]:
    before = [place < n - won for place in range(n)]
    after = [place >= lost for place in range(n)]
    rows = [
        Row(model="m", runtime="r", precision="p", accuracy=sum(right) / n, n=n, right=encode_correct(right))
        for right in (after, before)
    ]
    return rows[0], rows[1]


@pytest.mark.parametrize(
    ("lost", "won", "n", "bound", "met", "cannot_tell"),
    [
        (0, 0, 20, 1.0, True, True),
        (1, 0, 20, 1.0, False, True),
        (10, 0, 20, 1.0, False, False),
        (0, 0, 10_000, 1.0, True, False),
        (12, 2, 1000, 1.0, True, True),
        (200, 0, 2000, 1.0, False, False),
    ],
)
def test_where_so_few_samples_cannot_tell_it_is_said_beside_the_verdict(
    lost: int, won: int, n: int, bound: float, met: bool, cannot_tell: bool
) -> None:
    [found] = check({"accuracy_drop": bound}, *answered(lost, won, n))
    assert found.met == met and found.n == n
    assert found.ci95 is not None and found.ci95[0] <= found.value <= found.ci95[1]
    assert line(found).remark.startswith(f"{n} samples cannot tell: between") == cannot_tell


@pytest.mark.parametrize(
    ("value", "met", "whole"), [(1.004, True, True), (1.0, False, False), (None, True, True), (2.0, False, True)]
)
def test_a_budget_that_contradicts_itself_is_refused(value: float | None, met: bool, whole: bool) -> None:
    check = {"name": "size_mb", "bound": 1.0, "value": value, "unit": "MB", "met": met}
    report = {"name": "r", "recipe_sha256": "0", "budget": {"met": whole, "checks": [check]}}
    with pytest.raises(EdgekdError, match=r"report: budget\.(checks\.0\.)?met: .* said to be"):
        Report.from_json(report)
