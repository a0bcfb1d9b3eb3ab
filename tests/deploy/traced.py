"""Each tiny network quantised and exported once for all tests: the exporter takes seconds for each."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekd.export import deploy
from edgekd.preprocess import Preprocess
from edgekd.quantize import calibrate, prepare
from edgekd.quantize.qdq import to_qdq
from tests.deploy.networks import ALL, IMAGE

PREPROCESS = Preprocess("image", IMAGE, (0.5,) * 3, (0.25,) * 3)


@dataclass(frozen=True)
class Traced:
    """A network, its calibrated graph, and that graph's ONNX with steps at every place."""

    network: nn.Module
    graph: GraphModule
    model: ModelProto
    inputs: Tensor

    def answers(self) -> np.ndarray:
        with torch.no_grad():
            return self.graph(self.inputs).numpy()


def quantised(name: str, profile: str = "portable") -> tuple[nn.Module, GraphModule, Tensor]:
    """Calibrated on a batch; the BatchNorms have seen others."""
    torch.manual_seed(0)
    network = ALL[name]()
    for _ in range(20):
        network(2 * torch.randn(32, *IMAGE) + 1)
    network.eval()
    inputs = 2 * torch.randn(32, *IMAGE) + 1
    graph = prepare(network, IMAGE, profile)
    calibrate(graph, [inputs])
    return network, graph, inputs


@cache
def traced(name: str, profile: str = "portable") -> Traced:
    network, graph, inputs = quantised(name, profile)
    return Traced(network, graph, to_qdq(graph, PREPROCESS, ("a", "b", "c", "d")), inputs)


@cache
def deployed(name: str, target: str, profile: str = "portable") -> ModelProto:
    """Not to be changed."""
    return deploy(traced(name, profile).model, target)


def constants(model: ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def count(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def run(
    model: ModelProto, inputs: Tensor, *, optimised: bool = True, signed: bool = False
) -> tuple[np.ndarray, ModelProto]:
    """What ONNX Runtime answers, and the graph that it computes; ``signed`` as on ARM, where int8 is as good."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED if optimised else levels.ORT_DISABLE_ALL
    if signed:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    with TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, {"input": inputs.numpy()})[0], onnx.load(options.optimized_model_filepath)


def readers(model: ModelProto, name: str) -> Collection[onnx.NodeProto]:
    return [node for node in model.graph.node if name in node.input]
