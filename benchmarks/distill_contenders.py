"""One distillation in the ways that ``distill_throughput.py`` compares, each in a process of its own.

    python distill_contenders.py SETUP.json CONTENDER train|pace|fill|profile

``train`` trains to the end and writes which test images are answered rightly. ``pace`` runs some steps for each line
that it is sent, and answers with the seconds that they took. All build networks from the same weights and read the same
JPEG files; the loss is edgekd's and torchdistill's default form of Hinton's.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from edgekd.data import DataSet
from edgekd.data.sources import SOURCES
from edgekd.data.views import Views
from edgekd.distill import KD, Distillation, fuse_teacher
from edgekd.distill.cache import TeacherCache
from edgekd.errors import EdgekdError
from edgekd.files import write_json
from edgekd.models import build
from edgekd.preprocess import Preprocess
from edgekd.recipe import Data, Train
from edgekd.registry import Registry
from edgekd.stages.int8_teacher import int8_teacher
from edgekd.tasks.classification import Classification
from edgekd.train import FitOptions, fit, logits_of, predictions_of

TEXTBOOK, TORCHDISTILL, LIVE, CACHED = "textbook", "torchdistill", "edgekd live", "edgekd cached"
FUSED, INT8 = "edgekd live, fused", "edgekd live, int8"
TEACHER, STUDENT, SHAPE, CLASSES = "teacher.pt", "student.pt", (3, 32, 32), 10
TEMPERATURE, HARD_WEIGHT, MOMENTUM, WEIGHT_DECAY = 4.0, 0.1, 0.9, 5e-4
# As PyTorch's own CIFAR-10 tutorial has it.
WORKERS = 2


class Enough(Exception):
    """Nothing more is asked for."""


@dataclass(frozen=True)
class Setup:
    """What all contenders share; ``folder`` holds the images and both networks' weights."""

    folder: Path
    batch_size: int
    epochs: int
    lr: float
    seed: int
    views: int
    steps: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> "Setup":
        document = json.loads(path.read_text())
        return cls(
            **{**document, "folder": path.parent, "mean": tuple(document["mean"]), "std": tuple(document["std"])}
        )

    def network(self, name: str) -> nn.Module:
        network = build("resnet56", SHAPE, CLASSES, shortcut="pad") if name == TEACHER else build("resnet20", SHAPE, 10)
        network.load_state_dict(torch.load(self.folder / name))
        return network

    def images(self) -> ImageFolder:
        """The training images as torchvision reads and changes them."""
        change = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(self.mean, self.std),
            ]
        )
        return ImageFolder(str(self.folder / "images/train"), change)

    @cached_property
    def data(self) -> DataSet:
        section = Data(source="folder", path=self.folder / "images", image_size=32, mean=self.mean, std=self.std)
        source = SOURCES.find("folder").load(section, Classification)
        scale = Preprocess("image", source.shape, self.mean, self.std)
        # Nothing is chosen on the validation samples, and the others have none.
        some = source.train.select(torch.arange(self.batch_size))
        parts = (source.train, some, source.test)
        return DataSet("cifar10", source.classes, scale, *parts, self.batch_size, ("crop", "flip"))

    def cache(self) -> TeacherCache:
        return TeacherCache.open(self.folder / "cache", self.network(TEACHER), self.data, Views(self.views))


Pause = Callable[[], None]
Contender = Callable[[Setup, Pause], nn.Module]
CONTENDERS: Registry[Contender] = Registry("contender", EdgekdError)


