import numpy as np
import pytest

from edgekd.errors import ModelError
from edgekd.prune.schedule import SCHEDULES, shares


def test_cubic_is_the_paper_s_equation():
    """s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))^3, with the sparsity s_i = 0 at the start."""
    final, steps, t0, dt = 0.35, 7, 20.0, 3.0
    sparsity = 1 - final
    t = t0 + dt * np.arange(1, steps + 1)
    by_hand = sparsity + (0 - sparsity) * (1 - (t - t0) / (steps * dt)) ** 3
    assert shares("cubic", final, steps) == pytest.approx(1 - by_hand, rel=1e-12)


def test_linear_cuts_as_much_each_time():
    assert shares("linear", 0.2, 4) == pytest.approx((0.8, 0.6, 0.4, 0.2), rel=1e-12)
    assert np.diff((1.0, *shares("linear", 0.1, 9))) == pytest.approx(-0.1)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("final", [0.1, 0.3, 1 / 3, 0.7, 1.0, 1e-6])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
def test_down_to_the_final_share_to_the_bit(kind, final, steps):
    found = shares(kind, final, steps)
    assert len(found) == steps
    assert found[-1] == final
    # below a distance of 1e-16 the floats are the same
    assert all(1.0 >= before >= after >= final for before, after in zip((1.0, *found), found, strict=False))
    assert final == 1.0 or steps == 1 or 1.0 > found[0] > found[-1]


def test_cubic_is_ahead_of_linear():
    assert all(one < other for one, other in zip(shares("cubic", 0.2, 5)[:-1], shares("linear", 0.2, 5), strict=False))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("cubik", 0.5, 3), "unknown pruning schedule 'cubik' (did you mean 'cubic'?); known: cubic, linear"),
        (("cubic", 0.0, 3), "a pruning schedule cannot end at a share of 0.0: give one above 0 and at most 1"),
        (("cubic", 1.5, 3), "a pruning schedule cannot end at a share of 1.5: give one above 0 and at most 1"),
        (("cubic", float("nan"), 3), "a pruning schedule cannot end at a share of nan: give one above 0 and at most 1"),
        (("cubic", 0.5, 2.5), "a pruning schedule cannot have 2.5 steps: give 1 or more"),
        (("cubic", 0.5, 0), "a pruning schedule cannot have 0 steps: give 1 or more"),
    ],
)
def test_what_cannot_be(arguments, says):
    with pytest.raises(ModelError) as error:
        shares(*arguments)
    assert str(error.value) == says
