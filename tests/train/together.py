"""What test_world.py has torchrun start: a training on digits that leaves what each process has of it in a folder."""

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
from edgekd.distill.build import Wanted, build_terms
from edgekd.errors import DataError
from edgekd.log import show_logs
from edgekd.models import build
from edgekd.recipe import Data, Train
from edgekd.train import CrossEntropy, FitOptions, Objective, fit, world

EPOCHS = 3


def train(batch_size: int, *, kind: str = "labels", folder: Path | None = None, die: bool = False) -> dict[str, Any]:
    data = load_data(
        Data(source="digits", batch_size=batch_size, train_limit=400, test_limit=60, augment=("crop", "flip"))
    )
    torch.manual_seed(world.rank())  # all are to start from the first one's weights
    network = build("resnet8", (1, 8, 8), 10, width=8)
    section = Train(epochs=EPOCHS, lr=0.05, freeze=["layer1"] if kind == "frozen" else [], clip_norm=1.0)

    def before_step(step: int, total: int) -> None:
        if die and step == 2 * total // EPOCHS + 2 and world.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    history = fit(
        network, data, section, objective_of(kind, network), FitOptions(float32=True, folder=folder, save_every=0,
        before_step=before_step),
    )  # fmt: skip
    return {"history": history, "weights": {name: t.tolist() for name, t in tensors_of(network).items()}}


def objective_of(kind: str, network: nn.Module) -> Objective:
    if kind != "features":
        return CrossEntropy()
    torch.manual_seed(5)
    teacher = build("resnet8", (1, 8, 8), 10, width=12).eval()
    torch.manual_seed(world.rank())  # adapters too are the first one's
    terms = build_terms([Wanted("kd"), Wanted("reviewkd")], network, teacher, (1, 8, 8), temperature=4.0)
    return Distillation(teacher, terms, hard_weight=0.0, balance=True)


def refuse() -> None:
    raise DataError("the first one refuses")


def words() -> dict[str, Any]:
    """What the collectives give in this process."""
    try:
        world.on_first(refuse)
        refused = ""
    except DataError as error:
        refused = str(error)
    return {
        "rank": world.rank(),
        "on_first": world.on_first(lambda: f"from rank {world.rank()}"),
        "mean": float(world.mean(torch.tensor(float(world.rank())))),
        "largest": float(world.largest(torch.tensor(float(world.rank())))),
        "share": world.share(torch.arange(7)).tolist(),
        "gathered": world.gathered(world.share(torch.arange(6))).tolist(),
        "in_turns": world.in_turns(lambda: world.rank()),
        "refused": refused,
    }


if __name__ == "__main__":
    show_logs()
    out, kinds = Path(sys.argv[1]), sys.argv[2].split(",")
    found = {kind: train(16, kind=kind, folder=out / kind, die="--die" in sys.argv) for kind in kinds}
    found["words"] = words()
    (out / f"rank-{world.rank()}.json").write_text(json.dumps(found))