@CONTENDERS.register(TEXTBOOK)
def textbook(setup: Setup, pause: Pause) -> nn.Module:
    teacher, student = setup.network(TEACHER).eval(), setup.network(STUDENT).train()
    sizes: dict[str, Any] = {"batch_size": setup.batch_size, "num_workers": WORKERS}
    loader = DataLoader(setup.images(), shuffle=True, drop_last=True, persistent_workers=WORKERS > 0, **sizes)
    optimizer = torch.optim.SGD(
        student.parameters(), setup.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, setup.epochs * len(loader))
    running = 0.0
    for inputs, labels in chain.from_iterable(repeat(loader, setup.epochs)):
        pause()
        with torch.no_grad():
            targets = teacher(inputs)
        loss = textbook_loss(student(inputs), targets, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        running += loss.item()
    return student


def textbook_loss(logits: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
    soft = F.kl_div(F.log_softmax(logits / TEMPERATURE, 1), F.softmax(targets / TEMPERATURE, 1), reduction="batchmean")
    return HARD_WEIGHT * F.cross_entropy(logits, labels) + (1 - HARD_WEIGHT) * TEMPERATURE**2 * soft


@CONTENDERS.register(TORCHDISTILL)
def torchdistill(setup: Setup, pause: Pause) -> nn.Module:
    """As its ``examples/torchvision/image_classification.py`` does with its sample configuration of KDLoss."""
    from torchdistill.core.distillation import get_distillation_box
    from torchdistill.misc.log import MetricLogger, SmoothedValue

    student, images = setup.network(STUDENT), setup.images()
    device = torch.device("cpu")
    settings = torchdistill_config(setup, len(images) // setup.batch_size)
    # The example leaves the teacher in whatever mode it is: its BatchNorm would follow the batches.
    teacher = setup.network(TEACHER).eval()
    box = get_distillation_box(teacher, student, {"train": images}, settings, device, None, False, 1)
    for epoch in range(box.num_epochs):
        box.pre_epoch_process(epoch=epoch)
        logger = MetricLogger(delimiter="  ")
        logger.add_meter("lr", SmoothedValue(window_size=1, fmt="{value}"))
        for inputs, labels, more in logger.log_every(box.train_data_loader, 1000, f"Epoch: [{epoch}]"):
            pause()
            loss = box.forward_process(inputs.to(device), labels.to(device), more)
            box.post_forward_process(loss=loss)
            logger.update(loss=loss.item(), lr=box.optimizer.param_groups[0]["lr"])
        box.post_epoch_process()
    return student


def torchdistill_config(setup: Setup, steps: int) -> dict[str, Any]:
    own = {"student_module_path": ".", "student_module_io": "output"}
    theirs = {"teacher_module_path": ".", "teacher_module_io": "output"}
    loss = {**own, **theirs, "temperature": TEMPERATURE, "alpha": HARD_WEIGHT, "reduction": "batchmean"}
    sgd = {"lr": setup.lr, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY, "nesterov": True}
    loading = {"batch_size": setup.batch_size, "num_workers": WORKERS, "drop_last": True}
    loading["persistent_workers"] = WORKERS > 0
    return {
        "num_epochs": setup.epochs,
        "train_data_loader": {
            **{"dataset_id": "train", "kwargs": loading},
            "sampler": {"class_or_func": torch.utils.data.RandomSampler, "kwargs": None},
        },
        "teacher": {"forward_proc": "forward_batch_only", "sequential": [], "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "sequential": [], "requires_grad": True},
        "optimizer": {"key": "SGD", "kwargs": sgd},
        "scheduler": {
            **{"key": "CosineAnnealingLR", "kwargs": {"T_max": setup.epochs * steps}},
            "scheduling_step": 1,
        },
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": {"key": "KDLoss", "kwargs": loss}, "weight": 1.0}}},
        },
    }


@CONTENDERS.register(LIVE)
def edgekd_live(setup: Setup, pause: Pause) -> nn.Module:
    return edgekd(setup, pause, setup.network(TEACHER), None)


@CONTENDERS.register(FUSED)
def edgekd_fused(setup: Setup, pause: Pause) -> nn.Module:
    return edgekd(setup, pause, fuse_teacher(setup.network(TEACHER), SHAPE), None)


@CONTENDERS.register(INT8)
def edgekd_int8(setup: Setup, pause: Pause) -> nn.Module:
    """Distil as ``quantize_teacher`` does it; training images stand for the validation samples."""
    teacher, data = setup.network(TEACHER).eval(), replace(setup.data, validation=setup.data.train)
    found = int8_teacher(teacher, data, SHAPE, predictions_of(teacher, data, data.validation))
    return edgekd(setup, pause, fuse_teacher(teacher, SHAPE) if found is None else found, None)


@CONTENDERS.register(CACHED)
def edgekd_cached(setup: Setup, pause: Pause) -> nn.Module:
    cache = setup.cache()
    return edgekd(setup, pause, cache, cache.views)


def edgekd(setup: Setup, pause: Pause, teacher: nn.Module | TeacherCache, views: Views | None) -> nn.Module:
    section = Train(epochs=setup.epochs, lr=setup.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, schedule="cosine")
    student, objective = setup.network(STUDENT), Distillation(teacher, KD(TEMPERATURE), HARD_WEIGHT)
    more: dict[str, Any] = {"before_step": lambda *_: pause(), "views": views, "seed": setup.seed}
    fit(student, setup.data, section, objective, FitOptions(**more))
    return student


def paced(steps: int) -> Pause:
    """Waits for a line before every ``steps`` steps, and says how long they took."""

    def each() -> Iterator[None]:
        while sys.stdin.readline():
            started = time.perf_counter()
            for _ in range(steps):
                yield
            print(time.perf_counter() - started, flush=True)

    pace = each()

    def pause() -> None:
        if next(pace, pace) is pace:
            raise Enough

    return pause


def filled(setup: Setup) -> dict[str, Any]:
    setup.data  # noqa: B018  (read before the time is taken)
    started = time.perf_counter()
    cache = setup.cache()
    return {"seconds": time.perf_counter() - started, "bytes": cache.size_bytes, "views": setup.views}


def main() -> None:
    path, name, what = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    setup, contender = Setup.read(path), CONTENDERS.find(name)
    torch.manual_seed(setup.seed)
    if what == "train":
        student = contender(setup, lambda: None).eval()
        right = logits_of(student, setup.data, setup.data.test).argmax(1) == setup.data.test.labels
        np.save(path.with_suffix(f".{name}.npy"), right.numpy())
    elif what == "fill":
        write_json(path.with_suffix(".fill.json"), filled(setup))
    elif what == "profile":
        from distill_profile import profiled

        write_json(path.with_suffix(f".{name}.profile.json"), profiled(setup, contender))
    else:
        with suppress(Enough):
            contender(setup, paced(setup.steps))


if __name__ == "__main__":
    main()
