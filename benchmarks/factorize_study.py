"""A network of factorize.py in all its ways: taken from, trained on, written to files, and each found again."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import say
from factorize_networks import Network, begun
from numpy.typing import NDArray
from peers import x86_profile
from prune_pareto import HARD_WEIGHT, TEMPERATURE, Remembered, machine
from prune_zoo import versions
from quantize_peers import kept_of
from torch import Tensor, nn

import edgekd
from edgekd.artifact import capture
from edgekd.artifact_cache import ArtifactCache
from edgekd.bench import Plan, Workload, measure
from edgekd.data import DataSet
from edgekd.distill import KD, Distillation
from edgekd.errors import TrainingError
from edgekd.export import export_onnx, runtime_logits
from edgekd.factorize import factorize
from edgekd.files import canonical_json, make_folder, sha256, sha256_file, write_json
from edgekd.models import count_macs, count_parameters
from edgekd.models.batchnorm import reestimate
from edgekd.prune import prune
from edgekd.quantize import calibrate, export_runtime, prepare
from edgekd.recipe import Train
from edgekd.spec import Spec
from edgekd.stages import Prune
from edgekd.stages.factorize.options import Factorize
from edgekd.stages.network import load
from edgekd.tasks.tensors import only
from edgekd.train import CrossEntropy, FitOptions, fit
from edgekd.train.device import lay_out
from edgekd.train.history import history_to_json

WHOLE, FACTORISED, TUCKER, PRUNED = "whole", "factorised", "factorised, no spatial", "pruned"
FLOAT, INT8 = "float", "int8"
FILES = {FLOAT: "model.onnx", INT8: "int8.onnx"}
BEFORE, HISTORY, ABOUT = "before.onnx", "history.json", "about.json"
STATISTICS, CALIBRATION, CHECKED = 512, 320, 256
VERSION = 1
Made = tuple[nn.Module, Spec]


@dataclass(frozen=True)
class Settings:
    """How much is done; ``epochs`` behind a cut."""

    train_limit: int = 2500
    test_limit: int | None = 5000
    epochs: int = 2
    rates: tuple[float, ...] = (0.005, 0.02)
    seconds: float = 1.5
    max_seconds: float = 2.5
    launches: int = 8

    def timing(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "max_seconds": self.max_seconds, "launches": self.launches}


QUICK = Settings(train_limit=80, test_limit=100, epochs=1, rates=(0.005,), seconds=0.3, max_seconds=0.3, launches=6)


def by_factors(network: nn.Module, about: Network, share: float, **settings: Any) -> Made:
    found = factorize(network, about.shape, macs=share, ignore=(about.head,), **settings)
    return found.network, about.spec.then(Factorize.name, found.plan)


def by_tucker(network: nn.Module, about: Network, share: float) -> Made:
    return by_factors(network, about, share, methods=("svd", "tucker"))


def by_pruning(network: nn.Module, about: Network, share: float) -> Made:
    found = prune(network, about.shape, macs=share)
    return found.network, about.spec.then(Prune.name, found.plan)


# FACTORISED comes first: what it leaves is what pruning is told.
WAYS: dict[str, Callable[[nn.Module, Network, float], Made]] = {
    WHOLE: lambda network, about, share: (network, about.spec),
    FACTORISED: by_factors,
    TUCKER: by_tucker,
    PRUNED: by_pruning,
}


class Study:
    """One network, its images, and the folder in which its finished work is found again."""

    def __init__(self, network: Network, data: DataSet, checkpoints: Path, settings: Settings, out: Path):
        self.network, self.data, self.settings = network, data, settings
        self._checkpoints = checkpoints
        self._cache = ArtifactCache(make_folder(out / network.name))

    def keep(self, name: str, key: list[Any], fill: Callable[[Path], object]) -> Path:
        name = name.replace(", ", "-").replace(" ", "-")
        shared = [VERSION, self.network.name, self.data.fingerprint, versions(), machine(), own_sources()]
        return self._cache.keep(name, sha256(canonical_json([*shared, name, *key])), fill)

    @cached_property
    def start(self) -> Path:
        """The network before anything is taken from it, trained."""
        network, section = begun(self.network, self._checkpoints)

        def make(folder: Path) -> None:
            say(f"{self.network.name}: training before anything is taken")
            history = fit(network, self.data, section, CrossEntropy(), FitOptions(name=self.network.name))
            write_json(folder / HISTORY, {"history": history_to_json(history)})
            capture(network, self.network.spec).save(folder)

        return self.keep("start", [section.model_dump(mode="json"), sha256_of(network)], make)

    @cached_property
    def teacher(self) -> Remembered:
        return Remembered(load(self.start))

    @cached_property
    def statistics(self) -> tuple[Tensor, ...]:
        """Training images in batches, for BatchNorm and for the ranges of 8 bits."""
        data = self.data
        chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:STATISTICS]
        return tuple(only(data.to_input(raw)) for raw, _ in data.train.stream(chosen.split(data.batch_size)))

    def taken(self, way: str, share: float) -> Path:
        """The network after ``way`` with ``share`` of its multiply-accumulates, before any training."""

        def make(folder: Path) -> None:
            say(f"{self.network.name}: {way}, {share:.1%}")
            network, spec = WAYS[way](load(self.start), self.network, share)
            if way != WHOLE:
                reestimate(network, self.statistics)
            capture(network, spec).save(folder)
            macs, parameters = count_macs(network, self.network.shape), count_parameters(network)
            write_json(folder / ABOUT, {"macs": macs, "parameters": parameters})

        return self.keep(way, [self.start.name, share], make)

    def trained(self, way: str, share: float, seed: int, rate: float) -> Path:
        """The network of :meth:`taken`, trained on, and its files."""
        before, section = self.taken(way, share), Train(epochs=self.settings.epochs, lr=rate)
        name = f"{way}, rate {rate:g}, seed {seed}"

        def make(folder: Path) -> None:
            network, objective = load(before), Distillation(self.teacher, KD(TEMPERATURE), HARD_WEIGHT)
            about = FitOptions(seed=seed, name=f"{self.network.name}, {name}")
            history = fit(network, self.data, section, objective, about)
            write_json(folder / HISTORY, {"history": history_to_json(history)})
            capture(network, Spec.read(before)).save(folder)
            self._write_files(lay_out(network).eval(), folder)

        return self.keep(name, [before.name, section.model_dump(mode="json"), seed, TEMPERATURE, HARD_WEIGHT], make)

    def _write_files(self, network: nn.Module, folder: Path) -> None:
        data, profile = self.data, x86_profile()
        export_onnx(network, folder / BEFORE, data.preprocess, data.classes)
        again = load(folder)
        export_onnx(again, folder / FILES[FLOAT], data.preprocess, data.classes)
        graph = prepare(again, self.network.shape, profile)
        calibrate(graph, self.statistics[: CALIBRATION // data.batch_size])
        export_runtime(graph, folder / FILES[INT8], data.preprocess, profile, trained=profile, classes=data.classes)

    def validation(self, way: str, share: float, rate: float) -> float:
        """The accuracy there of one training; 0 where it diverges."""
        try:
            history = json.loads((self.trained(way, share, 0, rate) / HISTORY).read_text())["history"]
        except TrainingError as error:
            say(f"{self.network.name}, {way}, rate {rate}: {error}")
            return 0.0
        return float(history[-1]["validation_accuracy"])

    def right(self, file: Path) -> NDArray[np.bool_]:
        """Which test images ONNX Runtime classifies correctly with ``file``."""

        def make(folder: Path) -> None:
            logits = runtime_logits(file, self.data.inputs(self.data.test))
            np.save(folder / "predictions.npy", logits.argmax(1).numpy())

        folder = self.keep("predictions", [sha256_file(file)], make)
        return np.load(folder / "predictions.npy") == self.data.test.labels.numpy()

    def reload_difference(self, folder: Path) -> float:
        """The largest difference of logits between the files written before the network was saved, and behind it."""
        images = torch.cat(list(self.statistics))[:CHECKED]
        before, after = (runtime_logits(folder / name, [images]) for name in (BEFORE, FILES[FLOAT]))
        return float((before - after).abs().max())

    def timed(self, files: dict[str, Path]) -> dict[str, Any]:
        """A latency record of each file, all of one run."""

        def make(folder: Path) -> None:
            say(f"{self.network.name}: timing of {len(files)} files")
            workloads = {name: Workload(str(file)) for name, file in files.items()}
            records = measure(Plan(workloads, next(iter(files)), **self.settings.timing()))
            write_json(folder / "latency.json", {name: kept_of(record) for name, record in records.items()})

        key = [[name, sha256_file(file)] for name, file in files.items()]
        folder = self.keep("latency", [key, self.settings.timing()], make)
        found: dict[str, Any] = json.loads((folder / "latency.json").read_text())
        return found


def own_sources() -> str:
    """Hash those rooms of edgekd that networks and files come from."""
    rooms = ("export", "factorize", "prune", "quantize", "train")
    files = sorted(path for room in rooms for path in (Path(edgekd.__file__).parent / room).rglob("*.py"))
    return sha256(canonical_json([sha256_file(path) for path in files]))


def sha256_of(network: nn.Module) -> str:
    return sha256(b"".join(value.detach().numpy().tobytes() for value in network.state_dict().values()))
