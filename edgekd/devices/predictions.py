"""Predictions of ONNX files on a device: the same int8 file may predict differently on another processor."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgekd.arrayfiles import to_npz
from edgekd.bench.events import Event, ResponseError, integer, reading_response, text
from edgekd.bench.plan import Workload
from edgekd.devices.latency import model_there
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError, MeasurementError
from edgekd.files import temporary_folder
from edgekd.tasks.logits import decoded
from edgekd.tasks.task import Task

SAMPLES, OUTPUTS = "samples.npz", "outputs.npy"
SIZE = 1 << 31
# Records that hold predictions.
PREDICTIONS = ("rows", "outputs")
# Parts of a batch of which not all outputs are there.
MOST_PENDING = 64
# Samples (N, ...) as models take them: of one input an array, of several arrays by the inputs' names.
Inputs = NDArray[Any] | Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class DevicePredictions:
    """Predictions of a network on a device for N samples.

    Attributes:
        task: what the network is for.
        rows: (N, ...), of each sample as :meth:`edgekd.tasks.task.Task.to_rows` has it.
        reached: (N,), False for samples that were not run; their rows predict nothing.
        cut: why some were not run.
    """

    task: Task
    rows: NDArray[Any]
    reached: NDArray[np.bool_]
    cut: str | None = None

    @property
    def n(self) -> int:
        return int(np.count_nonzero(self.reached))

    def value(self, targets: NDArray[Any]) -> float:
        """Return the task's first metric on the samples that were reached.

        Args:
            targets: (N, ...), as data sets store them: numbers of classes, or 0 and 1 for each label.
        """
        if not self.reached.any():
            raise MeasurementError("not one sample was predicted on the device: no metric")
        known = self.task.targets(np.asarray(targets)[self.reached])
        return self.task.metrics[0].evidence(self.task.from_rows(self.rows[self.reached]), known).value()


class PredictionsSoFar:
    """The rows of one network, filled in as they come from a device.

    Attributes:
        shapes: of the outputs of one sample that the task decodes, by name; the task's usual ones if left out.
        reduction: the part of these outputs that is sent.
        needed: the outputs that are.
    """

    def __init__(self, task: Task, n: int, shapes: Mapping[str, tuple[int, ...]] | None = None):
        usual = {name: each[0] for name, each in task.output_shapes.items()}
        self.task, self.shapes = task, fixed(usual) if shapes is None else shapes
        self.reduction = task.reduction(self.shapes)
        self.needed = self.reduction.needed(self.shapes)
        nothing = {name: np.full((1, *shape), np.nan, np.float32) for name, shape in self.shapes.items()}
        self.rows = np.repeat(task.to_rows(nothing), n, axis=0)
        self.reached = np.zeros(n, bool)
        self._parts: dict[tuple[int, int], dict[str, NDArray[Any]]] = {}

    def take(self, first: int, output: str, values: NDArray[Any]) -> None:
        """Keep one output's ``values`` of the samples from ``first`` on, until all of their outputs are there."""
        place = (first, len(values))
        if len(self._parts) > MOST_PENDING:
            raise ValueError(f"{output!r} of {len(values)} samples, and other outputs of many are missing")
        found = self._parts.setdefault(place, {})
        if output in found:
            raise ValueError(f"{output!r} of a sample was sent twice")
        found[output] = values
        if set(found) == set(self.needed):
            self.put(first, self.task.to_rows(self._parts.pop(place)))

    def put(self, first: int, rows: NDArray[Any]) -> None:
        """Keep the ``rows`` of the samples from ``first`` on: ValueError for any that are there already."""
        place = slice(first, first + len(rows))
        if self.reached[place].any():
            raise ValueError("a sample was predicted twice")
        self.rows[place], self.reached[place] = rows, True

    def ended(self, cut: str | None) -> DevicePredictions:
        """Return what there is; ``cut`` says why nothing more comes, None at the regular end."""
        if self.reached.all():
            return DevicePredictions(self.task, self.rows, self.reached)
        missing = sorted({name for found in self._parts.values() for name in self.needed if name not in found})
        of = f" ({', '.join(missing)})" if missing else ""
        return DevicePredictions(
            self.task, self.rows, self.reached, cut or f"it ended regularly, and outputs{of} are missing"
        )


