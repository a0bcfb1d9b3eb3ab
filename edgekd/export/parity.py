"""Parity of two runtimes on the same inputs, and the first layer at which they differ."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto
from torch import Tensor

from edgekd.errors import ExportError
from edgekd.export.runtime import open_file, outputs_of
from edgekd.files import temporary_folder
from edgekd.runtime import DEFAULT
from edgekd.tasks.classification import Classification
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.task import Task

STEPS = 255
CLASSIFICATION = Classification(())


@dataclass(frozen=True)
class Parity:
    """The agreement of two sets of outputs.

    Attributes:
        agreement: share of samples with the same prediction.
        max_abs_difference: of several outputs the one that is the most steps apart has these figures.
        max_steps, mean_steps: differences in quantisation steps, 1/255 of the range of the reference's values.
        not_finite: how many of the ``n`` samples have outputs that are no finite numbers, of which differences are
            left out; None where there are none.
    """

    agreement: float
    max_abs_difference: float
    n: int
    max_steps: float
    mean_steps: float
    not_finite: int | None = None


@dataclass(frozen=True)
class OutputParity:
    """Distances between one output in two runtimes.

    Attributes:
        n: the number of samples.
        max_steps, mean_steps: differences in quantisation steps, 1/255 of the range of the reference's values, where
            both are finite.
    """

    max_abs_difference: float
    n: int
    max_steps: float
    mean_steps: float


def parity(
    reference: Tensor | Mapping[str, Tensor], outputs: Tensor | Mapping[str, Tensor], task: Task = CLASSIFICATION
) -> Parity:
    """Compare ``outputs`` (N, ...) with those of a ``reference`` on the same samples, which predict for ``task``.

    Outputs are by name; a bare tensor is ``logits``.
    """
    both = [{LOGITS: each} if isinstance(each, Tensor) else dict(each) for each in (reference, outputs)]
    found = max(output_parity(*([each] for each in both)).values(), key=lambda each: each.max_steps)
    rows = (task.to_rows({name: each.numpy() for name, each in named.items()}) for named in both)
    agreement = float(task.agree(*map(task.from_rows, rows)).mean())
    finite = [each.reshape(len(each), -1).isfinite().all(1) for each in both[1].values()]
    lost = int((~torch.stack(finite).all(0)).sum())
    return Parity(agreement, found.max_abs_difference, found.n, found.max_steps, found.mean_steps, lost or None)


def output_parity(
    reference: Iterable[Mapping[str, Tensor]], outputs: Iterable[Mapping[str, Tensor]]
) -> dict[str, OutputParity]:
    """Compare the outputs of two runtimes on the same batches, name by name.

    >>> ours = (signature.named(network(*batch)) for batch in batches)  # doctest: +SKIP
    >>> output_parity(ours, runtime_outputs(path, batches))["boxes"].max_steps  # doctest: +SKIP

    Args:
        reference, outputs: tensors (N, ...) by name, batch by batch; batches may differ in their open dimensions.

    Raises:
        ExportError: the two have other names, or tensors of other shapes.
    """
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for ours, theirs in zip(reference, outputs, strict=True):
        if set(ours) != set(theirs):
            raise ExportError(f"the outputs {', '.join(theirs)} are compared with {', '.join(ours)}: name them alike")
        for name, tensor in ours.items():
            if tensor.shape != theirs[name].shape:
                shapes = f"{tuple(theirs[name].shape)}, the reference's {tuple(tensor.shape)}"
                raise ExportError(f"the output {name!r} has the shape {shapes}: compare them on the same samples")
            found.setdefault(name, []).append((tensor, theirs[name]))
    return {name: _difference_of(pairs) for name, pairs in found.items()}


def _difference_of(pairs: Sequence[tuple[Tensor, Tensor]]) -> OutputParity:
    references = [_finite(ours) for ours, _ in pairs]
    low, high = (min(float(each.min()) for each in references), max(float(each.max()) for each in references))
    step = max(high - low, 1e-12) / STEPS
    differences = torch.cat([_finite(_apart(ours, theirs)) for ours, theirs in pairs])
    largest, mean = float(differences.max()), float(differences.mean())
    return OutputParity(largest, sum(len(ours) for ours, _ in pairs), largest / step, mean / step)


def _apart(ours: Tensor, theirs: Tensor) -> Tensor:
    return (ours - theirs).abs() if ours.is_floating_point() else (ours.double() - theirs.double()).abs()


def _finite(values: Tensor) -> Tensor:
    """Return the finite ones, flat; a zero where none of them is."""
    found = values[values.isfinite()]
    return found if len(found) or not values.numel() else values.new_zeros(1)


@dataclass(frozen=True)
class Mismatch:
    """The first quantised activation whose codes a runtime's optimisations change by more than ``bound`` steps."""

    layer: str
    steps: float
    bound: float


