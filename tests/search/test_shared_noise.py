import numpy as np
import pytest

from edgekd.search.quality_curve import Noise, Point, QualityCurve
from edgekd.search.shared_noise import common_share, training_noise, with_shared_noise, without_luck
from tests.search.simulated import Simulation

ERROR = 0.002


def curves(training: float, count: int) -> list[QualityCurve]:
    """Curves of ten networks each, as trainings that differ by ``training`` errors give them."""
    random, found = np.random.default_rng(0), []
    for _ in range(count):
        shares = random.uniform(0.45, 0.55, 10)
        drops = 0.01 * (1 / shares - 1) + random.normal(0, ERROR * np.sqrt(0.6 + training**2), 10)
        points = tuple(Point(share, drop, ERROR) for share, drop in zip(shares.tolist(), drops.tolist(), strict=True))
        found.append(QualityCurve(points, 0.1, 1.0, 0.01))
    return found


def test_before_any_candidate_trainings_differ_by_half_of_the_error() -> None:
    assert training_noise([]) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(("training", "within"), [(0.1, (0.1, 0.35)), (0.6, (0.35, 0.7)), (1.5, (1.1, 1.8))])
def test_how_much_trainings_differ_is_found_from_all_arms_together(
    training: float, within: tuple[float, float]
) -> None:
    low, high = within
    assert low <= training_noise(curves(training, 24)) <= high


def test_what_students_have_in_common_is_their_likeness_in_the_end() -> None:
    assert common_share([]) == Noise().common == 0.4
    assert common_share([0.7] * 100) == pytest.approx(0.7, abs=0.01)
    assert common_share([0.7]) == pytest.approx(0.5)
    assert common_share([-0.5] * 100) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("training", [0.2, 0.5, 1.0])
def test_of_students_that_are_assured_at_nine_of_ten_as_many_keep_the_budget(training: float) -> None:
    """The probability is exact for each student, so that only the worlds are drawn."""
    kept, assured = [], []
    for seed in range(1000, 1024):
        world = Simulation(seed, error=0.003, noise=Noise(1.0, 0.4, training))
        finish = world.run()
        if finish.assurance is not None and finish.assurance >= 0.9:
            kept.append(world.kept(finish.best[0]))
            assured.append(finish.assurance)
    assert len(kept) >= 16
    assert np.mean(kept) >= 0.88
    assert np.mean(kept) == pytest.approx(np.mean(assured), abs=0.06)


def test_arms_have_one_noise() -> None:
    world = Simulation(3, error=0.002)
    world.run()
    arms = with_shared_noise(world.study().arms)
    assert len({arm.noise for arm in arms}) == 1 and arms[0].noise.test == 1.0


def test_the_least_of_several_drops_is_the_least_by_luck_too() -> None:
    # Half of the variance of these two, 0.0002, is that of their errors.
    assert without_luck([0.0, 0.02], [0.01, 0.01], 0.0) == pytest.approx((0.005, np.sqrt(0.75) * 0.01))
    assert without_luck([0.01], [0.004], 0.4) == (0.01, 0.004)


@pytest.mark.parametrize("apart", [0.0, 0.002, 0.006])
def test_what_luck_adds_to_the_best_of_eight_is_taken_off_in_the_mean(apart: float) -> None:
    """True drops differ by ``apart``; errors are 0.3 points, of which 0.4 of the variance is common to all."""
    random, error, luck, left = np.random.default_rng(0), 0.003, [], []
    for _ in range(4000):
        true = random.normal(0.01, apart, 8)
        shown = true + random.normal(0, np.sqrt(0.4) * error) + random.normal(0, np.sqrt(0.6) * error, 8)
        first = int(np.argmin(shown))
        drops = [shown[first], *np.delete(shown, first)]
        luck.append(shown[first] - true[first])
        left.append(without_luck(drops, [error] * 8, 0.4)[0] - true[first])
    assert np.mean(luck) < -0.0005
    assert abs(np.mean(left)) < 0.35 * abs(np.mean(luck))
