import pytest

from edgekd.recipe import MAY_FOLLOW, STAGES
from edgekd.recipe.order import first_misplaced


def test_every_stage_has_its_order() -> None:
    assert set(MAY_FOLLOW) == set(STAGES)
    assert set.union(*MAY_FOLLOW.values()) <= {"start", *STAGES}


@pytest.mark.parametrize(
    "stages",
    [
        ["distill"],
        ["quantize"],
        ["prune", "distill"],
        ["distill", "prune", "quantize"],
        ["distill", "distill", "prune", "prune", "distill", "quantize"],
    ],
)
def test_sensible(stages: list[str]) -> None:
    assert first_misplaced(stages) is None


@pytest.mark.parametrize(
    ("stages", "index", "stage"),
    [
        (["quantize", "prune"], 1, "prune"),
        (["distill", "quantize", "quantize"], 2, "quantize"),
        (["quantize", "distill", "prune"], 1, "distill"),
    ],
)
def test_misplaced(stages: list[str], index: int, stage: str) -> None:
    reason = f"{stage} cannot follow quantize; it may come first, or after distill or prune"
    assert first_misplaced(stages) == (index, reason)
