"""Confirmation by OpenVINO: the graph that it executes, read in a process of its own.

OpenVINO 2026.4 ends in a segmentation fault while it compiles some quantised graphs.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.children import environment, words
from edgekd.errors import ExportError
from edgekd.files import temporary_folder
from edgekd.lint.confirm import Confirmation, node_indices, with_marked_nodes

if TYPE_CHECKING:
    from onnx import ModelProto

SECONDS = 600
LAYERS = ("Conv", "ConvTranspose")
OPERATORS = (
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Concat"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "Resize"),
)


def confirm(model: "ModelProto", target: object) -> Confirmation:
    """Compile the file on this machine; an operator that no node of the executed graph names is unknown."""
    if find_spec("openvino") is None:
        return Confirmation(reason="OpenVINO is not installed; pip install 'edgekd[openvino]' brings it")
    with temporary_folder() as folder:
        marked = folder / "marked.onnx"
        marked.write_bytes(with_marked_nodes(model).SerializeToString())
        found = _executed(marked)
    if refusal := found.get("refusal"):
        return Confirmation(found["by"], refusal=refusal)
    # The last node of the network has the name of its output.
    ends = {name: index for index, node in enumerate(model.graph.node) for name in node.output}
    int8: dict[int, bool] = {}
    for node in found["nodes"]:
        named = [ends[name] for name in node["origins"] if name in ends]
        for index in [*node_indices(",".join(node["origins"])), *named]:
            int8[index] = int8.get(index, False) or node["int8"]
    known = (index for index in sorted(int8) if has_precision(model.graph.node[index].op_type))
    return Confirmation(found["by"], int8={index: int8[index] for index in known})


def has_precision(op: str) -> bool:
    """Tell whether the executed graph says in which precision an operator computed.

    An activation function is fused into a layer's kernel, which computes it in float between codes.
    """
    return op in OPERATORS


def float_convolutions(path: Path) -> tuple[list[str], int]:
    """Return the names of the convolutions that run in float on this machine, and the number of all of them.

    Raises:
        ExportError: OpenVINO cannot load the file.
    """
    found = _executed(path)
    if refusal := found.get("refusal"):
        raise ExportError(f"{path} does not load in {found['by']}: {refusal}")
    layers = [node for node in found["nodes"] if node["op"] in LAYERS]
    return [node["name"] for node in layers if not node["int8"]], len(layers)


def _executed(path: Path) -> dict:
    done = subprocess.run(
        [*words(__name__), str(path)], capture_output=True, text=True, timeout=SECONDS, env=environment()
    )
    if done.returncode == 0:
        found: dict = json.loads(done.stdout)
        return found
    return {"by": "OpenVINO", "refusal": f"its process ended with {done.returncode} while it compiled the file"}


def main() -> None:
    """Print the executed graph of the file that the command line names, as JSON."""
    import openvino

    from edgekd.bench.plan import Workload
    from edgekd.errors import MeasurementError
    from edgekd.runtimes.openvino.execution import executed_nodes
    from edgekd.runtimes.openvino.session import OpenVinoSession

    found: dict = {"by": f"OpenVINO {openvino.__version__.split('-')[0]}"}
    try:
        session = OpenVinoSession(Workload(sys.argv[1], "openvino"))
    except MeasurementError as error:
        found["refusal"] = str(error)
    else:
        nodes = executed_nodes(session.compiled)
        found["nodes"] = [
            {"name": node.origins[0] if node.origins else node.name, "op": node.op, "int8": node.is_int8}
            | {"origins": node.origins}
            for node in nodes
        ]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
