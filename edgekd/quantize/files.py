"""Export of a trained, fake-quantised graph to a runtime's file, with every scale checked against the trained one."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper
from torch.fx import GraphModule

from edgekd.deploy import deploy
from edgekd.deploy.qdq import WEIGHTED
from edgekd.errors import ExportError
from edgekd.files import write_bytes
from edgekd.preprocess import Preprocess
from edgekd.profiles import PORTABLE, must_serve
from edgekd.quantize.fake_quant import PROFILE, FakeQuantize, WeightedLayer, weighted_layers
from edgekd.quantize.qdq import to_qdq
from edgekd.tasks.signature import Shape, Signature


def export_runtime(
    graph: GraphModule,
    path: Path | str,
    preprocess: Preprocess | None,
    target: str,
    *,
    trained: str | None = None,
    classes: Iterable[str] = (),
    keep_float: Collection[str] = (),
    inputs: Shape | Signature | None = None,
) -> Path:
    """Write the file of ``graph`` that runs fastest in the runtime of ``target``.

    For several targets, or a measured placement, export once with :func:`edgekd.quantize.qdq.to_qdq` and make each
    file with :func:`to_runtime`.

    Args:
        graph: made by :func:`edgekd.quantize.prepare`, and calibrated or trained.
        target: the profile to write for.
        trained: the profile that ``graph`` was prepared with, if the graph does not know it any more.
        preprocess, classes, inputs: as for :func:`edgekd.export.export_onnx`.

    Raises:
        ExportError: ``trained`` does not serve ``target``, or the graph cannot be exported.
    """
    trained = trained or graph.meta.get(PROFILE) or PORTABLE.name
    must_serve(trained, target)
    model = to_runtime(to_qdq(graph, preprocess, classes, inputs=inputs), graph, trained, target, keep_float)
    write_bytes(Path(path), model.SerializeToString(deterministic=True))
    return Path(path)


def to_runtime(
    qdq: ModelProto, graph: GraphModule, trained: str, target: str, keep_float: Collection[str] = ()
) -> ModelProto:
    """Convert a Q/DQ model for ``target``, and check that it has the trained scales of ``graph``, to the bit.

    Args:
        qdq: the result of :func:`edgekd.quantize.qdq.to_qdq` for the same ``graph``.
        trained: the profile that ``graph`` was prepared with.
        keep_float: as for :func:`edgekd.deploy.deploy`.

    Raises:
        ExportError: ``trained`` does not serve ``target``, or the file's scales are not the trained ones.
    """
    must_serve(trained, target)
    model = deploy(qdq, target, keep_float)
    audit(model, graph)
    return model


def audit(model: ModelProto, graph: GraphModule) -> int:
    """Compare the scales of all weights and trained inputs with those of ``graph``, bit for bit.

    Returns:
        The number of scales that were compared.

    Raises:
        ExportError: a scale differs; the message names its layer and both values.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    steps = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    # A module that is called twice, or calls a function twice, has several layers under one path.
    trained: dict[str, list[WeightedLayer]] = {}
    for layer in weighted_layers(graph):
        trained.setdefault(layer.layer, []).append(layer)
    compared = 0
    for node in model.graph.node:
        layers = trained.get(node.name.partition("/")[0], [])
        if node.op_type not in WEIGHTED or not layers or node.input[1] not in steps:
            continue
        pairs = (
            (steps[node.input[1]], [layer.weight_fake_quant for layer in layers]),
            (steps.get(node.input[0]), [layer.input_fake_quant for layer in layers]),
        )
        for step, modules in pairs:
            known = [module for module in modules if module is not None]
            if step is not None and known:
                _must_equal(_scale(step, constants), known, node)
                compared += 1
    return compared


def _scale(step: NodeProto, constants: dict[str, onnx.TensorProto]) -> np.ndarray:
    return numpy_helper.to_array(constants[step.input[1]]).astype(np.float32).reshape(-1)


def _must_equal(written: np.ndarray, modules: Sequence[FakeQuantize], node: NodeProto) -> None:
    trained = [module.scale.detach().cpu().numpy().astype(np.float32).reshape(-1) for module in modules]
    if not any(np.array_equal(written, each) for each in trained):
        raise ExportError(
            f"{node.name}: the file's scale {written[:3]} is not the trained one {trained[0][:3]}; "
            "please report it with the network: the outputs of this file would differ from the trained network's"
        )
