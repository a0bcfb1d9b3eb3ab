"""What 8 bits cost in accuracy: edgekd beside ONNX Runtime's and NNCF's quantisers, on CIFAR-10 in pairs.

    python benchmarks/quantize_accuracy.py --json benchmarks/results/quantize_accuracy.json

ResNet-20 and ResNet-56 from public checkpoints and a small MobileNetV2 taught here by the ResNet-56; one float network
of each. Every seed has calibration images of its own, the same for all quantisers, and an order of its own for
quantisation-aware training. All accuracies are what ONNX Runtime answers to all test images on this processor; where
it saturates (``saturates``), 8-bit weights lose accuracy that they would keep elsewhere, and every quantiser is also
there in its own way around it.

Two more tables: quantisation-aware training with the teacher from the start against one whose first half has none;
and networks quantised for one runtime beside those for all (profile ``portable``).

The training images are a fixed subset, so accuracies stand below those of a full training. Work is kept under --out,
and a run that was killed goes on.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cifar10 import BATCH_SIZE, ROOT, Study, answers, as_student, calibration, exported, prepare_study
from common import finish, goal, options, say
from numpy.typing import NDArray
from paired import accuracy, difference, packed
from peers import FILES, quantise, runs, saturates, version_of, x86_profile
from rich.console import Console
from rich.table import Table

from edgekd.artifact_cache import ArtifactCache
from edgekd.files import canonical_json, sha256, sha256_file, write_json
from edgekd.formatting import ABSENT
from edgekd.pipeline.stage_result import StageResult
from edgekd.recipe import Distill, Quantize, Student

SEEDS, TRAIN_LIMIT, TEST_LIMIT, CALIBRATION = 3, 4000, 5000, 320
QUICK_SEEDS, QUICK_TRAIN_LIMIT, QUICK_TEST_LIMIT, QUICK_CALIBRATION = 1, 1500, 500, 64
# All but MobileNetV2, which starts from random weights, take a part of the training samples.
PART = 0.5
MOBILENET = Distill(epochs=16, lr=0.05)
ACCUSTOM = Distill(epochs=1, lr=0.005)
QAT_EPOCHS = 1
FLOAT, PTQ, QAT = "float", "edgekd PTQ", "edgekd QAT"
LATE = "edgekd QAT, teacher in the second half"
PORTABLE_PTQ, PORTABLE_QAT = "edgekd PTQ, portable", "edgekd QAT, portable"
STUDIED = "ResNet-20"
DROP = 0.2


@dataclass(frozen=True)
class Row:
    """What one file answered: ``right`` for each test sample, or why it could not."""

    network: str
    method: str
    seed: int
    right: NDArray[np.bool_] | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        own = {"network": self.network, "method": self.method, "seed": self.seed}
        return {**own, **({"error": self.error} if self.right is None else {"right": packed(self.right)})}


def edgekd_stages(name: str, calibration_batches: int) -> dict[str, Quantize]:
    """edgekd's methods for the network ``name``, as the last stage of a recipe; all of edgekd that is compared."""
    # What 8 bits cost is asked here, not where they are fast.
    shared: dict[str, Any] = {"epochs": QAT_EPOCHS, "calibration_batches": calibration_batches, "placement": "int8"}
    here = {"profile": x86_profile(), **shared}
    stages = {PTQ: Quantize(rungs=("ptq",), **here), QAT: Quantize(rungs=("qat",), **here)}
    if name != STUDIED:
        return stages
    return stages | {
        LATE: Quantize(rungs=("qat",), teacher_after=0.5, **here),
        PORTABLE_PTQ: Quantize(rungs=("ptq",), profile="portable", **shared),
        PORTABLE_QAT: Quantize(rungs=("qat",), profile="portable", **shared),
    }


def float_networks(study: Study, part: Study) -> dict[str, StageResult]:
    teacher = study.recipe.teacher
    # With projections for padded shortcuts, as a student has them; the outputs are the teacher's.
    large = Student(model=teacher.model, checkpoint=teacher.checkpoint)
    small = Student(model=f"{ROOT}/benchmarks/networks.py:mobilenet_v2_cifar")
    return {
        STUDIED: part.run(0, [ACCUSTOM])[-1],
        "ResNet-56": part.run(0, [Distill(epochs=0)], large)[-1],
        "MobileNetV2": study.run(0, [MOBILENET], small)[-1],
    }


def peers_file(study: Study, peer: str, float_file: Path, seed: int, count: int) -> tuple[Path | None, str | None]:
    """The peer's file, and where there is none that runs, why."""
    name = peer.replace("/", "-").replace(" ", "-")
    key = sha256(canonical_json([peer, version_of(peer), sha256_file(float_file), study.data.fingerprint, seed, count]))
    store = ArtifactCache(study.folder / "peers")

    def fill(new: Path) -> None:
        images = calibration(study.data, seed, count).numpy()
        made = quantise(peer, float_file, new / "model.onnx", images)
        error = made.error or runs(new / "model.onnx", images[:1])
        write_json(new / "made.json", {"error": error, "seconds": made.seconds})

    folder = store.keep(name, key, fill)
    error = json.loads((folder / "made.json").read_text())["error"]
    return (None, error) if error else (folder / "model.onnx", None)


