"""A model file with the task's decoding inside: it gives predictions, such as boxes after suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekd.bundle.session import BundleSession
from edgekd.errors import BundleError
from edgekd.tasks.logits import decoded
from edgekd.tasks.signature import METADATA
from edgekd.tasks.task import DecodesInGraph, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from onnx import ModelProto

# The largest difference of outputs, in their units, by which the same operations in another order may differ.
ROUNDING = 1e-3


def with_decoded_output(
    model: ModelProto,
    name: str,
    task: Task,
    fed: Mapping[str, np.ndarray],
    got: Mapping[str, np.ndarray],
    optimised: bool = True,
) -> bytes:
    """Return the file of ``model`` with the task's decoding inside, tried on golden samples.

    Args:
        name: of the file, for messages.
        fed, got: golden samples (N, ...) by name, and the outputs (N, ...) that ``model`` gives for them here.
        optimised: whether ONNX Runtime may optimise the file here.

    Raises:
        BundleError: the task's outputs are not decoded in files, the file predicts something else, or the samples have
            nothing in them by which that could be seen.
        ModelError: the task cannot decode the outputs of this one.
    """
    if not isinstance(task, DecodesInGraph):
        raise BundleError(f"--decoded-output: no file decodes the outputs of {task.name} itself; leave it out")
    written = task.decoded_graph(model)
    others = [each for each in written.metadata_props if each.key != f"edgekd.{METADATA}"]  # which names other outputs
    del written.metadata_props[:]
    written.metadata_props.extend(others)
    content = written.SerializeToString(deterministic=True)
    session = BundleSession(content, name=name, optimised=optimised)
    if not compare_decoded(session, task, fed, got, "leave --decoded-output out"):
        raise BundleError(
            f"{name}: the model predicts nothing on the golden samples, so this file cannot be compared with it: pack "
            "with samples on which it does, lower the decoder's least score, or leave --decoded-output out"
        )
    return content


def compare_decoded(
    session: BundleSession, task: Task, fed: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray], remedy: str
) -> int:
    """Return how many predictions of a file that decodes itself were found to be those of the outputs ``got``.

    Args:
        session: of that file.
        fed, got: see :func:`with_decoded_output`.
        remedy: ends the message.

    Raises:
        BundleError: it predicts something else, or the task decodes in no file.
    """
    if isinstance(task, DecodesInGraph) and len(session.outputs) == 1:
        [rows] = session.run(fed).values()
        alike, compared = task.same_decoded(rows, decoded(got, task.output_shapes), ROUNDING)
        if alike.all():
            return compared
    raise BundleError(f"{session.name}: it does not predict what the outputs of the model mean; {remedy}")
