"""Accuracy against measured latency after pruning: edgekd beside torch-pruning, ResNet-20 on CIFAR-10.

    python benchmarks/prune_pareto.py --json benchmarks/results/prune_pareto.json

Four ways to cut: torch-pruning as the quick start of its README does it, uniform ratios; edgekd by MACs; edgekd by the
latency that is measured; and the same with whole blocks dropped first and groups ranked by the sensitivity that a scan
on the validation split measured, all rounded to 8 channels. Of the ratio and of the share of MACs, which know nothing
of latency, those are taken that come near the same latencies; more than three ratios, so that their curve spans the
others. A cut is made once; then its BatchNorm is estimated anew and it is trained, equally
long at the same rates for all, with the teacher (ResNet-56) and on labels alone, in a different order for each seed.
The rate of either recovery is the best on the validation split for torch-pruning's network in the middle; how many
blocks go, and whether measured sensitivity ranks, is for each latency what is best there over all seeds.

Accuracies are ONNX Runtime's on the same test images, in pairs; latencies are its own of batch 1 on one thread, all
files in one run in turns, as shares of the uncut network's, which is trained on as long. The training images are a
fixed subset, so accuracies stand below those of a full training. Work is kept under --out, and a run that was killed
goes on.
"""

import argparse
import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from cifar10 import BATCH_SIZE, ONNX, ROOT, Study, answers, calibration, prepare_study
from common import finish, goal, options, say
from paired import accuracy, difference, packed
from pareto_plot import Curve, at_equal_accuracy, picture
from prune_zoo import own_sources, versions
from quantize_peers import kept_of, latencies
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from edgekd.artifact import capture
from edgekd.artifact_cache import METRICS, ArtifactCache
from edgekd.bench import Plan as BenchPlan
from edgekd.bench import Workload, fingerprint, measure
from edgekd.distill import KD, Distillation
from edgekd.errors import ModelError, TrainingError
from edgekd.export import export_onnx
from edgekd.files import canonical_json, sha256, sha256_file, write_json
from edgekd.formatting import ABSENT
from edgekd.models import count_macs
from edgekd.models.batchnorm import reestimate
from edgekd.pipeline.stage_result import StageResult
from edgekd.prune import prune, widths
from edgekd.prune.depth import cut_depth
from edgekd.prune.latency import LatencyTable
from edgekd.prune.latency_target import prune_to_latency
from edgekd.prune.plan import Plan
from edgekd.prune.prunable import Prunable
from edgekd.prune.sensitivity import scan
from edgekd.prune.weights import sensitivity_weights
from edgekd.recipe import Distill, Train
from edgekd.stages.network import restore
from edgekd.stages.prune.work import RANKING_SAMPLES
from edgekd.stats.ratios import ratio_over_launches
from edgekd.tasks.classification.train import divergence
from edgekd.train import CrossEntropy, FitOptions, Objective, fit, logits_of, metric_of
from edgekd.train.device import lay_out
from edgekd.train.history import history_to_json

UNCUT, UNIFORM = "uncut", "torch-pruning, uniform"
BY_MACS, BY_LATENCY = "edgekd by MACs", "edgekd by latency"
CHOSEN = "edgekd by latency, chosen on validation"
TAUGHT, PLAIN = "with the teacher", "labels alone"
STYLES = {TAUGHT: "-", PLAIN: "--"}
START = Distill(epochs=1, lr=0.005)
ROUND_TO, STATISTICS = 8, 512
TEMPERATURE, HARD_WEIGHT = 4.0, 0.1
FASTER, POINTS = 1.15, 0.5
VERSION = 2
Made = tuple[nn.Module, list[Plan], dict[str, Any]]
How = tuple[float, bool] | None
Cutter = Callable[[Study, nn.Module, float, How], Made]


@dataclass(frozen=True)
class Settings:
    """How much is done.

    ``middle`` is the ratio whose network the rates are chosen on; ``tries`` are what is chosen among for each latency:
    the share of MACs that dropping blocks leaves, and whether measured sensitivity ranks.
    """

    train_limit: int = 6000
    validation: float = 0.4
    test_limit: int | None = None
    ratios: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)
    macs: tuple[float, ...] = (0.6, 0.4, 0.22)
    latency: tuple[float, ...] = (0.7, 0.55, 0.4)
    tries: tuple[tuple[float, bool], ...] = ((0.92, False), (1.0, True), (0.92, True), (0.85, True))
    middle: float = 0.2
    rates: tuple[float, ...] = (0.005, 0.01, 0.02)
    epochs: int = 3
    seeds: int = 3
    seconds: float = 2.0
    max_seconds: float = 3.0
    launches: int = 8

    def aims(self) -> dict[str, tuple[float, ...]]:
        return {
            UNCUT: (1.0,),
            UNIFORM: self.ratios,
            BY_MACS: self.macs,
            BY_LATENCY: self.latency,
            CHOSEN: self.latency,
        }

    def timing(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "max_seconds": self.max_seconds, "launches": self.launches}


