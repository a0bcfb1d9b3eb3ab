"""Half of the multiply-accumulates by low-rank factors, and by pruning: accuracy, time and size of the same networks.

    python benchmarks/factorize.py --json benchmarks/results/factorize.json

The CIFAR ResNet-20 at 32x32, torchvision's ResNet-18 and MobileNetV2 at 64x64. Each is factorised to half of its
multiply-accumulates, pruned to as many as that left, and both are trained on equally long with the whole network as
the teacher, on the same batches; so is the whole network itself. Learning rates are the best on ResNet-20's validation
samples, for each way its own. Then each is saved, built anew from its plan and filled, exported as a float file and,
calibrated on the same images, as an int8 file.

Accuracies are ONNX Runtime's on the same test images, in pairs; times are its own of batch 1 on one thread, all files
of a network in one run in turns. Training images are a fixed subset of CIFAR-10 where ``--data`` holds it, as a folder
or an archive ``cifar10-jpeg.tar.gz``, with checkpoints beside it, and scikit-learn's digits elsewhere: accuracies
stand below those of a full training. Work is kept under --out, and a run that was killed goes on.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from common import finish, goal, options, say
from factorize_networks import CHECKPOINTS, NETWORKS, images_of, load_images, shortened
from factorize_study import (
    ABOUT,
    FACTORISED,
    FILES,
    FLOAT,
    PRUNED,
    QUICK,
    TUCKER,
    WAYS,
    WHOLE,
    Settings,
    Study,
)
from paired import accuracy, difference, packed
from prune_zoo import versions
from quantize_peers import latencies
from rich.console import Console
from rich.table import Table

from edgekd.files import make_folder
from edgekd.spec import Spec
from edgekd.stats.ratios import ratio_over_launches

ROOT = Path(__file__).parents[1]
SHARE = 0.5


def shares_of(study: Study) -> dict[str, float]:
    """What each way is told: half, and pruning what factorisation has left."""
    whole, left = (about_of(study.taken(way, SHARE))["macs"] for way in (WHOLE, FACTORISED))
    return {WHOLE: SHARE, FACTORISED: SHARE, TUCKER: SHARE, PRUNED: left / whole}


def ways_of(study: Study) -> list[str]:
    """Return the ways that differ: where only 1x1 convolutions are factorised, none is separated along the axes."""
    plans = {way: Spec.read(study.taken(way, SHARE)).transforms for way in (FACTORISED, TUCKER)}
    return [way for way in WAYS if way != TUCKER or plans[TUCKER] != plans[FACTORISED]]


def about_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / ABOUT).read_text())
    return found


def rows_of(study: Study, rates: dict[str, float]) -> list[dict[str, Any]]:
    """A row for each way: cost, accuracy and time of its files."""
    network, shares = study.network, shares_of(study)
    trained = {
        way: [study.trained(way, shares[way], seed, rates[way]) for seed in range(network.seeds)]
        for way in ways_of(study)
    }
    files = {f"{way}, {kind}": trained[way][0] / name for way in trained for kind, name in FILES.items()}
    times = study.timed(files)
    rows = []
    for way, folders in trained.items():
        right = {kind: [study.right(folder / name) for folder in folders] for kind, name in FILES.items()}
        rows.append(
            {
                **{"network": network.name, "way": way, "rate": rates[way], **about_of(study.taken(way, shares[way]))},
                "bytes": {kind: (folders[0] / name).stat().st_size for kind, name in FILES.items()},
                "reload_difference": max(study.reload_difference(folder) for folder in folders),
                "latency": {kind: times[f"{way}, {kind}"] for kind in FILES},
                **{"right": right, "accuracy": {kind: accuracy(each) for kind, each in right.items()}},
            }
        )
        say(f"{network.name}, {way}: " + ", ".join(f"{kind} {np.mean(each):.2%}" for kind, each in right.items()))
    for row in rows:
        for other in (WHOLE, PRUNED):
            against = next(each for each in rows if each["way"] == other)
            row[f"over_{other}"] = {kind: compared(row, against, kind) for kind in FILES}
    return rows


def compared(row: dict[str, Any], other: dict[str, Any], kind: str) -> dict[str, Any]:
    """Points of accuracy over ``other``, and the share of its time."""
    value, interval = ratio_over_launches(latencies(row["latency"][kind]), latencies(other["latency"][kind]))
    time = {"ratio": value, "ci95": list(interval or (value, value))}
    return {"accuracy": difference(row["right"][kind], other["right"][kind]), "time": time}


def show(rows: list[dict[str, Any]]) -> None:
    heads = ("Network", "Way", "MACs", "Parameters", "File", "Accuracy %", "over whole", "over pruned")
    table = Table(*heads, "ms", "Time over whole", "over pruned")
    for row in rows:
        whole = next(each for each in rows if (each["network"], each["way"]) == (row["network"], WHOLE))
        for kind in FILES:
            overs = [row[f"over_{other}"][kind] for other in (WHOLE, PRUNED)]
            table.add_row(
                *(row["network"], row["way"], f"{row['macs'] / whole['macs']:.3f}"),
                *(f"{row['parameters'] / 1e6:.3f} M", kind, f"{row['accuracy'][kind]['percent']:.2f}"),
                *(points(over["accuracy"]) for over in overs),
                f"{row['latency'][kind]['latency_ms']['p50']:.3f}",
                *("{:.3f} ({:.3f}–{:.3f})".format(over["time"]["ratio"], *over["time"]["ci95"]) for over in overs),
            )
    Console(width=180).print(table)


def points(over: dict[str, Any]) -> str:
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(over["points"], *over["ci95"])


def goals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        name = f"{row['network']}, {row['way']}"
        found.append(goal(f"{name}: difference of logits after reload", 0, row["reload_difference"], at_most=True))
        if row["way"] == WHOLE:
            whole = row["macs"]
            continue
        found.append(goal(f"{name}: share of the MACs", SHARE, row["macs"] / whole, at_most=True))
        surely = row["over_whole"][FLOAT]["time"]["ci95"][0]
        found.append(goal(f"{name}: time over the whole network's, surely", 1, surely, at_most=True))
        if row["way"] == FACTORISED:
            most = row["over_pruned"][FLOAT]["accuracy"]["ci95"][1]
            found.append(goal(f"{name}: points over pruning at equal MACs, at most", 0, most))
    return found


def main() -> None:
    arguments = options(
        __doc__,
        data={"type": Path, "default": ROOT / "data", "help": "a folder with cifar10-jpeg and checkpoints"},
    )
    settings, out = QUICK if arguments.quick else Settings(), make_folder(arguments.out or ROOT / "runs/factorize")
    images, rows, tried = images_of(arguments.data, out), [], {}
    rates: dict[str, float] = {}
    for network in [shortened(each, 1) for each in NETWORKS[::2]] if arguments.quick else NETWORKS:
        data = load_images(images, network.side, settings.train_limit, settings.test_limit)
        study = Study(network, data, arguments.data / CHECKPOINTS, settings, out)
        if not rates:
            tried = {
                way: {rate: study.validation(way, share, rate) for rate in settings.rates}
                for way, share in shares_of(study).items()
            }
            rates = {way: max(found, key=lambda rate: found[rate]) for way, found in tried.items()}
        rows += rows_of(study, rates)
    show(rows)
    figures = {
        **{"settings": asdict(settings), "images": images.name if images else "digits", "versions": versions()},
        "validation_accuracy_of_rates": {
            way: {f"{rate:g}": value for rate, value in found.items()} for way, found in tried.items()
        },
        "rows": [{**row, "right": {kind: [*map(packed, each)] for kind, each in row["right"].items()}} for row in rows],
    }
    finish(arguments, figures, goals(rows))


if __name__ == "__main__":
    main()
