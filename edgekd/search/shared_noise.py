"""The noise of a search's drops as all of its candidates show it together."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from edgekd.search.arm_state import ArmState
from edgekd.search.quality_curve import EXPECTED_NOISE, QualityCurve

# How much trainings differ before any is known: the root of the mean square, and the standard deviation of the log.
TRAINING, TRAINING_DOUBT = EXPECTED_NOISE.training, 0.5
TRIED = TRAINING * np.geomspace(0.15, 5, 24)
# What is expected of the likeness of students counts as so many candidates.
EXPECTED = 2


def with_shared_noise(arms: Sequence[ArmState]) -> list[ArmState]:
    """Return ``arms`` with the noise that their trained candidates show together."""
    curves = [arm.curve(arm.space.top) for arm in arms if arm.has_curve and arm.trained]
    near = [each.figures for arm in arms for each in arm.trials if each.figures and arm.goal.is_near(each.figures)]
    common = common_share([each.likeness for each in near if each.likeness is not None])
    training = training_noise(curves)
    return [replace(arm, noise=replace(arm.noise, training=training, common=common)) for arm in arms]


def training_noise(curves: Iterable[QualityCurve]) -> float:
    """Return the standard deviation of drops between trainings, over the standard error that the samples leave.

    It is the root of its square's posterior mean, after a lognormal prior and the points of all ``curves``.
    """
    about = np.log(TRIED / TRAINING) + TRAINING_DOUBT**2
    logs = -((about / TRAINING_DOUBT) ** 2) / 2
    for curve in curves:
        logs = logs + np.array([curve.log_likelihood(float(each)) for each in TRIED])
    return float(np.sqrt(np.average(TRIED**2, weights=np.exp(logs - logs.max()))))


def common_share(likenesses: Sequence[float]) -> float:
    """Return the share of a drop's variance that students have in common, from how alike each is to earlier ones."""
    expected = EXPECTED * EXPECTED_NOISE.common
    return float(np.clip((expected + sum(likenesses)) / (EXPECTED + len(likenesses)), 0.0, 0.95))


def without_luck(drops: Sequence[float], errors: Sequence[float], common: float) -> tuple[float, float]:
    """Return the mean and the standard deviation of the true drop of the candidate that was chosen for the least one.

    The best of several scores is the best by luck too. A posterior mean is the same whether it was chosen or not, with
    a normal prior of true drops that all scores show together (Efron 2011, "Tweedie's formula and selection bias").

    Args:
        drops, errors: of it, then of all others that it was chosen from, with their standard errors.
        common: the share of an error's variance that all candidates have in common.
    """
    if len(drops) == 1:
        return drops[0], errors[0]
    own, middle = (1 - common) * np.square(errors), float(np.mean(drops))
    true = max(0.0, float(np.var(drops, ddof=1) - own.mean()))
    kept = true / (true + own[0] or 1.0)
    of_middle = (1 - kept) ** 2 * (true + own.mean()) / len(drops)
    error = np.sqrt(kept * own[0] + of_middle + common * errors[0] ** 2)
    return middle + kept * (drops[0] - middle), float(error)
