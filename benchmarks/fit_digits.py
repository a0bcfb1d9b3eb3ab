"""Digits of 8x8 grey pixels as a space of benchmarks/fit.py: 28 students, about a minute of training for a seed."""

from pathlib import Path

from fit_space import Case, GridSpace

from edgekd.errors import DataError

POOL = Path(__file__).with_name("digit_pool.py")
RECIPE = f"""\
name: fit_benchmark
data: {{source: "{POOL}:drawn", grayscale: true, batch_size: 32, validation: 0.49}}
teacher: {{model: resnet8, args: {{width: 32}}, train: {{epochs: 10, lr: 0.05}}}}
budget: {{accuracy_drop: 4.0}}
"""
SPACE = GridSpace(
    name="digits",
    recipe=RECIPE,
    # Most where students are the cheapest.
    steps={
        "teacher by widths": 3,
        "resnet8 width 16 by widths": 4,
        "resnet8 width 8 by widths": 20,
        "resnet8 width 8": 1,
    },
    cuts=(0.05, 0.6),
    # Networks of 8x8 pixels are narrow.
    round_to=2,
    cases=(
        Case("3 points", 3.0),
        Case("4 points", 4.0),
        Case("6 points", 6.0),
        Case("5 points, 1/50 of the time", 5.0, {"latency_ratio": 0.02}),
        Case("4 points, 1/40 of the size", 4.0, {"size_ratio": 0.025}),
    ),
    unreachable=(Case("a gain of 5 points", -5.0), Case("1/2000 of the size", 2.0, {"size_ratio": 0.0005})),
    by_hand=("resnet8 width 16 by widths", 0.5),
    seeds=10,
)


def digits(data: Path | None, quick: bool) -> GridSpace:
    """Return the space, or a part of it for a ``quick`` run.

    Raises:
        DataError: ``data`` names a folder, and digits need none.
    """
    if data is not None:
        raise DataError(f"--data {data}: digits come with scikit-learn; leave --data out, or give --space cifar10")
    return SPACE.quick if quick else SPACE
