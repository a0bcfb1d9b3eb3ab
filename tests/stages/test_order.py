import pytest

from edgekd.stages import STAGES, first_misplaced


@pytest.mark.parametrize(
    "stages",
    [
        ["distill"],
        ["quantize"],
        ["prune", "distill"],
        ["distill", "prune", "quantize"],
        ["factorize", "prune", "factorize", "distill", "quantize"],
        ["distill", "distill", "prune", "prune", "distill", "quantize"],
    ],
)
def test_sensible(stages: list[str]) -> None:
    assert first_misplaced([STAGES[name] for name in stages]) is None


@pytest.mark.parametrize(
    ("stages", "index", "stage"),
    [
        (["quantize", "prune"], 1, "prune"),
        (["quantize", "factorize"], 1, "factorize"),
        (["distill", "quantize", "quantize"], 2, "quantize"),
        (["quantize", "distill", "prune"], 1, "distill"),
    ],
)
def test_misplaced(stages: list[str], index: int, stage: str) -> None:
    reason = f"{stage} cannot follow quantize; it may come first, or after distill, factorize or prune"
    assert first_misplaced([STAGES[name] for name in stages]) == (index, reason)
