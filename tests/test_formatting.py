import pytest

from edgekd import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (0.04123, "0.0412"), (4.125, "4.12"), (41.26, "41.3"), (412.6, "413"), (4126.0, "4130"),
     (9.996, "10.0"), (999.6, "1000"), (-0.3, "-0.300")],
)  # fmt: skip
def test_significant(value: float | None, text: str) -> None:
    assert formatting.significant(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (512, "512 B"), (1_230_000, "1.23 MB"), (999_600, "1.00 MB"), (44_780_000, "44.8 MB")],
)
def test_size(value: int | None, text: str) -> None:
    assert formatting.size(value) == text


def test_count() -> None:
    assert [formatting.count(n) for n in (None, 10, 272_000, 11_180_000)] == ["–", "10", "272 k", "11.2 M"]


def test_percent() -> None:
    assert formatting.percent(0.972, (0.959, 0.981)) == "97.2 % (95.9–98.1)"
    assert formatting.percent(0.972) == "97.2 %" and formatting.percent(None) == "–"


def test_times_faster_turns_ratio_and_interval_over() -> None:
    assert formatting.times_faster(0.25, [0.2, 0.5]) == "4.00× (2.00–5.00)"
    assert formatting.times_faster(2.0) == "0.500×"
    assert formatting.times_faster(None) == "–"


def test_energy_is_shown_where_it_was_measured():
    rows = [{"model": "teacher", "device": "cpu"}, {"model": "teacher", "device": "orin", "energy_mj": 3.75}]
    assert "Energy mJ" not in [column.heading for column in formatting.columns(rows[:1], formatting.DETAILS)]
    [energy] = [column for column in formatting.columns(rows, formatting.DETAILS) if column.heading == "Energy mJ"]
    assert [energy.cell(row) for row in rows] == ["–", "3.75"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.9999, "99.99 %"), (0.99951, "99.95 %"), (0.999999, "99.9999 %"), (1.0, "100.0 %"), (1 - 1e-16, "100.0 %"),
     (0.0004, "0.04 %"), (0.0, "0.0 %"), (-1e-16, "0.0 %"), (0.99949, "99.9 %"), (0.5, "50.0 %")],
)  # fmt: skip
def test_what_is_not_all_or_nothing_is_not_shown_as_such(share: float, text: str) -> None:
    assert formatting.percent(share) == text


@pytest.mark.parametrize(
    ("values", "texts"),
    [((1.004, 1), ["1.004", "1.000"]), ((0.1 + 0.2, 0.3), ["0.300", "0.300"]), ((2, 1), ["2.00", "1.00"]),
     ((123456789, 123456788), ["123456789", "123456788"]), ((0.12504, 0.125, 7), ["0.12504", "0.12500", "7.0000"])],
)  # fmt: skip
def test_what_differs_is_told_apart(values: tuple[float, ...], texts: list[str]) -> None:
    assert formatting.format_distinct(values, formatting.significant, 3) == texts


def test_the_rounding_of_binary_fractions_exceeds_nothing() -> None:
    assert not formatting.exceeds(0.1 + 0.2, 0.3) and not formatting.exceeds(100 * (0.98 - 0.97), 1)
    assert formatting.exceeds(0.3000001, 0.3) and not formatting.exceeds(0.29, 0.3) and formatting.exceeds(1e-9, 0)


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.25, "4.00× faster"), (1.3, "1.30× slower"), (1.0, "1.00× faster"), (None, "–")]
)
def test_a_ratio_in_times(ratio, text):
    assert formatting.in_times(ratio, "faster", "slower") == text
