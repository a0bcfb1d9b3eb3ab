"""Which stage may follow which. A new stage is one more line."""

from collections.abc import Sequence

MAY_FOLLOW = {
    "distill": {"start", "distill", "prune"},
    "prune": {"start", "distill", "prune"},
    # Nothing follows quantize: a fake-quantised graph takes no cut and no further float training.
    "quantize": {"start", "distill", "prune"},
}


def first_misplaced(stages: Sequence[str]) -> tuple[int, str] | None:
    """The index of the first stage that may not stand where it does, and why; None when all may."""
    for index, (before, stage) in enumerate(zip(("start", *stages), stages, strict=False)):
        if before not in MAY_FOLLOW[stage]:
            return index, f"{stage} cannot follow {before}; {advice(stage)}"
    return None


def advice(stage: str) -> str:
    after = " or ".join(sorted(MAY_FOLLOW[stage] - {"start"}))
    first = "first, or " if "start" in MAY_FOLLOW[stage] else ""
    return f"it may come {first}after {after}"
