"""What each distillation method buys: two students on CIFAR-10 from random weights, the same short budget for all.

    python benchmarks/distill_methods.py --json benchmarks/results/distill_methods.json

The teacher is ResNet-56, accustomed to the JPEG files; the students are a ResNet-20 and a narrow MobileNetV2 whose
strides suit small images. Each is trained on labels alone, and by each method with the labels, with the weights that
RepDistiller publishes, or the authors where it has none; no weight is tuned. Samples, epochs and learning rate are the
same for all, and the order of the samples and their augmented views for one seed; the rate is the best of labels alone
on the validation split. The methods that lead there with the first seed, the best loss of logits and the best of
features together, and labels alone are run with all seeds.

Accuracies are ONNX Runtime's on the same test images, in pairs: of the last epoch, which the goals are about, and of
the epoch that was best on the validation split. ``--folder`` and ``--teacher`` take another set of class folders, such
as CIFAR-100, and a checkpoint of ResNet-56 for it; ``--full`` trains on all samples for 240 epochs, which wants a GPU.
``--only`` runs some students alone. Work is kept under --out, and a run that was killed goes on.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from cifar10 import BATCH_SIZE, ONNX, ROOT, Study, answers, exported, prepare_study
from common import finish, goal, options, say
from distill_picture import picture
from paired import accuracy, difference, packed
from prune_pareto import kept
from prune_zoo import versions
from rich.console import Console
from rich.table import Table
from torch import nn

from edgekd.artifact_cache import METRICS, ArtifactCache
from edgekd.data.views import Views
from edgekd.distill import Distillation, LossSpec, build_terms
from edgekd.distill.cache import TeacherCache
from edgekd.distill.objective import Term
from edgekd.export import export_onnx
from edgekd.files import write_json
from edgekd.models import build
from edgekd.pipeline.stage_result import StageResult
from edgekd.recipe import Train
from edgekd.stages.network import restore
from edgekd.train import CrossEntropy, FitOptions, Objective, fit
from edgekd.train.history import Epoch, history_to_json

PLAIN = "labels alone"
BEST_ONNX = "best.onnx"
TEMPERATURE = 4.0
# As RepDistiller has it: from 16x16 down to 2x2, one step later than for large images.
SMALL_IMAGES = [
    *([1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1]),
    *([6, 160, 3, 2], [6, 320, 1, 1]),
]
STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet20": ("resnet20", {}),
    "mobilenet_v2": ("torchvision/mobilenet_v2", {"width_mult": 0.35, "inverted_residual_setting": SMALL_IMAGES}),
}
POINTS = 1.5


@dataclass(frozen=True)
class Method:
    """``hard`` is the weight of the labels; the losses have what is left of 1, times their own weights."""

    losses: tuple[LossSpec, ...]
    hard: float = 0.5


METHODS: dict[str, Method | None] = {
    PLAIN: None,
    "kd": Method((LossSpec("kd"),), hard=0.1),
    # Sun et al., "Logit Standardization in Knowledge Distillation" (CVPR 2024): 9 for the teacher, 0.1 for the labels.
    "kd, standardised": Method((LossSpec("kd", 10.0, {"temperature": 2.0}, standardize=True),), hard=0.1),
    "dkd": Method((LossSpec("dkd"),)),
    "dist": Method((LossSpec("dist", options={"beta": 2.0, "gamma": 2.0}),)),
    "fitnet": Method((LossSpec("fitnet"),)),
    "at": Method((LossSpec("at"),)),
    "sp": Method((LossSpec("sp"),)),
    "rkd": Method((LossSpec("rkd"),)),
    "pkt": Method((LossSpec("pkt"),)),
    "reviewkd": Method((LossSpec("reviewkd"),)),
    "crd": Method((LossSpec("crd"),)),
}
# Its published width is 512 where the deepest map has 1280 channels: that is fourteen minutes where others take one.
OF_STUDENT = {"mobilenet_v2": {"reviewkd": Method((LossSpec("reviewkd", options={"mid_channels": 64}),))}}
LOGITS = ("kd", "kd, standardised", "dkd", "dist")


@dataclass(frozen=True)
class Settings:
    """How much is done; ``leading`` methods have all of ``seeds``."""

    train_limit: int | None = 3500
    validation: float = 0.2
    test_limit: int | None = None
    epochs: int = 6
    rates: tuple[float, ...] = (0.05, 0.1)
    seeds: int = 3
    leading: int = 4
    students: tuple[str, ...] = field(default=tuple(STUDENTS))


QUICK = Settings(train_limit=400, test_limit=300, epochs=2, rates=(0.05,), seeds=2, leading=1, students=("resnet20",))
FULL = Settings(train_limit=None, validation=0.1, epochs=240)


class Trainings:
    """Trains one student by any method; ``rate`` is that of all."""

    def __init__(self, study: Study, teacher: StageResult, name: str, epochs: int):
        self.study, self.teacher, self.name, self.epochs = study, teacher, name, epochs
        self.methods = {**METHODS, **OF_STUDENT.get(name, {})}
        self.store = ArtifactCache(study.folder / "trained")
        self.caches: dict[int, TeacherCache] = {}
        self.rate = 0.0

    @cached_property
    def network(self) -> nn.Module:
        return restore(self.teacher.artifact)

    def run(self, name: str, method: Method | None, seed: int, rate: float | None = None) -> Path:
        """The folder with the trained network's files, of the last epoch and of the best one, and its history."""
        section = Train(epochs=self.epochs, lr=rate or self.rate, clip_norm=5.0)
        key = [STUDENTS[self.name], repr(method), section.model_dump(mode="json"), seed, TEMPERATURE, BATCH_SIZE]
        key += [self.teacher.content if method else "", self.study.data.fingerprint, versions()]
        folder_name = f"{self.name}-{name}".replace(",", "").replace(" ", "-").replace("+", "and")
        return kept(self.store, folder_name, key, partial(self._train, name, method, seed, section))

    def _train(self, name: str, method: Method | None, seed: int, section: Train, folder: Path) -> None:
        data = self.study.data
        network = self.student(seed)
        best: dict[str, Any] = {"accuracy": -1.0}

        def remember(epoch: Epoch) -> None:
            accuracy = epoch.metrics["validation_accuracy"]
            if accuracy > best["accuracy"]:
                best.update(accuracy=accuracy, epoch=epoch.number, network=copy.deepcopy(network))

        history = fit(
            network,
            data,
            section,
            self.objective(method, network, seed),
            FitOptions(
                seed=seed,
                name=f"{self.name}, {name}, rate {section.lr:g}, seed {seed}",
                views=self.views(seed),
                log=remember,
            ),
        )
        for each, file in ((network, ONNX), (best["network"].eval(), BEST_ONNX)):
            export_onnx(each, folder / file, data.preprocess, data.classes)
        write_json(folder / METRICS, {"history": history_to_json(history), "best_epoch": best["epoch"]})

    def student(self, seed: int) -> nn.Module:
        builder, arguments = STUDENTS[self.name]
        torch.manual_seed(seed)
        return build(builder, self.study.data.input_shape, len(self.study.data.classes), **arguments)

    def views(self, seed: int) -> Views:
        """A new one in each epoch."""
        return Views(self.epochs, seed)

    def objective(self, method: Method | None, network: nn.Module, seed: int) -> Objective:
        if method is None:
            return CrossEntropy()
        return Distillation(self.answers_of_teacher(seed), self.terms(method, network), method.hard)

    def terms(self, method: Method, network: nn.Module) -> list[Term]:
        data = self.study.data
        return build_terms(
            method.losses,
            network,
            self.network,
            data.input_shape,
            temperature=TEMPERATURE,
            samples=len(data.train),
        )

    def answers_of_teacher(self, seed: int) -> TeacherCache:
        """Of every layer that any method looks at, so that the teacher sees each view once."""
        if seed not in self.caches:
            student = self.student(0)
            layers = [
                path
                for method in self.methods.values()
                if method
                for term in self.terms(method, student)
                for _, path in term.pairs
            ]
            folder = self.study.folder / "teachers"
            views = self.views(seed)
            self.caches[seed] = TeacherCache.open(
                folder, self.network, self.study.data, views, layers=sorted(set(layers)), dtype="float16"
            )
        return self.caches[seed]

    def validation(self, folder: Path) -> float:
        """That of the last epoch."""
        return history_of(folder)["history"][-1]["validation_accuracy"]


