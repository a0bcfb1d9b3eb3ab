"""A model file with its preprocessing inside: it takes images as decoders give them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekd.errors import BundleError
from edgekd.preprocess import Preprocess

INPUT = "image"
PREFIX = "preprocess/"
HEIGHT_TO_CHANNELS = (0, 3, 1, 2)  # NHWC to NCHW


def with_raw_input(model: ModelProto, preprocess: Preprocess) -> ModelProto:
    """Return a copy of ``model`` that takes raw images: ``image``, uint8 (N, H, W, C), C 1 (grey) or 3 (RGB).

    It transposes, casts, scales and normalises with the arithmetic of :meth:`Preprocess.apply`, operation by
    operation, so that the network gets the same bits. The model's metadata on preprocessing is left out, lest anybody
    does it twice.

    Raises:
        BundleError: the network takes vectors, or more inputs than one.
    """
    initial = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in initial]
    if preprocess.kind != "image":
        taken = "several inputs" if preprocess.kind == "tensors" else "vectors of numbers"
        raise BundleError(f"a file that takes raw input is for images; this network takes {taken}")
    if len(inputs) != 1:
        raise BundleError(f"a file that takes raw input is made of one with one input, this has {len(inputs)}")
    only = inputs[0]
    raw = ModelProto()
    raw.CopyFrom(model)
    graph = raw.graph
    nodes = [*steps(preprocess, only.name), *graph.node]
    del graph.node[:], graph.input[:], raw.metadata_props[:]
    graph.node.extend(nodes)
    channels, height, width = preprocess.shape
    size = only.type.tensor_type.shape.dim[0]
    batch: str | int = size.dim_param or size.dim_value or "batch"
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch, height, width, channels]))
    graph.input.extend(each for each in model.graph.input if each.name in initial)
    graph.initializer.extend(constants(preprocess))
    raw.metadata_props.extend(each for each in model.metadata_props if each.key != "edgekd.preprocess")
    return raw


def steps(preprocess: Preprocess, taken: str) -> list[NodeProto]:
    chain: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Transpose", [], {"perm": HEIGHT_TO_CHANNELS}),
        ("Cast", [], {"to": TensorProto.FLOAT}),
        ("Div", ["levels"], {}),
        ("Sub", ["mean"], {}),
        ("Div", ["std"], {}),
    ]
    names = [INPUT, *(f"{PREFIX}{number}" for number in range(1, len(chain))), taken]
    return [
        helper.make_node(
            operator, [before, *(PREFIX + each for each in others)], [after], name=f"{PREFIX}{operator}_{after}", **more
        )
        for (operator, others, more), before, after in zip(chain, names, names[1:], strict=False)
    ]


def constants(preprocess: Preprocess) -> list[TensorProto]:
    def per_channel(values: Sequence[float]) -> np.ndarray:
        return np.asarray(values, np.float32).reshape(1, -1, 1, 1)

    arrays = {
        "levels": np.asarray(255, np.float32),
        "mean": per_channel(preprocess.mean),
        "std": per_channel(preprocess.std),
    }
    return [numpy_helper.from_array(array, PREFIX + name) for name, array in arrays.items()]
