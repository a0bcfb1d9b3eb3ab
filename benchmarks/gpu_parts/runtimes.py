"""Other runtimes that load here: ONNX Runtime's providers and TensorRT, against PyTorch on the CPU."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import goal
from gpu_parts.tools import apart, settled
from networks import resnet18

from edgekd.agent.clock import collect, warm_up
from edgekd.bench.plan import Workload
from edgekd.bench.runtimes import open_session
from edgekd.errors import EdgekdError
from edgekd.export import export_onnx
from edgekd.preprocess import Preprocess

# ONNX Runtime's CUDA provider computes in IEEE float32 here; TensorRT's own default is TF32.
TOLERANCES = {"onnxruntime": 2e-3, "onnxruntime-tensorrt": 2e-2, "tensorrt": 2e-2}


def measure(device: str, quick: bool) -> Iterator[tuple[str, Any]]:
    pixels = 64 if quick else 224
    torch.manual_seed(0)
    network = settled(resnet18(), torch.rand(8, 3, pixels, pixels))
    with tempfile.TemporaryDirectory() as name:
        scale = Preprocess("image", (3, pixels, pixels), (0.5,) * 3, (0.5,) * 3)
        file = export_onnx(network, Path(name) / "resnet18.onnx", scale)
        for runtime in ("onnxruntime", *(("onnxruntime-tensorrt", "tensorrt") if device == "cuda" else ())):
            try:
                model = engine(file) if runtime == "tensorrt" else file
                yield runtime, row(Workload(str(model), runtime, device, (1, 3, pixels, pixels)), network)
            except EdgekdError as error:
                # A record says nothing of the machine's folders.
                yield runtime, {"error": str(error).replace(name, "")}


def engine(file: Path) -> Path:
    from edgekd.runtimes.tensorrt import build

    made = build(file.read_bytes())
    path = file.with_suffix(".engine")
    path.write_bytes(made.plan)
    return path


def row(workload: Workload, network: torch.nn.Module) -> dict[str, Any]:
    session = open_session(workload)
    first = session.first_run_ms()
    warm_up(session.run, 0.2, 5)
    times = collect(session.run, 0.5, 30)
    assert workload.shape is not None
    given = np.random.default_rng(0).random(workload.shape, np.float32)
    [found] = session.outputs({session.input_names[0]: given}).values()
    with torch.no_grad():
        expected = network(torch.from_numpy(given))
    copies = {way: float(np.median(collect(call, 0, 20, 20))) / 1e6 for way, call in session.transfers().items()}
    return {
        "providers": session.providers,
        "first_ms": first,
        "p50_ms": float(np.median(times)) / 1e6,
        "apart": apart(torch.from_numpy(found), expected),
        "copies_ms": copies,
        "raw_ns": times,
    }


def goals(figures: dict[str, Any], device: str) -> list[dict[str, Any]]:
    measured = {name: each for name, each in figures.items() if "error" not in each}
    return [
        goal(f"runtimes: {name}, outputs apart from PyTorch on the CPU", TOLERANCES[name], each["apart"], at_most=True)
        for name, each in measured.items()
    ]
