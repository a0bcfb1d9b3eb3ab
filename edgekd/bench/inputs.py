"""Sizes that an ONNX file's open dimensions are measured at, found before a runtime loads it."""

from dataclasses import replace

from edgekd.agent.inputs import Declared, Usual, open_sizes
from edgekd.agent.workload import Workload


def with_sizes(workload: Workload) -> Workload:
    """Return ``workload`` with the sizes of open dimensions of its ONNX file; as it is if that does not load."""
    import onnx

    try:
        model = onnx.load(workload.model, load_external_data=False)
    except Exception:  # onnx's and protobuf's errors have no common class; the runtime says why it refuses the file
        return workload
    constants = {tensor.name for tensor in model.graph.initializer}
    declared = [
        Declared(value.name, [dim.dim_param or dim.dim_value or None for dim in value.type.tensor_type.shape.dim])
        for value in model.graph.input
        if value.name not in constants
    ]
    usual = Usual.in_metadata({entry.key: entry.value for entry in model.metadata_props}, workload.model)
    return replace(workload, sizes=open_sizes(declared, workload, usual))