QUICK = Settings(
    train_limit=400, test_limit=300, ratios=(0.1,), macs=(0.4,), latency=(0.5,),
    tries=((0.92, False), (0.92, True)), middle=0.1,
    rates=(0.02, 0.05), epochs=1, seeds=2, seconds=0.6, max_seconds=0.6, launches=6,
)  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """A cut network before it is trained on; ``aim`` is what its method was told, and ``how`` one of the tries."""

    method: str
    aim: float
    done: StageResult

    @property
    def name(self) -> str:
        return self.done.label


class Remembered(nn.Module):
    """A teacher that answers each batch once: with one seed, every network is trained on the same batches."""

    def __init__(self, teacher: nn.Module):
        super().__init__()
        self.teacher = teacher
        self.answers: dict[bytes, Tensor] = {}

    def forward(self, inputs: Tensor) -> Tensor:
        key = hashlib.sha256(inputs.cpu().contiguous().numpy().data).digest()
        if key not in self.answers:
            self.answers[key] = self.teacher(inputs).cpu()
        return self.answers[key].to(inputs.device)


def uncut(study: Study, network: nn.Module, *_: Any) -> Made:
    return copy.deepcopy(network), [], {}


def uniform(study: Study, network: nn.Module, ratio: float, *_: Any) -> Made:
    """What the quick start of torch-pruning's README does, with another ``ratio``."""
    network, example = copy.deepcopy(network), torch.randn(1, *study.data.input_shape)
    classes = len(study.data.classes)
    ignored = [layer for layer in network.modules() if isinstance(layer, nn.Linear) and layer.out_features == classes]
    pruner = tp.pruner.BasePruner(
        network,
        example,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=ignored,
        round_to=ROUND_TO,
    )
    pruner.step()
    return network, [pruner.pruning_history()], {}


def by_macs(study: Study, network: nn.Module, share: float, *_: Any) -> Made:
    pruned = prune(network, study.data.input_shape, macs=share, round_to=ROUND_TO)
    return pruned.network, [pruned.plan], {}


def by_latency(study: Study, network: nn.Module, share: float, *_: Any) -> Made:
    return to_latency(study, network, share, network)


def to_latency(study: Study, network: nn.Module, share: float, of: nn.Module, weighted: bool = False) -> Made:
    def write(smaller: nn.Module, path: Path) -> None:
        export_onnx(smaller, path, study.data.preprocess)

    shape = study.data.input_shape
    weights = measured_weights(study, network) if weighted else None
    prunable = Prunable(network, shape, round_to=ROUND_TO, weights=weights)
    timed = prune_to_latency(prunable, share, LatencyTable("float32", threads=1), write, reference=of)
    return timed.network, [timed.plan], {"timing": asdict(timed.timing)}


def measured_weights(study: Study, network: nn.Module) -> dict[str, float]:
    """By a scan of the validation split, BatchNorm estimated anew after each of its cuts."""
    data, shape = study.data, study.data.input_shape

    def score(smaller: nn.Module) -> float:
        return metric_of(smaller, data, data.validation)

    statistics = calibration(data, 0, STATISTICS).split(BATCH_SIZE)
    scanned = scan(network, shape, score, round_to=ROUND_TO, batches=statistics)
    return sensitivity_weights(scanned, Prunable(network, shape, round_to=ROUND_TO), 1 / len(data.validation))


