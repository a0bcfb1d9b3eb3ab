"""Images per second of distillation in turns: the textbook loop, and edgekd with its teacher live and cached."""

import os
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from common import goal
from distill_contenders import HARD_WEIGHT, MOMENTUM, TEMPERATURE, WEIGHT_DECAY, textbook_loss
from gpu_parts.patterns import MEAN, STD, data_set, network
from gpu_parts.tools import timed, wait
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from edgekd.data.dataset import DataSet
from edgekd.data.views import Views
from edgekd.distill import KD, Distillation
from edgekd.distill.cache import TeacherCache
from edgekd.stats.ratios import ratio_of_medians
from edgekd.train import FitOptions, Train, fit

TEXTBOOK, LIVE, CACHED = "textbook", "live", "cached"
TEACHER, STUDENT, RATE = "resnet56", "resnet20", 0.005
FASTER = 1.5


class Pictures(Dataset[tuple[Tensor, int]]):
    """The training images as PyTorch's own CIFAR-10 tutorial reads and changes them."""

    def __init__(self, data: DataSet):
        ((raw, self.labels),) = data.train.stream([torch.arange(len(data.train))])
        assert isinstance(raw, Tensor)
        self.pictures = raw.permute(0, 2, 3, 1).numpy()
        self.change = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.change(Image.fromarray(self.pictures[index])), int(self.labels[index])


class Clock:
    """The seconds between two steps of a training, taken when the device is idle."""

    def __init__(self, device: str, first: int, last: int):
        self.device, self.first, self.last, self.times = device, first, last, [0.0]

    def before_step(self, step: int, total: int = 0) -> None:
        if step in (self.first, self.last):
            wait(self.device)
            self.times.append(perf_counter())

    @property
    def seconds(self) -> float:
        return self.times[-1] - self.times[-2]


def measure(device: str, quick: bool) -> Iterator[tuple[str, Any]]:
    batch, warm, steps, rounds = (16, 1, 2, 2) if quick else (128, 10, 60, 8)
    data = data_set((warm + steps + 1) * batch, batch, batch)
    teacher, student = network(TEACHER), network(STUDENT, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        cache, filling = timed(partial(TeacherCache.open, Path(folder), teacher, data, Views(1)), device)
        yield (
            "settings",
            {"batch": batch, "steps": steps, "teacher": TEACHER, "student": STUDENT, "cache_seconds": filling},
        )

        def turn(way: str) -> float:
            clock = Clock(device, warm, warm + steps)
            if way == TEXTBOOK:
                textbook(teacher, deepcopy(student), data, device, clock)
            else:
                ours(cache if way == CACHED else teacher, deepcopy(student), data, clock)
            return clock.seconds

        taken: dict[str, list[float]] = {way: [] for way in (TEXTBOOK, LIVE, CACHED)}
        order = np.random.default_rng(0)
        for _ in range(rounds):
            for way in order.permutation(list(taken)):
                taken[way].append(turn(way))
            yield "seconds", taken
            yield "images_per_second", {way: batch * steps / float(np.median(each)) for way, each in taken.items()}


def textbook(teacher: nn.Module, student: nn.Module, data: DataSet, device: str, clock: Clock) -> None:
    """Train one epoch as ``distill_contenders.py`` does, on ``device``."""
    teacher, student = deepcopy(teacher).eval().to(device), student.train().to(device)
    workers = min(8, os.cpu_count() or 1)
    pinned = {"pin_memory": device == "cuda", "num_workers": workers}
    loader = DataLoader(Pictures(data), data.batch_size, shuffle=True, drop_last=True, **pinned)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD(student.parameters(), RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
    for step, (inputs, labels) in enumerate(loader):
        clock.before_step(step)
        inputs, labels = inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        with torch.no_grad():
            targets = teacher(inputs)
        loss = textbook_loss(student(inputs), targets, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()


def ours(teacher: nn.Module | TeacherCache, student: nn.Module, data: DataSet, clock: Clock) -> None:
    section = Train(epochs=1, lr=RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, schedule="cosine")
    views = teacher.views if isinstance(teacher, TeacherCache) else None
    options = FitOptions(before_step=clock.before_step, views=views)
    fit(student, data, section, Distillation(teacher, KD(TEMPERATURE), HARD_WEIGHT), options)


def goals(figures: dict[str, Any], device: str) -> list[dict[str, Any]]:
    taken = figures.get("seconds")
    if not taken or len(taken[CACHED]) < 2:
        return []

    def faster(way: str, than: str) -> float:
        slower, ours = ([[each] for each in taken[name]] for name in (than, way))
        return ratio_of_medians(slower, ours)[0]

    return [
        goal("distillation: cached, times the textbook loop", FASTER, faster(CACHED, TEXTBOOK)),
        goal("distillation: live, times the textbook loop", 1.0, faster(LIVE, TEXTBOOK)),
        goal("distillation: cached, times live", 1.0, faster(CACHED, LIVE)),
    ]
