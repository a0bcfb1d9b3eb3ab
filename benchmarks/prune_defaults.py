"""A study of what ``prune: {macs: 0.5}`` costs a pretrained network, by rate, schedule and length of recovery.

    python benchmarks/prune_defaults.py --quick

Six networks and three small sets, each network on the sets that it can take: handwritten digits, 200 of them, and wines
(scikit-learn brings all). A network is trained on the labels until it has learned the set. Then it loses half of its
multiply-accumulates and recovers, by each candidate: a highest learning rate, a schedule, and a length, which is five
epochs or as many as give 300 steps. The loss is in points of accuracy on the validation and test samples together.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import finish, goal, options, say
from rich.console import Console
from rich.table import Table

from edgekd.data import DataSet, load_data
from edgekd.files import make_folder, temporary_folder
from edgekd.pipeline.log import RunLog
from edgekd.pipeline.node import NodeCache
from edgekd.pipeline.runner import StageRunner
from edgekd.pipeline.stage_result import StageResult
from edgekd.pipeline.start import starts_of
from edgekd.recipe import Data, Prune, Recipe, Teacher, Train
from edgekd.stages.network import restore
from edgekd.tasks.classification import Classification
from edgekd.train import predictions_of

MACS = 0.5
RATES, SCHEDULES, EPOCHS, STEPS = (0.02, 0.005), ("one_cycle", "cosine"), 5, 300
QUICK_SCHEDULES = ("one_cycle",)
DEFAULT_BEFORE = (0.02, "one_cycle", "5 epochs")


@dataclass(frozen=True)
class Pretrained:
    """A network, the set that it is trained on, and how."""

    model: str
    set: str
    args: dict[str, Any]
    train: Train


@dataclass(frozen=True)
class Candidate:
    """A recovery: its highest rate, its schedule, and its length."""

    lr: float
    schedule: str
    length: str

    def stage(self, steps_per_epoch: int) -> Prune:
        epochs = EPOCHS if self.length == DEFAULT_BEFORE[2] else max(EPOCHS, -(-STEPS // steps_per_epoch))
        return Prune(macs=MACS, check_latency=False, epochs=epochs, lr=self.lr, schedule=self.schedule)


def networks(quick: bool) -> list[Pretrained]:
    usual, gentle = Train(epochs=20, lr=0.05), Train(epochs=20, lr=0.002, optimizer="adamw")
    images = [
        ("small_cnn", {"width": 16}, usual),
        ("resnet8", {"width": 16}, usual),
        ("resnet20", {}, usual),
        ("torchvision/mobilenet_v2", {}, gentle),
    ]
    vectors = [("mlp", {"hidden": [64, 64]}, usual), ("mlp", {"hidden": [128]}, gentle)]
    if quick:
        return [Pretrained(model, "few digits", args, train) for model, args, train in images[:2]]
    found = [Pretrained(model, "digits", args, train) for model, args, train in images]
    # From random weights MobileNetV2 does not learn from 200 images.
    found += [Pretrained(model, "few digits", args, train) for model, args, train in images[:-1]]
    return found + [Pretrained(model, "wine", args, train) for model, args, train in vectors]


def samples(name: str, folder: Path, coloured: bool) -> Data:
    if name != "wine":
        limit = 200 if name == "few digits" else None
        return Data(source="digits", batch_size=32, train_limit=limit, grayscale=not coloured)
    from sklearn.datasets import load_wine
    from sklearn.model_selection import train_test_split

    found = load_wine()
    parts = train_test_split(found.data.astype(np.float32), found.target, test_size=0.3, random_state=0)
    path = folder / "wine.npz"
    np.savez(path, train_x=parts[0], test_x=parts[1], train_y=parts[2], test_y=parts[3])
    return Data(source="npz", path=path, batch_size=32)


def losses(network: Pretrained, candidates: Sequence[Candidate], folder: Path) -> list[dict[str, Any]]:
    """What each candidate loses of what the network had, in points."""
    data = load_data(samples(network.set, folder, network.model.startswith("torchvision/")), seed=0)
    steps = -(-len(data.train) // data.batch_size)
    teacher = Teacher(model=network.model, args=network.args, train=network.train)
    run = partial(stages, data, teacher, folder / f"{network.set}-{network.model.replace('/', '-')}".replace(" ", "-"))
    found = []
    for each in candidates:
        before, after = (accuracy(done, data) for done in run(each.stage(steps), network.set))
        say(f"{network.model} on {network.set}, {each}: {before:.2f} to {after:.2f} %")
        about = {"network": network.model, "args": network.args, "set": network.set, **asdict(each)}
        found.append({**about, "before": before, "after": after, "lost": before - after})
    return found


def stages(data: DataSet, teacher: Teacher, folder: Path, stage: Prune, name: str) -> list[StageResult]:
    source = Data(source="digits")  # the samples are loaded already
    recipe = Recipe(name="study", data=source, teacher=teacher, stages=(stage,))
    log = RunLog(make_folder(folder) / "log.jsonl")
    return StageRunner(recipe, data, starts_of(recipe, data), NodeCache(folder), log).run()[1]


def accuracy(done: StageResult, data: DataSet) -> float:
    """Of validation and test samples: the sets are small, and nothing is chosen by them."""
    network = restore(done.artifact).eval()
    right = [
        (predictions_of(network, data, part).numpy() == part.labels.numpy()) for part in (data.validation, data.test)
    ]
    return 100 * float(np.concatenate(right).mean())


def summed(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mean and the largest loss of each candidate, the best first."""
    by_candidate: dict[tuple[Any, ...], list[float]] = {}
    for each in runs:
        by_candidate.setdefault((each["lr"], each["schedule"], each["length"]), []).append(each["lost"])
    rows = [
        {"lr": lr, "schedule": schedule, "length": length, "mean": float(np.mean(lost)), "most": max(lost)}
        for (lr, schedule, length), lost in by_candidate.items()
    ]
    return sorted(rows, key=lambda row: row["mean"])


def main() -> None:
    arguments = options(__doc__)
    schedules = QUICK_SCHEDULES if arguments.quick else SCHEDULES
    lengths = (DEFAULT_BEFORE[2], f"{STEPS} steps")
    candidates = [Candidate(lr, form, length) for lr in RATES for form in schedules for length in lengths]
    with temporary_folder() as temporary:
        folder = arguments.out or temporary
        runs = [row for each in networks(arguments.quick) for row in losses(each, candidates, make_folder(folder))]
    rows = summed(runs)
    table = Table("Learning rate", "Schedule", "Length", "Lost on average", "Lost at most")
    for row in rows:
        table.add_row(f"{row['lr']:g}", row["schedule"], row["length"], f"{row['mean']:.2f}", f"{row['most']:.2f}")
    Console().print(table)
    known = {(row["lr"], row["schedule"], row["length"]): row["mean"] for row in rows}
    own = Prune(macs=MACS).trained_for(1, Classification.hard_weight)
    lost = known.get((own.lr, own.schedule, lengths[1]))
    goals = [
        goal("points that the defaults lose less than five epochs did", 0.0, known[DEFAULT_BEFORE] - (lost or 0.0))
    ]
    finish(arguments, {"macs": MACS, "runs": runs, "summary": rows}, goals)


if __name__ == "__main__":
    main()