def chosen(study: Study, network: nn.Module, share: float, how: How) -> Made:
    """Blocks are ranked as the prune stage ranks them, by the divergence of the logits on validation samples."""
    assert how is not None
    depth, by_harm = how
    if depth == 1:
        found, plans, about = to_latency(study, network, share, network, by_harm)
        return found, plans, {**about, "depth": depth, "by_harm": by_harm, "dropped": []}
    data, shape = study.data, study.data.input_shape
    statistics = calibration(data, 0, STATISTICS).split(BATCH_SIZE)
    samples = data.validation.select(torch.arange(min(RANKING_SAMPLES, len(data.validation))))
    exact = logits_of(network, data, samples)

    def degradation(shorter: nn.Module) -> float:
        reestimate(shorter, statistics)
        return float(divergence(logits_of(shorter, data, samples), exact).sum())

    short = cut_depth(network, shape, cost=lambda each: count_macs(each, shape), target=depth, degradation=degradation)
    reestimate(short.network, statistics)
    found, plans, about = to_latency(study, short.network, share, network, by_harm)
    about |= {"depth": depth, "by_harm": by_harm, "dropped": [path for path, _ in short.dropped]}
    return found, [short.plan, *plans], about


CUTTERS: dict[str, Cutter] = {
    UNCUT: uncut,
    UNIFORM: uniform,
    BY_MACS: by_macs,
    BY_LATENCY: by_latency,
    CHOSEN: chosen,
}


def kept(store: ArtifactCache, name: str, key: list[Any], make: Callable[[Path], None]) -> Path:
    """The folder that ``make`` filled, now or before."""
    digest = sha256(canonical_json([VERSION, *key]))
    return store.keep(name, digest, make)


def machine() -> dict[str, Any]:
    here = fingerprint().to_json()
    return {part: here[part] for part in ("cpu", "packages", "kernel")}


def name_of(method: str, aim: float, how: How) -> str:
    name = f"{method.replace(', ', '-').replace(' ', '-')}-{aim:g}"
    return f"{name}-{how[0]:g}{'-by-harm' if how[1] else ''}" if how else name


def cut_each(
    study: Study, start: StageResult, method: str, aim: float, ways: tuple[How, ...]
) -> tuple[list[Cut], dict[str, str]]:
    """The cuts that can be made; and why the others, by name, cannot: a processor may not run them so fast."""
    cuts, errors = [], {}
    for how in ways:
        try:
            cuts.append(cut(study, start, method, aim, how))
        except ModelError as error:
            errors[name_of(method, aim, how)] = str(error)
            say(f"{name_of(method, aim, how)}: {error}")
    return cuts, errors


def cut(study: Study, start: StageResult, method: str, aim: float, how: How = None) -> Cut:
    name = name_of(method, aim, how)

    def make(folder: Path) -> None:
        say(f"{method}, {aim:g}: being cut")
        torch.manual_seed(0)
        network, plans, about = CUTTERS[method](study, restore(start.artifact), aim, how)
        reestimate(network, calibration(study.data, 0, STATISTICS).split(BATCH_SIZE))
        spec = start.artifact.spec
        shape = spec.input_shape
        about |= {"macs": count_macs(network, shape) / count_macs(restore(start.artifact), shape)}
        about |= {"widths": widths(network)}
        for plan in plans:
            spec = spec.then("prune", plan)
        capture(lay_out(network.eval()), spec).save(folder)
        write_json(folder / METRICS, about)

    key = [name, start.content, study.data.fingerprint, versions(), own_sources(), machine()]
    folder = kept(ArtifactCache(study.folder / "cuts"), name, key, make)
    return Cut(method, aim, StageResult("cut", name, folder.name, folder))


