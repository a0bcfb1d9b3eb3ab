import numpy as np
import pytest

from edgekd.search.quality_curve import Point, QualityCurve


def test_the_edge_is_found_where_the_drop_crosses_what_is_allowed() -> None:
    # 100 * drop is 1 / share - 1: 1 point at a share of a half.
    points = tuple(Point(share, (1 / share - 1) / 100, 0.0003) for share in (0.2, 0.35, 0.5, 0.7, 1.0))
    curve = QualityCurve(points, 0.1, 1.0, 0.01)
    assert curve.smallest(0.5) == pytest.approx(0.5, rel=0.05)
    mean, error = curve.at(0.35)
    assert mean == pytest.approx(1 / 0.35 / 100 - 0.01, rel=0.1)
    assert error < 0.002


def test_the_surer_the_larger() -> None:
    curve = QualityCurve((Point(0.4, 0.008, 0.004),), 0.1, 1.0, 0.01)
    shares = [curve.smallest(assured) for assured in (0.3, 0.5, 0.6)]
    assert None not in shares and shares == sorted(shares, key=float)
    falls = [curve.assurance(share) for share in np.geomspace(1.0, 0.1, 10)]
    assert falls == sorted(falls, reverse=True)


def test_more_points_leave_less_doubt() -> None:
    few = QualityCurve((Point(0.4, 0.01, 0.004),), 0.1, 1.0, 0.01)
    many = QualityCurve((Point(0.4, 0.01, 0.004),) * 6, 0.1, 1.0, 0.01)
    assert many.at(0.4)[1] < few.at(0.4)[1]


def test_nothing_keeps_a_budget_that_asks_for_a_gain_that_is_not_there() -> None:
    curve = QualityCurve((Point(1.0, 0.0, 0.002), Point(0.5, 0.004, 0.002)), 0.1, 1.0, -0.05)
    assert curve.smallest(0.5) is None
    assert curve.assurance(1.0) < 0.01


def test_fewer_test_samples_make_less_sure() -> None:
    points = (Point(0.5, 0.005, 0.003), Point(1.0, 0.0, 0.003))
    sure, unsure = (QualityCurve(points, 0.1, 1.0, 0.01, ratio).assurance(0.6) for ratio in (0.5, 2.0))
    assert sure > unsure
