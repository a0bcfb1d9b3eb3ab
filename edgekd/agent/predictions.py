"""Predictions of models for samples in a file, reduced to what a task keeps of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.agent.reductions import REDUCTIONS
from edgekd.agent.session import session_type
from edgekd.agent.workload import Workload
from edgekd.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgekd.agent.lines import Conversation
    from edgekd.agent.session import Session

BATCH = 32
LOGITS = "logits"
# Lines that are much longer would not be read.
LARGEST = 1 << 24


def predict(request: dict[str, Any], conversation: Conversation) -> None:
    """Run each model on the samples in a .npz file, a batch at a time, and send what its reduction keeps of outputs.

    Those in ``outputs`` of its name are sent.
    """
    inputs = samples(request["samples"])
    for name, model in request["models"].items():
        about, wanted = request["reductions"][name], request["outputs"][name]
        reduce = REDUCTIONS[about["kind"]]
        for first, found in batch_outputs(opened(model, request["threads"]), inputs):
            for start, part in parts(chosen(found, wanted)):
                record = {"event": "rows", "model": name, "first": first + start}
                record["count"] = len(next(iter(part.values())))
                for output, values in reduce(part, about):
                    conversation.send({**record, "output": output, **values})


def chosen(found: Mapping[str, Any], wanted: list[str]) -> dict[str, Any]:
    """Return the outputs ``wanted``; the first stands for ``logits`` where that alone is wanted, and none has the name.

    Raises:
        DeviceError: the model does not give one.
    """
    if wanted == [LOGITS] and LOGITS not in found:
        return {LOGITS: next(iter(found.values()))}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DeviceError(f"the model gives {', '.join(found)}, and no output {missing[0]!r}")
    return {name: found[name] for name in wanted}


def parts(outputs: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield as many rows of all outputs at a time as a line may hold, with the number of the first."""
    step = max(1, LARGEST // max(1, sum(rows[:1].nbytes for rows in outputs.values())))
    for start in range(0, max(map(len, outputs.values())), step):
        yield start, {name: rows[start : start + step] for name, rows in outputs.items()}


def save_outputs(request: dict[str, Any], conversation: Conversation) -> None:
    """Write the output ``logits``, or the first, of a model for all samples in a .npz file to the .npy file ``to``."""
    session = opened(request["model"], request["threads"])
    batches = [batch for _, batch in batch_outputs(session, samples(request["samples"]))]
    found = np.concatenate([chosen(batch, [LOGITS])[LOGITS] for batch in batches])
    np.save(request["to"], found, allow_pickle=False)
    conversation.send({"event": "outputs", "shape": list(found.shape)})


def opened(model: Mapping[str, Any], threads: int) -> Session:
    return session_type(model["session"])(Workload.from_json(model["workload"]), threads, seed=None)


def samples(file: str) -> dict[str, Any]:
    """Read the arrays of a .npz file: ``inputs`` for a model with one input, else one for each input by its name."""
    with np.load(file, allow_pickle=False) as packed:
        return {name: packed[name] for name in packed.files}


def batch_outputs(session: Session, inputs: Mapping[str, Any]) -> Iterator[tuple[int, Any]]:
    """Yield the outputs by name for each batch, with the number of the batch's first sample."""
    declared = session.declared
    feeds = {declared[0].name: inputs["inputs"]} if list(inputs) == ["inputs"] else inputs
    if set(feeds) != {each.name for each in declared}:
        taken = ", ".join(each.name for each in declared)
        raise DeviceError(f"the model takes {taken}, and the samples are {', '.join(feeds)}")
    fixed = declared[0].dims[0] if declared[0].dims else None
    step = fixed if isinstance(fixed, int) else None
    total = len(feeds[declared[0].name])
    for first in range(0, total, step or BATCH):
        count = min(step or BATCH, total - first)
        batch = {name: each[first : first + count] for name, each in feeds.items()}
        if step and count < step:
            for name, each in batch.items():
                batch[name] = np.concatenate([each, np.repeat(each[-1:], step - count, axis=0)])
        yield first, {name: each[:count] for name, each in session.outputs(batch).items()}
