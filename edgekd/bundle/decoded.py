"""A model file with the task's decoding inside: it gives predictions, such as boxes after suppression."""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto

from edgekd.bundle.session import BundleSession
from edgekd.errors import BundleError
from edgekd.tasks.logits import decoded
from edgekd.tasks.signature import METADATA
from edgekd.tasks.task import DecodesInGraph, Task

# The largest difference of outputs, in their units, by which the same operations in another order may differ.
ROUNDING = 1e-3


def with_decoded_output(
    model: ModelProto, name: str, task: Task, fed: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray]
) -> bytes:
    """Return the file of ``model`` with the task's decoding inside, tried on golden samples.

    Args:
        name: of the file, for messages.
        fed, got: the inputs and outputs (N, ...) of golden samples by name.

    Raises:
        BundleError: the task's outputs are not decoded in files, or the file predicts something else.
        ModelError: the task cannot decode the outputs of this one.
    """
    if not isinstance(task, DecodesInGraph):
        raise BundleError(f"--decoded-output: no file decodes the outputs of {task.name} itself; leave it out")
    written = task.decoded_graph(model)
    others = [each for each in written.metadata_props if each.key != f"edgekd.{METADATA}"]  # which names other outputs
    del written.metadata_props[:]
    written.metadata_props.extend(others)
    content = written.SerializeToString(deterministic=True)
    [rows] = BundleSession(content, name=name).run(fed).values()
    outputs = decoded(got, task.output_shapes)
    settled = task.settled(outputs, dict.fromkeys(outputs, ROUNDING))
    if not task.agree(task.from_rows(rows), task.decode(outputs))[settled].all():
        raise BundleError(f"{name}: it does not predict what the outputs of the model mean; leave --decoded-output out")
    return content
