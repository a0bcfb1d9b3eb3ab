"""One training, several files: what the files of one portable network answer, each in its own way.

    python benchmarks/one_training.py --json benchmarks/results/one_training.json

Networks, data and stages of ``quantize_accuracy.py``, whose finished work is used where --out is the same. Each network
is trained in 8 bits for all runtimes at once (profile ``portable``). Its ``onnxruntime-x86`` file is then run in ONNX
Runtime as it will be, and its ``tensorrt`` file in ONNX Runtime without optimisations, which computes step by step what
the file says: TensorRT needs a GPU. Both are compared with the network in PyTorch on all test images.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import quantize_accuracy as study_of
from cifar10 import BATCH_SIZE, ROOT, Study, as_student, prepare_study
from common import finish, goal, options, say
from rich.console import Console
from rich.table import Table
from torch.fx import GraphModule

from edgekd.export import parity, runtime_logits
from edgekd.files import make_folder, write_bytes
from edgekd.quantize.files import audit, to_runtime
from edgekd.quantize.qdq import to_qdq
from edgekd.recipe import Quantize
from edgekd.stages.network import restore
from edgekd.train import logits_of

AGREEMENT, POINTS = 99.5, 0.1
FILES = {"onnxruntime-x86": True, "tensorrt": False}


def compare(study: Study, name: str, graph: GraphModule, folder: Path) -> list[dict[str, Any]]:
    data = study.data
    ours = logits_of(graph, data, data.test)
    right = float((ours.argmax(1) == data.test.labels).double().mean())
    qdq = to_qdq(graph, data.preprocess, data.classes)
    found = []
    for target, optimised in FILES.items():
        model = to_runtime(qdq, graph, "portable", target)
        path = folder / f"{name}-{target}.onnx"
        write_bytes(path, model.SerializeToString(deterministic=True))
        theirs = runtime_logits(path, data.inputs(data.test), optimised)
        points = 100 * (float((theirs.argmax(1) == data.test.labels).double().mean()) - right)
        figures = {"network": name, "file": target, "pytorch": 100 * right, "points": points}
        found.append({**figures, "scales_compared": audit(model, graph), **asdict(parity(ours, theirs))})
        say(f"{name}, {target}: agrees on {found[-1]['agreement']:.2%}, {points:+.2f} points")
    return found


def main() -> None:
    arguments = options(__doc__)
    quick, folder = arguments.quick, make_folder(arguments.out or ROOT / "runs/quantize_accuracy")
    limit = study_of.QUICK_TRAIN_LIMIT if quick else study_of.TRAIN_LIMIT
    count = study_of.QUICK_CALIBRATION if quick else study_of.CALIBRATION
    study = prepare_study(
        folder, limit, study_of.QUICK_TEST_LIMIT if quick else study_of.TEST_LIMIT, round(study_of.PART * limit)
    )
    part = study.limited(round(study_of.PART * limit))
    shared: dict[str, Any] = {"epochs": study_of.QAT_EPOCHS, "calibration_batches": count // BATCH_SIZE}
    stage = Quantize(rungs=("qat",), profile="portable", placement="int8", **shared)
    rows = []
    for name, network in study_of.float_networks(study, part).items():
        graph = restore(part.run(0, [stage], as_student(network))[-1].artifact)
        assert isinstance(graph, GraphModule)
        rows += compare(part, name, graph, make_folder(folder / "one_training"))
    table = Table("Network", "File", "PyTorch %", "File, points", "Agrees %", "Largest / mean difference in steps")
    for row in rows:
        steps = f"{row['max_steps']:.1f} / {row['mean_steps']:.2f}"
        cells = (f"{row['pytorch']:.2f}", f"{row['points']:+.2f}", f"{100 * row['agreement']:.2f}", steps)
        table.add_row(row["network"], row["file"], *cells)
    Console(width=140).print(table)
    goals = [
        each
        for row in rows
        for each in (
            goal(f"{row['network']}, {row['file']}: agreement, %", AGREEMENT, 100 * row["agreement"]),
            goal(f"{row['network']}, {row['file']}: points apart", POINTS, abs(row["points"]), at_most=True),
        )
    ]
    finish(arguments, {"samples": part.counts(), "rows": rows}, goals)


if __name__ == "__main__":
    main()
