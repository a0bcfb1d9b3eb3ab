import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from edgekd.tasks.metric import Correct, Evidence, Metric


@dataclass(frozen=True, eq=False)
class RootMeanSquare(Evidence):
    errors: np.ndarray

    def values(self, weights):
        return np.sqrt(weights @ self.errors**2 / weights.sum(1))


ERRORS = np.array([3.0, 4.0, 0.0, 12.0])


def test_a_value_for_any_weights():
    evidence = RootMeanSquare(ERRORS)
    assert evidence.n == 4
    assert evidence.value() == 6.5
    assert evidence.value(np.array([1, 1, 0, 0])) == pytest.approx(12.5**0.5)
    assert evidence.values(np.array([[0, 0, 1, 0], [0, 0, 1, 3.0]])) == pytest.approx([0, 108**0.5])


def test_arrays_make_it_again(tmp_path):
    np.savez(tmp_path / "evidence.npz", **RootMeanSquare(ERRORS).arrays())
    with np.load(tmp_path / "evidence.npz", allow_pickle=False) as kept:
        assert RootMeanSquare(**kept).value() == 6.5


def test_joined():
    both = RootMeanSquare(ERRORS).joined(RootMeanSquare(2 * ERRORS))
    assert both.n == 8
    assert both.value(np.repeat([0, 1], 4)) == 13


def test_correct_is_a_share_and_takes_what_a_report_keeps():
    kept = Correct((True, False, True))
    assert kept.value() == 2 / 3 == Correct(np.array([True, False, True])).value()
    assert kept.value(np.array([2, 1, 1])) == 0.75


def test_how_people_read_it():
    share = Metric("accuracy", "accuracy", "%", "higher", "mcnemar", Correct, lambda: Correct)
    length = Metric("mae", "mean absolute error", "mm", "lower", "bootstrap", Correct, lambda: Correct)
    assert (share.scale, share.unit_of_differences, share.drop(0.9, 0.8)) == (100, "points", pytest.approx(0.1))
    assert (length.scale, length.unit_of_differences, length.drop(2, 1.5)) == (1, "mm", -0.5)


def test_a_limit_is_kept_but_for_rounding_in_whatever_unit_the_metric_is():
    share = Metric("accuracy", "accuracy", "%", "higher", "mcnemar", Correct, lambda: Correct)
    length = Metric("mae", "mean absolute error", "m", "lower", "bootstrap", Correct, lambda: Correct)
    assert share.keeps(0.09, 0.1 - 0.01) and share.keeps(0.8, share.limit(0.9, 10)) and not share.keeps(0.0899, 0.09)
    # What is left of 0.5 less 50 points is no 0.
    assert share.keeps(0.0, share.limit(0.5, 50)) and length.keeps(0.3, length.limit(0.1, 0.2))
    # Nanometres.
    assert length.keeps(2e-9, 2e-9) and not length.keeps(2.1e-9, 2e-9) and length.keeps(1.9e-9, 2e-9)


def test_changes_have_their_sign_and_their_unit():
    share = Metric("accuracy", "accuracy", "%", "higher", "mcnemar", Correct, lambda: Correct)
    error = Metric("mae", "mean absolute error", "", "lower", "bootstrap", Correct, lambda: Correct)
    assert (share.change(0.02), error.change(0.02)) == (-0.02, 0.02)
    assert (share.axis_of_changes, error.axis_of_changes) == (
        "change of accuracy in points",
        "change of mean absolute error",
    )


def test_right_and_wrong_are_compared_without_numpy():
    """The gate of most runs compares nothing else, and starts in the time that NumPy takes to be imported."""
    program = (
        "import sys; from edgekd.tasks.registry import TASKS; from edgekd.tasks.compare import compare; "
        "from edgekd.tasks.metric import Correct; "
        "[accuracy] = TASKS.find('classification').metrics; "
        "print(compare(accuracy, Correct((True,) * 9), Correct((False,) * 9)).is_worse, "
        "{'numpy', 'scipy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "True set()"
