"""Writes what :mod:`tests.frozen` holds later versions to: ``python -m tests.frozen.record``, or ``... texts``.

Who runs it changes a promise, and says in the commit why. With ``texts`` only what commands print is written again.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import edgekd
from tests.frozen import products
from tests.frozen.commands import help_texts, printers, shown

WRITTEN = Path(__file__).with_name("written")
# Of the run of vectors: before any cut, with a cut, and with a cut and quantised. Those without a number are of
# model.json's version 1, which nothing writes any more.
NETWORKS = {"teacher-2": "00-teacher", "pruned-2": "02-prune", "quantized-2": "03-quantize"}


def question(count: int = 8) -> torch.Tensor:
    """Inputs (count, 16) that need no random numbers."""
    return torch.arange(16 * count).remainder(7).reshape(count, 16) / 8


def logits(folder: Path) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = edgekd.load(folder)(question()).numpy()
    return found


def record(runs: Path) -> None:
    products.RECORDED.write_text(json.dumps(products.made(runs), indent=1) + "\n")
    for name, stage in NETWORKS.items():
        [folder] = (runs / "vectors/run/stages").glob(f"{stage}-*")
        (WRITTEN / name).mkdir(exist_ok=True)
        for file in ("model.json", "weights.safetensors"):
            shutil.copy(folder / file, WRITTEN / name)
        (WRITTEN / name / "logits.json").write_text(json.dumps(logits(WRITTEN / name).tolist()) + "\n")
    shutil.rmtree(WRITTEN / "bundle", ignore_errors=True)
    shutil.copytree(runs / "vectors/run/bundle", WRITTEN / "bundle")
    # report.json is of version 1, which nothing writes any more, and the baseline was made of it.
    shutil.copy(runs / "digits/run/report.json", WRITTEN / "report-2.json")
    record_texts(runs)


def record_texts(folder: Path) -> None:
    (WRITTEN / "commands.txt").write_text(shown(Path(shutil.copytree(WRITTEN, folder / "written"))))
    (WRITTEN / "help.txt").write_text(help_texts())
    (WRITTEN / "printed.json").write_text(json.dumps(printers()) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        (record_texts if sys.argv[1:] == ["texts"] else record)(Path(made))
