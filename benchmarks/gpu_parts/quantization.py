"""Quantisation: fake-quantised outputs, calibration, training, conversion and export on the device against the CPU."""

import tempfile
from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import goal
from gpu_parts.patterns import SHAPE, data_set, network
from gpu_parts.tools import apart, timed
from torch import Tensor
from torch.fx import GraphModule

from edgekd.export import export_onnx
from edgekd.quantize import calibrate, convert, freeze_ranges, observe, prepare
from edgekd.quantize.fake_quant import fake_quants
from edgekd.train import CrossEntropy, FitOptions, Train, fit

PROFILES = ("onnxruntime-x86", "tensorrt")
# Values next to a rounding boundary fall to either side of it.
TOLERANCE = 0.05


def measure(device: str, quick: bool) -> Iterator[tuple[str, Any]]:
    batch, steps = (16, 2) if quick else (128, 10)
    data = data_set(batch * steps, batch, batch)
    inputs = data.example(batch)
    assert isinstance(inputs, Tensor)
    plain = network("resnet8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        here = export_onnx(plain, folder / "here.onnx", data.preprocess).read_bytes()
        there = export_onnx(deepcopy(plain).to(device), folder / "there.onnx", data.preprocess).read_bytes()
        yield "float_export", {"equal": here == there, "bytes": len(here)}
        for profile in PROFILES[:1] if quick else PROFILES:
            graph = prepare(plain, SHAPE, profile)
            calibrated = deepcopy(graph).to(device)
            calibrate(calibrated, [inputs.to(device)])
            calibrate(graph, [inputs])
            yield f"{profile} calibration", {"scales_apart": scales_apart(calibrated, graph)}
            yield (
                f"{profile} forward",
                {"apart": apart(run(deepcopy(graph).to(device), inputs.to(device)), run(graph, inputs))},
            )
            _, spent = timed(partial(train, graph, data), device)
            yield f"{profile} training", {"seconds": spent, "steps": steps}
            converted = convert(graph)
            yield f"{profile} converted", {"apart": apart(run(converted, inputs), run(graph, inputs))}
            on_device = convert(deepcopy(graph).to(device))
            here = export_onnx(converted, folder / "here.onnx", data.preprocess).read_bytes()
            there = export_onnx(on_device, folder / "there.onnx", data.preprocess).read_bytes()
            yield f"{profile} export", {"equal": here == there, "bytes": len(here)}


@torch.no_grad()
def run(graph: GraphModule, inputs: Tensor) -> Tensor:
    result = graph(inputs)
    assert isinstance(result, Tensor)
    return result


def train(graph: GraphModule, data: Any) -> None:
    options = FitOptions(float32=True, to_train=observe, to_eval=freeze_ranges)
    fit(graph, data, Train(epochs=1, lr=0.005), CrossEntropy(), options)


def scales_apart(ours: GraphModule, theirs: GraphModule) -> float:
    expected = fake_quants(theirs)
    return max(apart(each.scale, expected[name].scale) for name, each in fake_quants(ours).items())


def goals(figures: dict[str, Any], device: str) -> list[dict[str, Any]]:
    found = []
    for name, each in figures.items():
        if name.endswith("calibration"):
            found.append(goal(f"quantization: {name}, scales apart", 1e-3, each["scales_apart"], at_most=True))
        if name.endswith(("forward", "converted")):
            found.append(goal(f"quantization: {name}, outputs apart", TOLERANCE, each["apart"], at_most=True))
        if name.endswith("export"):
            found.append(goal(f"quantization: {name} from the device, equal bytes", 1, int(each["equal"])))
    return found
