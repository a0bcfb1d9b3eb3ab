"""The interval of a proportion, in plain Python: the gate starts without NumPy."""

import math
from statistics import NormalDist

from edgekd.errors import MeasurementError


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a proportion, as fractions (Wilson 1927).

    >>> low, high = wilson_interval(100, 100)  # no error in 100 samples, and room for nearly four
    >>> round(low, 3), high
    (0.963, 1.0)
    """
    if not 0 <= successes <= n or n == 0:
        raise MeasurementError(f"{successes} of {n} is no proportion; expected 0 <= successes <= n and n > 0")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = share + z * z / (2 * n)
    margin = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)
