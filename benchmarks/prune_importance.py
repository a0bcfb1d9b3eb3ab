"""Which importance: ResNet-20 on CIFAR-10 cut to half of its MACs by each, and trained on with the teacher.

    python benchmarks/prune_importance.py --json benchmarks/results/prune_importance.json

Accuracies on all test images in ONNX Runtime, in pairs: behind the cut with BatchNorm estimated anew and nothing
trained, and after the training, for each seed in another order. ``random`` is the control, drawn anew for each seed.
``group_magnitude`` also with each scope, and with its scores weighted by the sensitivity that a scan measured on the
validation samples. Starting network, teacher, samples and rates are those of prune_pareto.py; so is its folder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from cifar10 import BATCH_SIZE, ONNX, Study, answers, calibration
from common import finish, goal, options, say
from paired import accuracy, difference, packed
from prune_pareto import STATISTICS, TAUGHT, Cut, Recoveries, kept, prepared
from prune_zoo import own_sources, versions
from rich.console import Console
from rich.table import Table

from edgekd.artifact import capture
from edgekd.artifact_cache import METRICS, ArtifactCache
from edgekd.export import export_onnx
from edgekd.files import write_json
from edgekd.models.batchnorm import reestimate
from edgekd.pipeline.stage_result import StageResult
from edgekd.prune import IMPORTANCES, prune
from edgekd.prune.prunable import Prunable
from edgekd.prune.sensitivity import scan
from edgekd.prune.weights import sensitivity_weights
from edgekd.stages.network import restore
from edgekd.tasks.tensors import only
from edgekd.train import metric_of
from edgekd.train.device import lay_out

SHARE, LABELLED, RATE = 0.5, 8, 0.005
USUAL, MEASURED = "group_magnitude", "group_magnitude, by measured harm"
CONTROL = "random"


@dataclass(frozen=True)
class Way:
    name: str
    importance: str
    scope: str = "paths"
    is_weighted: bool = False


WAYS = (
    *(Way(name, name) for name in IMPORTANCES),
    *(Way(f"{USUAL}, {scope}", USUAL, scope) for scope in ("global", "layer", "isomorphic")),
    Way(MEASURED, USUAL, is_weighted=True),
)


def cut(study: Study, start: StageResult, way: Way, seed: int) -> Cut:
    """The file of the network behind the cut lies in the folder too."""
    data, shape = study.data, study.data.input_shape
    name = f"{way.name.replace(', ', '-').replace(' ', '-')}-{seed}"

    def make(folder: Path) -> None:
        say(f"{way.name}: being cut")
        network = restore(start.artifact)
        statistics = calibration(data, 0, STATISTICS).split(BATCH_SIZE)
        ranking: dict[str, Any] = {
            "importance": way.importance,
            "scope": way.scope,
            "batches": labelled(study),
            "seed": seed,
        }
        if way.is_weighted:
            scanned = scan(network, shape, lambda each: metric_of(each, data, data.validation), batches=statistics)
            prunable = Prunable(network, shape, **ranking)
            ranking["weights"] = sensitivity_weights(scanned, prunable, 1 / len(data.validation))
        pruned = prune(network, shape, macs=SHARE, **ranking)
        reestimate(pruned.network, statistics)
        spec = start.artifact.spec
        capture(lay_out(pruned.network.eval()), spec.then("prune", pruned.plan)).save(folder)
        export_onnx(pruned.network, folder / ONNX, data.preprocess, data.classes)
        write_json(folder / METRICS, {"macs": pruned.share})

    key = ["importance", way.name, SHARE, LABELLED, seed, start.content, data.fingerprint, versions(), own_sources()]
    folder = kept(ArtifactCache(study.folder / "cuts"), name, key, make)
    return Cut(way.name, SHARE, StageResult("cut", name, folder.name, folder))


def labelled(study: Study) -> list[tuple[torch.Tensor, torch.Tensor]]:
    data = study.data
    chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0)).split(data.batch_size)
    return [(only(data.to_input(raw)), labels) for raw, labels in data.train.stream(chosen[:LABELLED])]


def row_of(study: Study, start: StageResult, recoveries: Recoveries, way: Way, seeds: int) -> dict[str, Any]:
    before, after = [], []
    for seed in range(seeds):
        # Only the control draws; the others are cut once.
        one = cut(study, start, way, seed if way.importance == CONTROL else 0)
        before.append(answers(study, one.done.folder / ONNX) == study.labels)
        after.append(answers(study, recoveries.run(one, TAUGHT, seed) / ONNX) == study.labels)
        say(f"{way.name}, seed {seed}: {before[-1].mean():.2%}, then {after[-1].mean():.2%}")
    return {"way": way.name, "macs": one.done.metrics["macs"], "right": {"cut": before, "trained": after}}


def show(rows: list[dict[str, Any]]) -> None:
    heads = ("Importance", "MACs", "Cut %", "Trained %", "sd", f"over {CONTROL}", "95 %", f"over {USUAL}", "95 %")
    table = Table(*heads)
    for row in rows:
        overs = [
            (f"{over['points']:+.2f}", "{:+.2f} to {:+.2f}".format(*over["ci95"])) for over in row["over"].values()
        ]
        table.add_row(
            row["way"],
            f"{row['macs']:.1%}",
            f"{row['accuracy']['cut']['percent']:.2f}",
            f"{row['accuracy']['trained']['percent']:.2f}",
            f"{row['accuracy']['trained']['sd']:.2f}",
            *(cell for pair in overs for cell in pair),
        )
    Console(width=150).print(table)


def main() -> None:
    arguments = options(__doc__)
    settings, study, start, recoveries = prepared(arguments)
    recoveries.rates[TAUGHT] = RATE
    rows = [row_of(study, start, recoveries, way, settings.seeds) for way in WAYS]
    right = {row["way"]: row["right"]["trained"] for row in rows}
    for row in rows:
        row["accuracy"] = {when: accuracy(each) for when, each in row["right"].items()}
        row["over"] = {other: difference(right[row["way"]], right[other]) for other in (CONTROL, USUAL)}
    show(rows)
    goals = [
        goal(f"{row['way']}: points over {CONTROL}", 0, row["over"][CONTROL]["points"])
        for row in rows
        if row["way"] != CONTROL
    ]
    figures = {
        **{"share": SHARE, "epochs": settings.epochs, "rate": RATE, "samples": study.counts(), "versions": versions()},
        "rows": [{**row, "right": {when: [*map(packed, each)] for when, each in row["right"].items()}} for row in rows],
    }
    finish(arguments, figures, goals)


if __name__ == "__main__":
    main()
