"""What labels are worth once there is a teacher: the same images of CIFAR-10 with all labels, with few and with none.

    python benchmarks/distill_unlabelled.py --json benchmarks/results/distill_unlabelled.json

ResNet-56 teaches the narrow MobileNetV2 of the study of methods with KD, on the images of that study, three times: all
with their labels; all from a folder without labels; a tenth with labels, and the others without in every batch. Epochs,
rate, views and seeds are the same. The gain is what the test accuracy has over the untrained network's. Work is kept
under --out, and a run that was killed goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cifar10 import BATCH_SIZE, ONNX, ROOT, Study, answers, prepare_study
from common import finish, goal, options, say
from distill_methods import STUDENTS
from paired import accuracy, difference, packed
from PIL import Image
from prune_pareto import kept
from prune_zoo import versions
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from edgekd.artifact_cache import METRICS, ArtifactCache
from edgekd.data import DataSet
from edgekd.data.samples import Joined
from edgekd.data.unlabelled import unlabelled_images
from edgekd.data.views import Views
from edgekd.distill import KD, Distillation
from edgekd.distill.cache import TeacherCache
from edgekd.export import export_onnx
from edgekd.files import write_json
from edgekd.models import build
from edgekd.pipeline.stage_result import StageResult
from edgekd.recipe import Train
from edgekd.stages.network import restore
from edgekd.tasks.tensors import only
from edgekd.train import FitOptions, fit
from edgekd.train.history import history_to_json

ALL, FEW, NONE = "all labels", "a tenth of the labels", "no labels"
FEW_OF = 10
UNTRAINED = "untrained"
STUDENT, TEMPERATURE = "mobilenet_v2", 4.0
SHARE = 0.95


@dataclass(frozen=True)
class Settings:
    """How much is done; ``rate`` is the one that the study of methods chose."""

    train_limit: int = 3500
    validation: float = 0.2
    test_limit: int | None = None
    epochs: int = 6
    rate: float = 0.05
    seeds: int = 3


QUICK = Settings(train_limit=400, test_limit=300, epochs=1, seeds=2)


def hard_weight(arrangement: str) -> float:
    return 0.0 if arrangement == NONE else 0.1


def arranged(study: Study, folder: Path) -> dict[str, DataSet]:
    data, count = study.data, len(study.data.train)
    # Samples of one class do not stand together.
    few = torch.randperm(count, generator=torch.Generator().manual_seed(0))[: count // FEW_OF].sort().values
    rest = torch.tensor([index for index in range(count) if index not in set(few.tolist())])
    return {
        ALL: data,
        FEW: replace(
            data,
            train=Joined(data.train.select(few), without_labels(study, rest, folder / "most")),
            unlabelled_share=1 - 1 / FEW_OF,
        ),
        NONE: replace(data, train=without_labels(study, torch.arange(count), folder / "all")),
    }


def without_labels(study: Study, indices: Tensor, folder: Path) -> Any:
    """The training images as the files that somebody has who did not label any."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, (raw, _) in zip(indices.tolist(), study.data.train.stream(indices.split(1)), strict=True):
        Image.fromarray(only(raw)[0].permute(1, 2, 0).numpy()).save(folder / f"{index:05}.png")
    return unlabelled_images(study.recipe.data, folder, study.data.input_shape)


def new(study: Study, seed: int) -> nn.Module:
    builder, arguments = STUDENTS[STUDENT]
    torch.manual_seed(seed)
    return build(builder, study.data.input_shape, len(study.data.classes), **arguments)


