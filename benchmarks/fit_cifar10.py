"""CIFAR-10's images from JPEG files as a space of benchmarks/fit.py: 20 students on a subset, two or three seeds.

Each seed draws 4,000 images to train on and 3,000 to choose by of ``train/``, and 5,000 of the 10,000 in ``test/``,
some of which other seeds draw, too. Twelve epochs make no good teacher: searches are compared, not networks.

Noise. Where a teacher and a student differ on a quarter of the samples, as networks of 60 % may do, a drop has a
standard error of 0.9 points on the validation and of 0.7 on the test samples (digits: 0.6 and 0.5), and the search
stays 1.3 points within a budget. So the narrowest budget is of 4 points.

Time. The teacher, a ResNet-8 of width 32, has 49.1 million multiply-accumulates (T), those of widths 16 and 8 have 12.5
and 3.2. A training takes 6 FLOP for each of its network's in an image, forward and backward, and 2 for each of the
teacher's, which runs along. Of a seed, in TFLOP:

    the teacher                      12 epochs of 6 T                                      14
    widths 16 and 8                  18 epochs of 6 x 12.5 + 2 T and of 6 x 3.2 + 2 T      21
    19 cuts                          8 epochs of 6 x (0.3 to 34) + 2 T                     75
    short trainings of the search                                                           6
    validation after each epoch, and of each student with its teacher                      17

These 134 take 17 to 37 minutes at 130 to 60 GFLOP/s. Narrow networks, which do not reach these, and reading the files
for each student take about 5 more. So two seeds take an hour on two free cores, and three an hour and a half. With so
few, shares of kept budgets are of 10 or 15 searches: read them with their intervals.
"""

import json
from pathlib import Path

from fit_space import Case, GridSpace

from edgekd.data.layouts import image_folder
from edgekd.errors import DataError

POOL = Path(__file__).with_name("cifar_pool.py")
SAMPLES = {"train": 4000, "validation": 3000, "test": 5000}
QUICK_SAMPLES = {"train": 400, "validation": 400, "test": 400}


def cifar10(data: Path | None, quick: bool) -> GridSpace:
    """Return the space of the images in ``data``, or for a ``quick`` run a part of it with fewer of them.

    Raises:
        DataError: ``data`` is left out, or does not hold ``train/<class>/*`` and ``test/<class>/*``.
    """
    if data is None:
        raise DataError(
            "--space cifar10 reads image files; give --data FOLDER, with train/<class>/* and test/<class>/*"
        )
    image_folder(data)
    space = GridSpace(
        name="cifar10",
        recipe=_recipe("fit_cifar10_quick" if quick else "fit_cifar10", data, QUICK_SAMPLES if quick else SAMPLES),
        steps={
            "teacher by widths": 3,
            "resnet8 width 16 by widths": 4,
            "resnet8 width 8 by widths": 12,
            "resnet8 width 8": 1,
        },
        cuts=(0.1, 0.7),
        round_to=2,
        cases=(
            Case("4 points", 4.0),
            Case("6 points", 6.0),
            Case("9 points", 9.0),
            Case("8 points, 1/30 of the time", 8.0, {"latency_ratio": 1 / 30}),
            Case("6 points, 1/20 of the size", 6.0, {"size_ratio": 0.05}),
        ),
        # So short a training leaves some to be gained.
        unreachable=(Case("a gain of 20 points", -20.0), Case("1/2000 of the size", 2.0, {"size_ratio": 0.0005})),
        by_hand=("resnet8 width 16 by widths", 0.5),
        seeds=3,
    )
    return space.quick if quick else space


def _recipe(name: str, folder: Path, samples: dict[str, int]) -> str:
    args = json.dumps({"folder": str(folder.resolve()), **samples})
    return f"""\
name: {name}
data: {{source: "{POOL}:drawn", args: {args}, batch_size: 32, augment: [crop, flip]}}
teacher: {{model: resnet8, args: {{width: 32}}, train: {{epochs: 12, lr: 0.1}}}}
budget: {{accuracy_drop: 6.0}}
"""