class Recoveries:
    """Trains cut networks on, each with and without the teacher; ``rates`` are those of the two."""

    def __init__(self, study: Study, teacher: StageResult, epochs: int):
        self.study, self.teacher, self.epochs = study, teacher, epochs
        self.answering = Remembered(restore(teacher.artifact))
        self.store = ArtifactCache(study.folder / "recovered")
        self.rates: dict[str, float] = {}

    def objective(self, recovery: str) -> Objective:
        if recovery == PLAIN:
            return CrossEntropy()
        return Distillation(self.answering, KD(TEMPERATURE), HARD_WEIGHT)

    def run(self, one: Cut, recovery: str, seed: int, rate: float | None = None) -> Path:
        """The folder with the trained network's file and its history."""
        section = Train(epochs=self.epochs, lr=rate or self.rates[recovery])
        teacher = self.teacher.content if recovery == TAUGHT else ""
        key = [one.done.content, recovery, teacher, section.model_dump(mode="json"), seed]
        key += [self.study.data.fingerprint, BATCH_SIZE, TEMPERATURE, HARD_WEIGHT]
        return kept(self.store, one.name, key, partial(self._train, one, recovery, seed, section))

    def _train(self, one: Cut, recovery: str, seed: int, section: Train, folder: Path) -> None:
        network, data = restore(one.done.artifact), self.study.data
        name = f"{one.name}, {recovery}, rate {section.lr:g}, seed {seed}"
        history = fit(network, data, section, self.objective(recovery), FitOptions(seed=seed, name=name))
        export_onnx(network, folder / ONNX, data.preprocess, data.classes)
        write_json(folder / METRICS, {"history": history_to_json(history)})

    def choose_rates(self, one: Cut, rates: tuple[float, ...]) -> dict[str, dict[str, float]]:
        """Takes for each recovery the rate with the highest validation accuracy; gives those of all rates."""
        found: dict[str, dict[str, float]] = {}
        for recovery in STYLES:
            tried = {rate: self.validation(one, recovery, rate) for rate in rates}
            self.rates[recovery] = max(rates, key=lambda rate: tried[rate])
            found[recovery] = {f"{rate:g}": value for rate, value in tried.items()}
        return found

    def validation(self, one: Cut, recovery: str, rate: float | None = None, seed: int = 0) -> float:
        """The accuracy there of one training."""
        try:
            history = json.loads((self.run(one, recovery, seed, rate) / METRICS).read_text())["history"]
        except TrainingError as error:
            say(f"{one.name}, {recovery}, rate {rate}: {error}")
            return 0.0
        return history[-1]["validation_accuracy"]

    def choose(self, tries: list[Cut], seeds: int) -> tuple[Cut, dict[str, float]]:
        """The cut with the highest mean accuracy there, taught; and those of all."""
        found = {
            one.name: float(np.mean([self.validation(one, TAUGHT, seed=seed) for seed in range(seeds)]))
            for one in tries
        }
        return max(tries, key=lambda one: found[one.name]), found


def run_all(
    study: Study, recoveries: Recoveries, cuts: list[Cut], seeds: int
) -> tuple[list[dict[str, Any]], list[Path]]:
    """A row for each cut, and a file of each: what is timed."""
    rows: list[dict[str, Any]] = [
        {"method": one.method, "aim": one.aim, **one.done.metrics, "right": {recovery: [] for recovery in STYLES}}
        for one in cuts
    ]
    for seed in range(seeds):
        for one, row in zip(cuts, rows, strict=True):
            for recovery in STYLES:
                right = answers(study, recoveries.run(one, recovery, seed) / ONNX) == study.labels
                say(f"{one.name}, {recovery}, seed {seed}: {right.mean():.2%}")
                row["right"][recovery].append(right)
    for row in rows:
        right = row["right"]
        row["accuracy"] = {recovery: accuracy(right[recovery]) for recovery in STYLES}
        row["taught_over_plain"] = difference(right[TAUGHT], right[PLAIN])
    return rows, [recoveries.run(one, TAUGHT, 0) / ONNX for one in cuts]


def timed(study: Study, cuts: list[Cut], files: list[Path], timing: dict[str, Any]) -> list[dict[str, Any]]:
    """Each file's latency, and its share of the uncut network's, all of one run."""
    workloads = {one.name: Workload(str(file)) for one, file in zip(cuts, files, strict=True)}
    reference = next(one.name for one in cuts if one.method == UNCUT)

    def make(folder: Path) -> None:
        say(f"timing of {len(workloads)} files")
        records = measure(BenchPlan(workloads, reference, **timing))
        write_json(folder / "latency.json", {name: kept_of(record) for name, record in records.items()})

    key = [[sha256_file(file) for file in files], timing, machine()]
    folder = kept(ArtifactCache(study.folder / "measurements"), "latency", key, make)
    records = json.loads((folder / "latency.json").read_text())
    found = []
    for one in cuts:
        record = records[one.name]
        ratio, interval = ratio_over_launches(latencies(record), latencies(records[reference]))
        found.append({"latency": ratio, "latency_ci95": list(interval or (ratio, ratio)), "record": record})
    return found


def curve(rows: list[dict[str, Any]], methods: tuple[str, ...], recovery: str) -> Curve:
    own = [row for row in rows if row["method"] in methods]
    latency, ci95 = (np.array([row[key] for row in own]) for key in ("latency", "latency_ci95"))
    return Curve(latency, ci95, np.array([row["right"][recovery] for row in own]))