class Trainings:
    def __init__(self, study: Study, teacher: StageResult, settings: Settings):
        self.study, self.teacher, self.settings = study, teacher, settings
        self.store = ArtifactCache(study.folder / "unlabelled")

    def untrained(self, seed: int) -> Path:
        def make(folder: Path) -> None:
            self.export(new(self.study, seed), folder)

        return kept(self.store, UNTRAINED, [UNTRAINED, STUDENT, seed, versions()], make)

    def run(self, arrangement: str, data: DataSet, seed: int) -> Path:
        section = Train(epochs=self.settings.epochs, lr=self.settings.rate, clip_norm=5.0)
        key = [arrangement, STUDENT, data.fingerprint, data.batch_size, section.model_dump(mode="json"), seed]
        key += [self.teacher.content, TEMPERATURE, hard_weight(arrangement), versions()]
        make = partial(self._train, arrangement, data, seed, section)
        return kept(self.store, arrangement.replace(" ", "-"), key, make)

    def _train(self, arrangement: str, data: DataSet, seed: int, section: Train, folder: Path) -> None:
        views, network = Views(section.epochs), new(self.study, seed)
        cache = TeacherCache.open(self.study.folder / "teachers", restore(self.teacher.artifact), data, views)
        objective = Distillation(cache, KD(TEMPERATURE), hard_weight(arrangement))
        name = f"{arrangement}, seed {seed}"
        history = fit(network, data, section, objective, FitOptions(seed=seed, name=name, views=views))
        self.export(network, folder)
        write_json(folder / METRICS, {"history": history_to_json(history)})

    def export(self, network: nn.Module, folder: Path) -> None:
        export_onnx(network.eval(), folder / ONNX, self.study.data.preprocess, self.study.data.classes)


def rows_of(study: Study, trainings: Trainings, seeds: int) -> list[dict[str, Any]]:
    ways: dict[str, Callable[[int], Path]] = {UNTRAINED: trainings.untrained}
    for arrangement, data in arranged(study, study.folder / "images").items():
        ways[arrangement] = partial(trainings.run, arrangement, data)
    rows: list[dict[str, Any]] = []
    for name, way in ways.items():
        right = [answers(study, way(seed) / ONNX) == study.labels for seed in range(seeds)]
        rows.append({"labels": name, "right": right, "accuracy": accuracy(right)})
        say(f"{name}: {rows[-1]['accuracy']['percent']:.2f} %")
    by_name = {row["labels"]: row for row in rows}
    start, full = (by_name[name]["accuracy"]["percent"] for name in (UNTRAINED, ALL))
    for row in rows[1:]:
        row["share_of_gain"] = (row["accuracy"]["percent"] - start) / (full - start)
        row["over_all_labels"] = difference(row["right"], by_name[ALL]["right"])
    return rows


def show(rows: Sequence[dict[str, Any]]) -> None:
    table = Table("Labels", "Accuracy %", "sd", "Share of the gain", f"over {ALL}", "95 %")
    for row in rows:
        about, over = row["accuracy"], row.get("over_all_labels")
        compared = (
            [f"{row['share_of_gain']:.1%}", f"{over['points']:+.2f}", "{:+.2f} to {:+.2f}".format(*over["ci95"])]
            if over
            else []
        )
        table.add_row(row["labels"], f"{about['percent']:.2f}", f"{about.get('sd', 0):.2f}", *compared)
    Console(width=120).print(table)


def main() -> None:
    arguments = options(__doc__)
    settings, folder = QUICK if arguments.quick else Settings(), arguments.out or ROOT / "runs/distill_unlabelled"
    study = prepare_study(folder, settings.train_limit, settings.test_limit, validation=settings.validation)
    [teacher] = study.run(0, ())
    rows = rows_of(study, Trainings(study, teacher, settings), settings.seeds)
    show(rows)
    shares = {row["labels"]: row["share_of_gain"] for row in rows[1:]}
    figures = {
        **{"settings": asdict(settings), "samples": study.counts(), "batch_size": BATCH_SIZE, "versions": versions()},
        **{"student": STUDENT, "temperature": TEMPERATURE},
        "rows": [{**row, "right": [*map(packed, row["right"])]} for row in rows],
    }
    finish(arguments, figures, [goal(f"{NONE}: share of the gain with {ALL}", SHARE, shares[NONE])])


if __name__ == "__main__":
    main()
