"""Networks whose work is known in advance, and the instructions that one inference of them takes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 20, 10
# 16 channels: 9 KiB of weights a layer, so that twenty stay in a second-level cache of 256 KiB and a layer
# more costs its share of the work and nothing for memory. 24x24: 1.3 M multiply-accumulates a layer.
CHANNELS, SIZE = 16, 24

INFERENCES = """
import ctypes, sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
node = session.get_inputs()[0]
feeds = {node.name: numpy.ones(node.shape, numpy.float32)}
session.run(None, feeds)
program = f"for _ in range({sys.argv[2]}): session.run(None, feeds)"
ctypes.pythonapi.PyRun_SimpleString(program.encode())
"""


def repeated_convs(path: Path, count: int, channels: int = CHANNELS, size: int = SIZE, seed: int = 0) -> Path:
    """Writes ``count`` equal 3x3 convolutions with ReLU in a row and nothing else: 21 do 5 % more work than 20."""
    random = np.random.default_rng(seed)
    # He's scale keeps the activations at one size however many layers there are: no denormals, no overflow.
    scale = np.sqrt(2 / (9 * channels))
    nodes: list[NodeProto] = []
    weights: list[TensorProto] = []
    for layer in range(count):
        value = (random.standard_normal((channels, channels, 3, 3)) * scale).astype(np.float32)
        weights.append(numpy_helper.from_array(value, f"w{layer}"))
        convolution = [f"x{layer}", f"w{layer}"], [f"c{layer}"]
        nodes.append(helper.make_node("Conv", *convolution, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"x{layer + 1}"]))
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, size, size])]
        for name in ("x0", f"x{count}")
    )
    graph = helper.make_graph(nodes, "repeated_convs", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.save(model, path)
    return path


def instructions(path: Path, runs: int = 10) -> float:
    """Instructions of one inference in ONNX Runtime on one thread, counted by Valgrind: no clock is involved.

    Valgrind 3.19 knows AVX2 and FMA but no AVX-512, so on a processor that has it other kernels are counted than
    are timed; the ratio of two networks made of the same layers holds for either.
    """
    # Counted is what runs inside of a C function that the program alone calls: what Python's start takes differs
    # between two starts by more than ten inferences. With -c, Python itself would call it.
    only = "--toggle-collect=PyRun_SimpleStringFlags"
    valgrind = ["valgrind", "--tool=callgrind", only, "--callgrind-out-file=/dev/null"]
    program = [sys.executable, "-", str(path), str(runs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*valgrind, *program], input=INFERENCES, capture_output=True, text=True, env=environment)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None or not int(found[1]):
        raise RuntimeError(f"valgrind counted nothing: {done.stderr[-300:]}")
    return int(found[1]) / runs