# Runs a file on inputs (N, ...), of several by their names, and returns its first output (N, ...).
Outputs = Callable[[Path, np.ndarray | Mapping[str, np.ndarray]], np.ndarray]
# The inputs of a file, each (N, ...): of one, or of several in their order.
Arrays = np.ndarray | Sequence[np.ndarray]


def first_mismatch(
    path: Path, inputs: Arrays, bound: float = 1.5, outputs: Outputs | None = None, runtime: str = DEFAULT
) -> Mismatch | None:
    """Find where a runtime departs from the file's arithmetic; return None if it does not.

    The file is cut off behind quantised activations, by bisection, and run with and (on this machine) without
    optimisations. The first cut whose codes differ by more than ``bound`` is returned. A difference of one step is a
    tie rounded the other way. More means saturated 8-bit products, a wrong scale, or a fusion that computes something
    else.

    Args:
        inputs: (N, ...), as the file's input takes them; of several inputs one array each, in their order.
        outputs: runs a cut file with optimisations, by default here;
            :meth:`edgekd.devices.targets.RemoteTarget.outputs` does it on a device.
    """
    if outputs is None:
        optimised = partial(_run, inputs=inputs, runtime=runtime)
    else:
        optimised = partial(_elsewhere, inputs=inputs, outputs=outputs)
    runs = partial(_run, inputs=inputs, runtime=DEFAULT, optimised=False), optimised
    model = onnx.load(path)
    steps = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    low, high = 0, len(steps)
    found: Mismatch | None = None
    while low < high:
        middle = (low + high) // 2
        difference = _difference(model, steps[middle].output[0], runs)
        if difference > bound:
            found, high = Mismatch(_layer(model, steps[middle].input[0]), difference, bound), middle
        else:
            low = middle + 1
    return found


def _difference(model: ModelProto, codes: str, runs: Iterable[Callable[[Path], np.ndarray]]) -> float:
    cut = ModelProto()
    cut.CopyFrom(model)
    del cut.graph.output[:]
    step = next(node for node in model.graph.node if codes in node.output)
    zero_point = next(tensor for tensor in model.graph.initializer if tensor.name == step.input[2])
    cut.graph.output.append(onnx.helper.make_tensor_value_info(codes, zero_point.data_type, None))
    with temporary_folder() as folder:
        path = folder / "cut.onnx"
        path.write_bytes(cut.SerializeToString())
        reference, found = (run(path).astype(np.int32) for run in runs)
    return float(np.abs(reference - found).max(initial=0))


def _run(path: Path, inputs: Arrays, runtime: str, optimised: bool = True) -> np.ndarray:
    session = open_file(path, runtime, optimised)
    given = [inputs] if isinstance(inputs, np.ndarray) else inputs
    return next(iter(outputs_of(session, dict(zip(session.input_names, given, strict=True))).values()))


def _elsewhere(path: Path, inputs: Arrays, outputs: Outputs) -> np.ndarray:
    if isinstance(inputs, np.ndarray):
        return outputs(path, inputs)
    graph = onnx.load(path, load_external_data=False).graph
    constants = {each.name for each in graph.initializer}
    names = [each.name for each in graph.input if each.name not in constants]
    return outputs(path, dict(zip(names, inputs, strict=True)))


def _layer(model: ModelProto, activation: str) -> str:
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(activation)
    while node is not None and node.op_type in ("Relu", "Clip"):
        node = makers.get(node.input[0])
    return node.name if node is not None else activation
