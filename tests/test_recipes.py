"""Every recipe of the repository: dry-run on data of its kind, and run at toy length where that needs no download."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgekd.models import build
from edgekd.pipeline.plan import plan
from edgekd.pipeline.run import run
from edgekd.recipe import load_recipe
from tests.toy import fixed_times

RECIPES = Path(__file__).parents[1] / "recipes"
TOY = (
    *("teacher.train.epochs=1", "distill.epochs=1", "prune.epochs=1", "quantize.epochs=1"),
    *(
        "data.train_limit=150",
        "budget={}",
        "prune.check_latency=false",
        "quantize.placement=int8",
        "quantize.calibration=minmax",
    ),
)


def write_idx(path: Path, array: np.ndarray) -> None:
    """MNIST's own file format (LeCun et al., 1998)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("mnist"), np.random.default_rng(0)
    for part, count in (("train", 200), ("t10k", 50)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(root / "MNIST" / "raw" / f"{part}-images-idx3-ubyte", images)
        write_idx(root / "MNIST" / "raw" / f"{part}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 10)
    return root


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("left", "right", "up"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(6):
                Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{index}.jpg")
    return root


@pytest.fixture(scope="module")
def resnet20(tmp_path_factory):
    """A checkpoint with random weights, for the three classes of the pictures."""
    path = tmp_path_factory.mktemp("checkpoint") / "resnet20.pt"
    torch.save(build("resnet20", (3, 32, 32), 3).state_dict(), path)
    return path


@pytest.fixture
def settings(request, mnist, pictures, resnet20):
    """What a recipe needs to find data that is not shipped."""
    return {
        "mnist": [f"data.path={mnist}", "data.download=false"],
        "cifar10": [f"data.path={pictures}", "teacher.checkpoint=null", f"student.checkpoint={resnet20}"],
        "folder": [f"data.path={pictures}"],
        **{key: ["data.args.train=200", "data.args.test=100"] for key in ("scenes", "keypoints", "keypoints_maps")},
    }


def test_the_recipes_that_were_asked_for_are_there():
    assert {path.stem for path in RECIPES.glob("*.yaml")} >= {
        "quickstart",
        "cifar10",
        "folder",
        "mnist",
        "vectors",
        "scenes",
    }


# The network of `folder` is large: to try its quantisation takes seconds.
SLOW_TO_PLAN = ("folder",)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SLOW_TO_PLAN else [])
        for path in sorted(RECIPES.glob("*.yaml"))
        if not path.stem.startswith("fit_")  # left open, for a search: tests/search
    ],
)
def test_dry_run(path, settings):
    recipe = load_recipe(path, settings.get(path.stem, []))
    planned = plan(recipe)
    student, teacher = (planned.sizes[role].params for role in ("student", "teacher"))
    assert 0 < student < teacher if recipe.student else student == teacher
    assert len(planned.data.train) > len(planned.data.validation) > 0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) for name in ("quickstart", "vectors", "mnist")]
)
def test_toy_length(name, settings, tmp_path, monkeypatch):
    fixed_times(monkeypatch)
    recipe = load_recipe(RECIPES / f"{name}.yaml", [*settings.get(name, []), *TOY])
    report = run(recipe, tmp_path / name)
    assert len(report.stages) == 1 + len(recipe.stages)
    assert all(row.accuracy is not None for row in report.rows)
