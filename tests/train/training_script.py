"""A script for torchrun: trains on digits, and writes what each rank has of it into a folder."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekd.artifact import tensors_of
from edgekd.data import load_data
from edgekd.distill import Distillation
from edgekd.distill.build import LossSpec, build_terms
from edgekd.errors import DataError
from edgekd.log import show_logs
from edgekd.models import build
from edgekd.recipe import Data, Train
from edgekd.train import CrossEntropy, FitOptions, Objective, distributed, fit
from edgekd.train.history import history_to_json

EPOCHS = 3


def train(batch_size: int, *, kind: str = "labels", folder: Path | None = None, die: bool = False) -> dict[str, Any]:
    data = load_data(
        Data(source="digits", batch_size=batch_size, train_limit=400, test_limit=60, augment=("crop", "flip"))
    )
    torch.manual_seed(distributed.rank())  # all are to start from the first one's weights
    network = build("resnet8", (1, 8, 8), 10, width=8)
    section = Train(epochs=EPOCHS, lr=0.05, freeze=["layer1"] if kind == "frozen" else [], clip_norm=1.0)

    def before_step(step: int, total: int) -> None:
        if die and step == 2 * total // EPOCHS + 2 and distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    history = fit(
        network, data, section, objective_of(kind, network), FitOptions(float32=True, folder=folder, save_every=0,
        before_step=before_step),
    )  # fmt: skip
    return {
        "history": history_to_json(history),
        "weights": {name: t.tolist() for name, t in tensors_of(network).items()},
    }


def objective_of(kind: str, network: nn.Module) -> Objective:
    if kind != "features":
        return CrossEntropy()
    torch.manual_seed(5)
    teacher = build("resnet8", (1, 8, 8), 10, width=12).eval()
    torch.manual_seed(distributed.rank())  # adapters too are the first one's
    terms = build_terms([LossSpec("kd"), LossSpec("reviewkd")], network, teacher, (1, 8, 8), temperature=4.0)
    return Distillation(teacher, terms, hard_weight=0.0, balance=True)


def refuse() -> None:
    raise DataError("the first one refuses")


def words() -> dict[str, Any]:
    """What the collectives give in this process."""
    try:
        distributed.on_rank_zero(refuse)
        refused = ""
    except DataError as error:
        refused = str(error)
    return {
        "rank": distributed.rank(),
        "on_rank_zero": distributed.on_rank_zero(lambda: f"from rank {distributed.rank()}"),
        "mean": float(distributed.mean(torch.tensor(float(distributed.rank())))),
        "maximum": float(distributed.maximum(torch.tensor(float(distributed.rank())))),
        "shard": distributed.shard(torch.arange(7)).tolist(),
        "all_gather": distributed.all_gather(distributed.shard(torch.arange(6))).tolist(),
        "rank_zero_first": distributed.rank_zero_first(lambda: distributed.rank()),
        "refused": refused,
    }


if __name__ == "__main__":
    show_logs()
    out, kinds = Path(sys.argv[1]), sys.argv[2].split(",")
    found = {kind: train(16, kind=kind, folder=out / kind, die="--die" in sys.argv) for kind in kinds}
    found["words"] = words()
    (out / f"rank-{distributed.rank()}.json").write_text(json.dumps(found))