def fixed(shapes: Mapping[str, Sequence[int | str | None]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of outputs that a device is to send, none of whose sizes is open.

    Raises:
        MeasurementError: one is.
    """
    for name, shape in shapes.items():
        if not all(isinstance(size, int) for size in shape):
            raise MeasurementError(
                f"the output {name!r} is of no fixed size, {tuple(shape)}: export the file for inputs of one size"
            )
    return {name: tuple(map(int, (size for size in shape if isinstance(size, int)))) for name, shape in shapes.items()}


def output_shapes(path: Path, task: Task) -> dict[str, tuple[int, ...]]:
    """Return the shapes, of one sample, of the outputs in an ONNX file that the task decodes, by the task's names.

    Raises:
        MeasurementError: the file leaves a size open that the task leaves open too.
    """
    wanted = task.output_shapes
    if wanted and all(len(shapes) == 1 and None not in shapes[0] for shapes in wanted.values()):
        return fixed({name: shape for name, [shape] in wanted.items()})
    found = {
        each.name: [dim.dim_value or None for dim in each.type.tensor_type.shape.dim][1:]
        for each in onnx.load(path, load_external_data=False).graph.output
    }
    return fixed(decoded(found, wanted))


def samples_in(inputs: Inputs) -> int:
    """Return the number of samples."""
    return len(inputs) if isinstance(inputs, np.ndarray) else len(next(iter(inputs.values())))


def pack(path: Path, inputs: Inputs) -> Path:
    """Write ``inputs`` (N, ...), preprocessed as the model takes them, for the agent."""
    path.write_bytes(to_npz({"inputs": inputs} if isinstance(inputs, np.ndarray) else inputs, compressed=True))
    return path


def predict_on_device(
    remote: Remote,
    runtime: str,
    models: Mapping[str, Path],
    inputs: Inputs,
    task: Task,
    threads: int = 1,
    timeout_s: float = 3600,
) -> dict[str, DevicePredictions]:
    """Return what each of ``models`` predicts for each of ``inputs`` (N, ...) on the device.

    Of the outputs that the task decodes, what decoding takes comes from there; the first output stands for ``logits``
    where none is called that. When the connection, the time or the agent ends early, the
    predictions so far count.

    Raises:
        DeviceError: there is not one prediction.
    """
    files = {name: f"{number}.onnx" for number, name in enumerate(models)}
    with temporary_folder() as folder:
        remote.push(pack(folder / SAMPLES, inputs), SAMPLES)
    for name, path in models.items():
        remote.push(path, files[name])
    n = samples_in(inputs)
    found = {name: PredictionsSoFar(task, n, output_shapes(path, task)) for name, path in models.items()}
    request = {
        **{"job": "edgekd.agent.predictions:predict", "samples": SAMPLES, "threads": threads},
        "models": {name: model_there(Workload(str(models[name]), runtime), file) for name, file in files.items()},
        "reductions": {name: each.reduction for name, each in found.items()},
        "outputs": {name: each.needed for name, each in found.items()},
    }
    return collected(remote, request, timeout_s, found, partial(keep, found=found))


def collected(
    remote: Remote,
    request: Mapping[str, Any],
    timeout_s: float,
    found: Mapping[str, PredictionsSoFar],
    take: Callable[[Event], None],
) -> dict[str, DevicePredictions]:
    """Send ``request`` to the agent, and return the predictions that ``take`` puts into ``found`` from its events.

    If it ends early, those so far count.

    Raises:
        DeviceError: it ended early, and there is not one prediction.
    """
    cut = None
    try:
        with remote.job(request, timeout_s) as job:
            for event in job:
                with reading_response(remote.device.name):
                    take(event)
                # Predictions of a sample are taken once, so that these end.
                if event["event"] in PREDICTIONS:
                    job.renew()
    except ResponseError:
        raise
    except DeviceError as error:
        if not any(each.reached.any() for each in found.values()):
            raise
        cut = str(error)
    return {name: each.ended(cut) for name, each in found.items()}


def outputs_on_device(
    remote: Remote, runtime: str, model: Path, inputs: Inputs, threads: int = 1, timeout_s: float = 3600
) -> NDArray[Any]:
    """Return the output ``logits`` (N, ...), or the first, of an ONNX file for ``inputs`` (N, ...) on the device.

    Raises:
        DeviceError: the file does not load or run there, or the connection or the time ended first.
    """
    with temporary_folder() as folder:
        remote.push(pack(folder / SAMPLES, inputs), SAMPLES)
        remote.push(model, "model.onnx")
        request = {
            "job": "edgekd.agent.predictions:save_outputs",
            "model": model_there(Workload(str(model), runtime), "model.onnx"),
            **{"samples": SAMPLES, "threads": threads, "to": OUTPUTS},
        }
        events = list(remote.events(request, timeout_s))
        with reading_response(remote.device.name):
            sizes = [integer(size, "a size of the outputs", 0, SIZE) for size in events[0]["shape"]]
            if sizes[:1] != [samples_in(inputs)]:
                raise ValueError(f"outputs for {sizes[:1]} samples, {samples_in(inputs)} were sent")
            # Of eight bytes each, and the file's header.
            remote.pull(OUTPUTS, folder / OUTPUTS, largest=math.prod(sizes) * 8 + 4096)
            found = np.array(np.lib.format.open_memmap(folder / OUTPUTS, mode="r"))
            if list(found.shape) != sizes or found.dtype.kind not in "fiub":
                raise ValueError(f"outputs of the shape {found.shape}, reported as {sizes}")
    return found


def keep(event: Event, found: Mapping[str, PredictionsSoFar]) -> None:
    so_far = found[text(event["model"], "the name of a model")]
    output = text(event["output"], "the name of an output")
    if output not in so_far.needed:
        raise ValueError(f"the output {output!r}, expected {', '.join(so_far.needed)}")
    count = integer(event["count"], "a number of samples", 1, len(so_far.rows))
    first = integer(event["first"], "the number of a sample", 0, len(so_far.rows) - count)
    reduction, shape = so_far.reduction, so_far.shapes[output]
    if reduction.kind == "classes":
        rows = rows_of(event, so_far.rows[:0], count)
        no_class = np.array(-1).astype(rows.dtype)
        if ((rows != no_class) & ((rows < 0) | (rows >= len(so_far.task.names)))).any():
            raise ValueError(f"a class that is none of {len(so_far.task.names)}")
        so_far.put(first, rows)
    elif reduction.kind == "all":
        so_far.take(first, output, rows_of(event, np.empty((0, *shape), np.float32), count))
    else:
        values = rows_of(event, np.empty((0, reduction.channels(shape)), np.float32))
        sent = {"shape": [len(values)], "data": event["places"]}
        places = rows_of(sent, np.empty(0, np.int32), len(values))
        so_far.take(first, output, reduction.whole(output, shape, count, places, values))


def rows_of(event: Event, like: NDArray[Any], count: int | None = None) -> NDArray[Any]:
    """Return the rows that an event holds, which are of the type and, but for their number, the shape of ``like``."""
    shape = [integer(size, "a size of the predictions", 0, SIZE) for size in event["shape"]]
    content = base64.b64decode(text(event["data"], "the predictions"), validate=True)
    expected = [shape[0] if count is None else count, *like.shape[1:]]
    if shape != expected or len(content) != math.prod(shape) * like.itemsize:
        raise ValueError(f"{len(content)} bytes of predictions {shape}, expected {expected} of {like.dtype}")
    return np.frombuffer(content, like.dtype.newbyteorder("<")).astype(like.dtype).reshape(shape)