def history_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / METRICS).read_text())


def rows_of(trainings: Trainings, settings: Settings) -> list[dict[str, Any]]:
    tried = {rate: trainings.validation(trainings.run(PLAIN, None, 0, rate)) for rate in settings.rates}
    trainings.rate = max(tried, key=lambda rate: tried[rate])
    found = {name: trainings.validation(trainings.run(name, method, 0)) for name, method in trainings.methods.items()}
    order = sorted((name for name in found if name != PLAIN), key=lambda name: -found[name])
    both, combined = best_of_both(order, trainings.methods)
    leading = {PLAIN, both, *order[: settings.leading]}
    rows = [
        row_of(trainings, name, method, settings.seeds if name in leading else 1)
        for name, method in {**trainings.methods, both: combined}.items()
    ]
    plain = rows[0]["right"]
    for row in rows:
        row["over_plain"] = difference(row["right"], plain[: len(row["right"])])
        row["rate"], row["validation_of_rates"] = trainings.rate, {f"{rate:g}": each for rate, each in tried.items()}
    return rows


def row_of(trainings: Trainings, name: str, method: Method | None, seeds: int) -> dict[str, Any]:
    study, folders = trainings.study, [trainings.run(name, method, seed) for seed in range(seeds)]
    right, best = ([answers(study, folder / file) == study.labels for folder in folders] for file in (ONNX, BEST_ONNX))
    about = accuracy(right)
    say(f"{trainings.name}, {name}: {about['percent']:.2f} %")
    return {
        **{"student": trainings.name, "method": name, "accuracy": about, "best_on_validation": accuracy(best)},
        "best_epoch": [history_of(folder)["best_epoch"] for folder in folders],
        "validation": [trainings.validation(folder) for folder in folders],
        "right": right,
    }


