"""The valid range of a pixel's mean and std."""

from collections.abc import Sequence


def why_no_scale(mean: Sequence[float], std: Sequence[float]) -> str | None:
    """Return what is wrong with a mean and a std per channel of pixels in 0..1, or None.

    No std of such pixels exceeds 0.5; up to 1 is accepted, which leaves them unscaled.
    """
    wrong = [value for value in mean if not 0 <= value <= 1] or [value for value in std if not 0 < value <= 1]
    if not wrong:
        return None
    hint = "; divide both by 255" if max(*mean, *std) > 1 else ""
    return f"{wrong[0]:g} is outside of 0..1, the range that pixels have before scaling{hint}"
