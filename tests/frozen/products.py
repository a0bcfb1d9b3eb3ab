"""Run as a program in a folder: makes the three recipes' products by kernels that most processors have.

It prints the hashes of their networks and ONNX files, and that of what PyTorch alone computes by the same kernels.
Where the second is another than recorded, the processor computes otherwise, and the first say nothing.
"""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).with_name("products.json")
NAMES = ("model.json", "weights.safetensors", "model.onnx")
LIBRARIES = ("torch", "torchao", "numpy", "onnx", "onnxscript", "onnx-ir", "scikit-learn", "pillow")
EXPORT_KEY = re.compile(r"(/exports/[^/]+)-[0-9a-f]{12}")
# Else PyTorch, oneDNN and MKL choose by what this processor has, and add up in another order.
KERNELS = {
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
}


def made(folder: Path) -> dict[str, Any]:
    """Return what this program prints, run in ``folder`` as another process."""
    found = subprocess.run(
        [sys.executable, "-m", "tests.frozen.products", str(folder)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **KERNELS, "XDG_CACHE_HOME": str(folder / "cache")},
        stdout=subprocess.PIPE,
        check=True,
    )
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def kernels() -> str:
    """Hash the weights of a training by PyTorch alone, through the operations that the recipes train by."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    from edgekd.files import sha256

    torch.manual_seed(0)
    nets = [
        nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1),
            nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
        )
        for channels in (1, 3)
    ]  # fmt: skip
    nets.append(nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 10)))
    shapes = ((50, 1, 8, 8), (16, 3, 12, 12), (32, 16))
    states = []
    for net, shape in zip(nets, shapes, strict=True):
        optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
        for _ in range(8):
            inputs, labels = torch.rand(shape), torch.randint(10, (shape[0],))
            logits = net(inputs)
            soft = F.kl_div(
                F.log_softmax(logits / 4, 1), F.softmax(torch.randn(shape[0], 10), 1), reduction="batchmean"
            )
            norm = sum(parameter.flatten(1).norm(dim=1).mean() for parameter in net.parameters() if parameter.ndim > 1)
            optimizer.zero_grad()
            (F.cross_entropy(logits, labels) + soft + 1e-3 * norm).backward()
            optimizer.step()
        states += [value.double().reshape(-1) for value in net.state_dict().values()]
    return sha256(torch.cat(states).numpy().tobytes())


def versions() -> dict[str, str]:
    """Return those of the libraries whose next version may compute or write otherwise."""
    return {name: version(name).partition("+")[0] for name in LIBRARIES}


def named(path: Path) -> str:
    """Leave out the keys of exports, which hold the processor that they were evaluated on."""
    return EXPORT_KEY.sub(r"\1", path.as_posix())


def main(folder: Path) -> None:
    import pytest

    from edgekd.files import sha256_file
    from edgekd.pipeline.run import run
    from edgekd.recipe import load_recipe
    from tests.frozen.recipes import RECIPES, write
    from tests.toy import blank_pictures, fixed_times

    products = {}
    with pytest.MonkeyPatch.context() as patch:
        fixed_times(patch)
        blank_pictures(patch)
        patch.setattr("edgekd.train.device.has_fast_bf16", lambda: False)
        for name in RECIPES:
            run(load_recipe(write(name, folder / name)), folder / name / "run")
            found = sorted(path for path in (folder / name / "run").rglob("*") if path.name in NAMES)
            products |= {named(path.relative_to(folder)): sha256_file(path) for path in found}
    print(json.dumps({"versions": versions(), "kernels": kernels(), "products": products}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