def compare(study: Study, name: str, network: StageResult, seeds: int, count: int) -> list[Row]:
    """The float network, edgekd's methods and the peers, on the same test samples."""
    float_file = exported(study, network)
    rows = []

    def add(method: str, seed: int, file: Path | None, error: str | None = None) -> None:
        right = None if file is None else answers(study, file) == study.labels
        rows.append(Row(name, method, seed, right, error))
        say(f"{name}, seed {seed}, {method}: {error if right is None else format(right.mean(), '.2%')}")

    for seed in range(seeds):
        add(FLOAT, seed, float_file)
        for method, stage in edgekd_stages(name, count // BATCH_SIZE).items():
            add(method, seed, exported(study, study.run(seed, [stage], as_student(network))[-1]))
        for peer in FILES:
            add(peer, seed, *peers_file(study, peer, float_file, seed, count))
    return rows


def right_of(rows: list[Row], network: str, method: str) -> list[NDArray[np.bool_]]:
    """Of every seed; none where a seed has no file."""
    found = [row.right for row in rows if (row.network, row.method) == (network, method)]
    return [right for right in found if right is not None] if all(right is not None for right in found) else []


def summary(rows: list[Row]) -> list[dict[str, Any]]:
    found = []
    for network, method in dict.fromkeys((row.network, row.method) for row in rows):
        right = right_of(rows, network, method)
        about: dict[str, Any] = {"network": network, "method": method}
        if not right:
            errors = [row.error for row in rows if (row.network, row.method) == (network, method) and row.error]
            found.append({**about, "error": errors[0]})
            continue
        over = difference(right, right_of(rows, network, FLOAT))
        found.append({**about, "accuracy": accuracy(right), "over_float": over})
    return found


def over_best_peer(rows: list[Row], methods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What edgekd's methods have over the peer that is best on that network."""
    found = []
    for network in dict.fromkeys(row.network for row in rows):
        peers = [one for one in methods if one["network"] == network and one["method"] in FILES and "accuracy" in one]
        if not peers:
            continue
        best = max(peers, key=lambda one: one["accuracy"]["percent"])["method"]
        for method in (PTQ, QAT):
            over = difference(right_of(rows, network, method), right_of(rows, network, best))
            found.append({"network": network, "method": method, "best_peer": best, "over_best_peer": over})
    return found


def questions(rows: list[Row]) -> list[dict[str, Any]]:
    """The two further tables: each method against the one that it is a change of."""
    pairs = {LATE: QAT, PORTABLE_PTQ: PTQ, PORTABLE_QAT: QAT}
    return [
        {
            "network": STUDIED,
            "method": method,
            "against": against,
            "difference": difference(right_of(rows, STUDIED, method), right_of(rows, STUDIED, against)),
        }
        for method, against in pairs.items()
    ]


def show(methods: list[dict[str, Any]], over_peers: list[dict[str, Any]], asked: list[dict[str, Any]]) -> None:
    table = Table("Network", "Method", "Accuracy %", "sd of seeds", "over float", "95 %")
    for one in methods:
        if "error" in one:
            table.add_row(one["network"], one["method"], ABSENT, "", one["error"], "")
            continue
        about = one["accuracy"]
        spread = f"{about['sd']:.2f}" if "sd" in about else ""
        table.add_row(one["network"], one["method"], f"{about['percent']:.2f}", spread, *shown(one["over_float"]))
    against = Table("Network", "Method", "against", "Points", "95 %")
    for one in over_peers:
        against.add_row(one["network"], one["method"], one["best_peer"], *shown(one["over_best_peer"]))
    for one in asked:
        against.add_row(one["network"], one["method"], one["against"], *shown(one["difference"]))
    Console(width=140).print(table, against)


def shown(over: dict[str, Any]) -> tuple[str, str]:
    low, high = over["ci95"]
    return f"{over['points']:+.2f}", f"{low:+.2f} to {high:+.2f}"


def goals(methods: list[dict[str, Any]], over_peers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    drops = [
        goal(f"{one['network']}: points of {QAT} over float", -DROP, one["over_float"]["points"])
        for one in methods
        if one["method"] == QAT
    ]
    beside = [
        goal(f"{one['network']}: points of {one['method']} over the best peer", 0, one["over_best_peer"]["points"])
        for one in over_peers
    ]
    return drops + beside


def main() -> None:
    arguments = options(__doc__)
    quick, folder = arguments.quick, arguments.out or ROOT / "runs/quantize_accuracy"
    limit, test = (QUICK_TRAIN_LIMIT, QUICK_TEST_LIMIT) if quick else (TRAIN_LIMIT, TEST_LIMIT)
    seeds, count = (QUICK_SEEDS, QUICK_CALIBRATION) if quick else (SEEDS, CALIBRATION)
    study = prepare_study(folder, limit, test, round(PART * limit))
    part = study.limited(round(PART * limit))
    rows = [
        row
        for name, network in float_networks(study, part).items()
        for row in compare(part, name, network, seeds, count)
    ]
    methods = summary(rows)
    over_peers, asked = over_best_peer(rows, methods), questions(rows)
    show(methods, over_peers, asked)
    figures = {
        "saturates": saturates(),
        "peers": {peer: version_of(peer) for peer in FILES},
        "samples": {**part.counts(), "train_of_mobilenet": len(study.data.train), "calibration": count},
        "epochs": {"MobileNetV2": MOBILENET.epochs, "ResNet-20": ACCUSTOM.epochs, "QAT": QAT_EPOCHS},
        **{"methods": methods, "over_best_peer": over_peers, "questions": asked},
        "rows": [row.to_json() for row in rows],
    }
    finish(arguments, figures, goals(methods, over_peers))


if __name__ == "__main__":
    main()