def compare(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """edgekd's networks against the uniform ones at equal accuracy; and the teacher's part in every cut one."""
    uniform_curves = {recovery: curve(rows, (UNIFORM, UNCUT), recovery) for recovery in STYLES}
    faster = {
        method: at_equal_accuracy({recovery: curve(rows, (method,), recovery) for recovery in STYLES}, uniform_curves)
        for method in (BY_MACS, BY_LATENCY, CHOSEN)
    }
    pruned = [row["right"] for row in rows if row["method"] != UNCUT]
    taught, plain = (np.mean([right[recovery] for right in pruned], axis=0) for recovery in (TAUGHT, PLAIN))
    return {"faster_at_equal_accuracy": faster, "taught_over_plain": difference(taught, plain)}


def show(rows: list[dict[str, Any]], compared: dict[str, Any]) -> None:
    table = Table("Method", "Aim", "MACs", "Latency", "95 %", *(f"{each} %" for each in STYLES), "Points", "95 %")
    for row in rows:
        shares = (f"{row['macs']:.1%}", f"{row['latency']:.1%}", "{:.3f}–{:.3f}".format(*row["latency_ci95"]))
        accuracies = (f"{row['accuracy'][recovery]['percent']:.2f}" for recovery in STYLES)
        over = row["taught_over_plain"]
        points = (f"{over['points']:+.2f}", "{:+.2f} to {:+.2f}".format(*over["ci95"]))
        table.add_row(row["method"], f"{row['aim']:g}", *shares, *accuracies, *points)
    faster = Table("At equal accuracy", "Recovery", "Accuracy %", "Times faster", "95 %")
    for method, about in compared["faster_at_equal_accuracy"].items():
        for one in (*about["networks"], {**about, "curve": "all", "accuracy": None}):
            figures = (f"{one['ratio']:.3f}", "{:.3f}–{:.3f}".format(*one["ci95"])) if "ratio" in one else (ABSENT, "")
            reached = ABSENT if one["accuracy"] is None else f"{one['accuracy']:.2f}"
            faster.add_row(method, one["curve"], reached, *figures)
    Console(width=140).print(table, faster)


def goals(compared: dict[str, Any]) -> list[dict[str, Any]]:
    # Where no network is as accurate as any uniform one, none is shown to be faster.
    faster = compared["faster_at_equal_accuracy"]
    return [
        *(
            goal(f"{each}: times faster than {UNIFORM} at equal accuracy", FASTER, faster[each].get("ratio", 0.0))
            for each in (BY_LATENCY, CHOSEN)
        ),
        goal(f"points of the recovery {TAUGHT} over {PLAIN}", POINTS, compared["taught_over_plain"]["points"]),
    ]


def prepared(arguments: argparse.Namespace) -> tuple[Settings, Study, StageResult, Recoveries]:
    """How much is done, on what, the network that is cut, and what trains it on."""
    settings, folder = QUICK if arguments.quick else Settings(), arguments.out or ROOT / "runs/prune_pareto"
    study = prepare_study(folder, settings.train_limit, settings.test_limit, validation=settings.validation)
    teacher, start = study.run(0, [START])
    return settings, study, start, Recoveries(study, teacher, settings.epochs)


def main() -> None:
    arguments = options(__doc__)
    settings, study, start, recoveries = prepared(arguments)
    tried = recoveries.choose_rates(cut(study, start, UNIFORM, settings.middle), settings.rates)
    cuts: list[Cut] = []
    of_tries: dict[str, float] = {}
    unreached: dict[str, str] = {}
    for method, aims in settings.aims().items():
        for aim in aims:
            tries, errors = cut_each(study, start, method, aim, settings.tries if method == CHOSEN else (None,))
            unreached |= errors
            if len(tries) > 1:
                one, found = recoveries.choose(tries, settings.seeds)
                cuts.append(one)
                of_tries |= found
            else:
                cuts += tries
    rows, files = run_all(study, recoveries, cuts, settings.seeds)
    for row, about in zip(rows, timed(study, cuts, files, settings.timing()), strict=True):
        row |= about
    compared = compare(rows)
    show(rows, compared)
    image = (arguments.json or study.folder / "prune_pareto").with_suffix(".png")
    picture(rows, STYLES, UNCUT, image)
    say(f"{image}: accuracy against latency")
    figures = {
        **{"settings": asdict(settings), "samples": study.counts(), "batch_size": BATCH_SIZE, "versions": versions()},
        **{"validation_accuracy_of_rates": tried, "rates": recoveries.rates},
        **{"validation_accuracy_of_tries": of_tries, "unreached": unreached},
        **compared,
        "rows": [{**row, "right": {name: [*map(packed, each)] for name, each in row["right"].items()}} for row in rows],
    }
    finish(arguments, figures, goals(compared))


if __name__ == "__main__":
    main()
