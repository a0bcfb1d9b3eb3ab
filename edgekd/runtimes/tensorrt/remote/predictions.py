"""Predictions of TensorRT engines on a device, with nothing there but ``trtexec``: a process for each batch."""

import gzip
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from edgekd.bench.events import Event, integer, text
from edgekd.devices.predictions import DevicePredictions, Inputs, PredictionsSoFar, collected, output_shapes
from edgekd.devices.probe import Probe, probe_remote
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError, MeasurementError
from edgekd.files import temporary_folder
from edgekd.runtimes.tensorrt.remote.engines import (
    BUILD_S,
    DeviceEngine,
    EngineBuilder,
    build_requests,
    builder_of,
    engine_of,
    numbered,
)
from edgekd.runtimes.tensorrt.trtexec.command import inference_command
from edgekd.runtimes.tensorrt.trtexec.output import parse_outputs
from edgekd.tasks.logits import names_in_file
from edgekd.tasks.task import Task

BATCH = 256
SAMPLES, BATCH_FILE, OUTPUTS = "samples.gz", "batch.bin", "outputs.json"
PROCESS_S = 120.0


def predict_with_engines(
    remote: Remote,
    models: Mapping[str, Path],
    inputs: Inputs,
    task: Task,
    batch: int = BATCH,
    timeout_s: float | None = None,
    probe: Probe | None = None,
) -> dict[str, DevicePredictions]:
    """Return what each of ``models`` predicts for each of ``inputs`` (N, ...) in TensorRT there.

    Every batch is a process that loads the engine anew, so files should leave their batch open. When the connection,
    the time or the agent ends early, the predictions so far count.

    Raises:
        DeviceError: no trtexec there, it refuses a file, or there is not one prediction.
        MeasurementError: the files fix different batches, take no float32, or take several inputs.
    """
    if not isinstance(inputs, np.ndarray):
        raise MeasurementError(
            f"inputs by name ({', '.join(inputs)}) are not given to trtexec through SSH: score these files in the "
            "device's ONNX Runtime, with the runtime onnxruntime"
        )
    builder = builder_of(probe or probe_remote(remote))
    numbers = numbered(models.values())
    engines = {name: engine_of(builder, path, numbers[path], batch) for name, path in models.items()}
    if odd := [name for name, engine in engines.items() if not engine.float32]:
        raise MeasurementError(f"{odd[0]}: its input is not float32, which is what samples are copied in")
    if len({engine.shape[0] for engine in engines.values()}) > 1:
        raise MeasurementError("the files fix different batches: score them apart, or export them alike")
    batch = next(iter(engines.values())).shape[0]
    for path, number in numbers.items():
        remote.push(path, f"{number}.onnx")
    with temporary_folder() as folder:
        remote.push(packed(folder / SAMPLES, inputs, batch), SAMPLES)
    batches = -(-len(inputs) // batch)
    request = {
        "job": "edgekd.runtimes.tensorrt.on_device:run_engines",
        "engines": build_requests(engines.values()),
        "samples": SAMPLES,
        "batch_file": BATCH_FILE,
        "batch_bytes": batch * inputs[0].nbytes,
        "batches": batches,
        "runs": [output_request(builder, name, engine) for name, engine in engines.items()],
    }
    limit = timeout_s or (BUILD_S + PROCESS_S * batches) * len(engines)
    given = {
        name: [each.name for each in onnx.load(path, load_external_data=False).graph.output]
        for name, path in models.items()
    }
    found = {name: PredictionsSoFar(task, len(inputs), output_shapes(path, task)) for name, path in models.items()}

    def take(event: Event) -> None:
        if event["event"] == "outputs":
            name, first = event["model"], integer(event["number"], "a batch", 0, batches - 1) * batch
            names = names_in_file(given[name], task.output_shapes)
            outputs = {
                wanted: values_of(event, own, (batch, *found[name].shapes[wanted]))[: len(inputs) - first]
                for wanted, own in names.items()
            }
            found[name].put(first, task.to_rows(outputs))

    return collected(remote, request, limit, found, take)


def packed(path: Path, inputs: NDArray[np.float32], batch: int) -> Path:
    """Write whole batches, the last one filled up with its last sample."""
    missing = -len(inputs) % batch
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(np.ascontiguousarray(inputs, np.float32).tobytes())
        file.write(np.repeat(inputs[-1:], missing, axis=0).astype(np.float32).tobytes())
    return path


@dataclass(frozen=True)
class OutputRequest:
    """A command of trtexec for the agent, which runs it for each batch, and the file that it writes."""

    model: str
    words: list[str]
    outputs: str


def output_request(builder: EngineBuilder, name: str, engine: DeviceEngine) -> OutputRequest:
    words = inference_command(
        builder.trtexec, builder.version, engine.file, {engine.input: BATCH_FILE}, engine.shapes, OUTPUTS
    )
    return OutputRequest(name, words, OUTPUTS)


def values_of(event: Event, output: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    found = parse_outputs(text(event["text"], "the outputs"), output)
    if found is None or found[0][0] != shape[0]:
        raise DeviceError(f"{event['model']}: trtexec did not write all values of the output {output!r}")
    if len(found[1]) != math.prod(shape):
        raise ValueError(f"outputs of the shape {found[0]}, expected {shape}")
    return np.array(found[1]).reshape(shape)
