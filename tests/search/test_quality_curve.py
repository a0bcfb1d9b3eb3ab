import numpy as np
import pytest
from scipy.special import ndtr

from edgekd.search.quality_curve import Noise, Point, QualityCurve


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
    sure, unsure = (QualityCurve(points, 0.1, 1.0, 0.01, Noise(ratio)).assurance(0.6) for ratio in (0.5, 2.0))
    assert sure > unsure


def test_part_of_its_own_luck_counts_for_a_network_that_is_trained() -> None:
    """About the curve that is a normal distribution with another normal one as its prior."""
    error, noise = 0.004, Noise(test=1.5, common=0.4, training=0.8)
    known = tuple(Point(share, (1 / share - 1) / 100, error) for share in (0.2, 0.35, 0.5, 0.7, 1.0)) * 8
    lucky, unlucky = Point(0.5, 0.006, error), Point(0.5, 0.014, error)
    curve = QualityCurve((*known, lucky, unlucky), 0.1, 1.0, 0.011, noise)
    mean, spread = curve.at(0.5)
    of_curve, trained, own = spread**2 - 0.4 * error**2, (0.8 * error) ** 2, 0.6 * error**2
    for point in (lucky, unlucky):
        variance = 1 / (1 / trained + 1 / own)
        expected = variance * (mean / trained + point.drop / own)
        unknown = variance + of_curve * (variance / trained) ** 2
        found, doubt = curve.of_trained(point)
        assert found == pytest.approx(expected)
        assert doubt == pytest.approx(np.sqrt(unknown + 0.4 * error**2))
        rest = np.sqrt(unknown + (0.4 + 1.5**2) * error**2)
        assert curve.assurance_of(point) == pytest.approx(ndtr((0.011 - expected) / rest), abs=0.003)
    assert curve.assurance_of(lucky) > curve.assurance(0.5) > curve.assurance_of(unlucky)
    # Trainings that do not differ have no luck.
    same = QualityCurve(curve.points, 0.1, 1.0, 0.011, Noise(1.5, 0.4, 1e-6))
    assert same.assurance_of(lucky) == pytest.approx(same.assurance_of(unlucky), abs=1e-6)


@pytest.mark.parametrize("training", [0.3, 1.0])
def test_the_chance_that_another_network_is_assured_is_how_often_it_would_be(training: float) -> None:
    error, noise = 0.003, Noise(1.0, 0.4, training)
    points = tuple(Point(share, drop, error) for share, drop in ((0.3, 0.03), (0.5, 0.012), (0.7, 0.002)))
    curve, random = QualityCurve(points, 0.1, 1.0, 0.015, noise), np.random.default_rng(0)
    for index in (44, 48, 54):
        share, often = float(curve.shares[index]), []
        for drop in random.choice(curve.drops[:, index], 150):
            shown = Point(share, drop + random.normal(0, error * np.sqrt(training**2 + 0.6)), error)
            often.append(QualityCurve((*points, shown), 0.1, 1.0, 0.015, noise).assurance_of(shown) >= 0.9)
        assert curve.chances(0.9)[index] == pytest.approx(np.mean(often), abs=0.12)