def best_of_both(order: Sequence[str], methods: Mapping[str, Method | None]) -> tuple[str, Method]:
    """The best loss of logits and the best of features, on the validation split, added up."""
    names = [next(name for name in order if (name in LOGITS) == logits) for logits in (True, False)]
    losses = [loss for name in names for method in [methods[name]] if method for loss in method.losses]
    return " + ".join(names), Method(tuple(losses))


def show(rows: Sequence[dict[str, Any]]) -> None:
    table = Table("Student", "Method", "Seeds", "Last %", "sd", "Best on validation %", f"over {PLAIN}", "95 %")
    for row in rows:
        about, over = row["accuracy"], row["over_plain"]
        table.add_row(
            row["student"],
            row["method"],
            str(len(row["right"])),
            f"{about['percent']:.2f}",
            f"{about['sd']:.2f}" if "sd" in about else "–",
            f"{row['best_on_validation']['percent']:.2f}",
            f"{over['points']:+.2f}",
            "{:+.2f} to {:+.2f}".format(*over["ci95"]),
        )
    Console(width=140).print(table)


def goals(rows: Sequence[dict[str, Any]], seeds: int) -> list[dict[str, Any]]:
    found = []
    for name in dict.fromkeys(row["student"] for row in rows):
        taught = [row for row in rows if row["student"] == name and row["method"] != PLAIN]
        # By the validation split, of those that have all seeds.
        best = max((row for row in taught if len(row["right"]) == seeds), key=lambda row: sum(row["validation"]))
        over = best["over_plain"]
        found += [
            goal(f"{name}: points of {best['method']} over {PLAIN}", POINTS, over["points"]),
            goal(f"{name}: the lower end of its interval", 0, over["ci95"][0]),
        ]
    return found


def main() -> None:
    arguments = options(
        __doc__,
        folder={"type": Path, "help": "class folders train/ and test/, in place of CIFAR-10's"},
        teacher={"type": Path, "help": "a checkpoint of ResNet-56 for those classes"},
        full={"action": "store_true", "help": "all samples, 240 epochs"},
        only={"nargs": "+", "choices": list(STUDENTS), "help": "these students"},
    )
    settings = QUICK if arguments.quick else FULL if arguments.full else Settings()
    if arguments.only:
        settings = replace(settings, students=tuple(arguments.only))
    study = prepare_study(
        arguments.out or ROOT / "runs/distill_methods",
        settings.train_limit,
        settings.test_limit,
        validation=settings.validation,
        images=arguments.folder,
        checkpoint=arguments.teacher,
    )
    [teacher] = study.run(0, ())
    rows = []
    for name in settings.students:
        rows += rows_of(Trainings(study, teacher, name, settings.epochs), settings)
    show(rows)
    image = (arguments.json or study.folder / "distill_methods").with_suffix(".png")
    picture(rows, PLAIN, image)
    say(f"{image}: points over {PLAIN}")
    figures = {
        **{"settings": asdict(settings), "samples": study.counts(), "batch_size": BATCH_SIZE, "versions": versions()},
        **{"temperature": TEMPERATURE, "teacher": accuracy([answers(study, exported(study, teacher)) == study.labels])},
        "methods": {name: asdict(method) if method else None for name, method in METHODS.items()},
        "of_student": {name: {each: asdict(own) for each, own in of.items()} for name, of in OF_STUDENT.items()},
        "rows": [{**row, "right": [*map(packed, row["right"])]} for row in rows],
    }
    finish(arguments, figures, goals(rows, settings.seeds))


if __name__ == "__main__":
    main()
