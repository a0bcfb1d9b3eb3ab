"""What TensorRT engines answer on a device, with nothing there but ``trtexec``: a process for each batch."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgekd.devices.accuracy import DevicePredictions
from edgekd.devices.engines import BUILD_S, DeviceEngine, EngineBuilder, builder_of, engine_of, numbered, requests_of
from edgekd.devices.events import AnswerError, answers_of, text, whole
from edgekd.devices.jetson.command import answer_command
from edgekd.devices.jetson.trtexec import parse_outputs
from edgekd.devices.probe import Probe, probed
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError, MeasurementError
from edgekd.files import temporary_folder

BATCH = 256
SAMPLES, BATCH_FILE, OUTPUTS = "samples.gz", "batch.bin", "outputs.json"
PROCESS_S = 120.0


def predict_with_engines(
    remote: Remote,
    models: Mapping[str, Path],
    inputs: NDArray[np.float32],
    batch: int = BATCH,
    timeout_s: float | None = None,
    found: Probe | None = None,
) -> dict[str, DevicePredictions]:
    """The class that each of ``models`` gives each of ``inputs`` (N, ...), preprocessed, in TensorRT on the device.

    Every batch is a process that loads the engine anew, so files should leave their batch open. When the connection,
    the time or the runner ends early, the answers so far count, and the rest is −1.

    Raises:
        DeviceError: no trtexec there, it refuses a file, or not one answer came.
        MeasurementError: the files fix different batches, or take no float32.
    """
    builder = builder_of(found or probed(remote))
    numbers = numbered(models.values())
    engines = {name: engine_of(builder, path, numbers[path], batch) for name, path in models.items()}
    if odd := [name for name, engine in engines.items() if not engine.float32]:
        raise MeasurementError(f"{odd[0]}: its input is not float32, which is what samples are copied in")
    if len({engine.shape[0] for engine in engines.values()}) > 1:
        raise MeasurementError("the files fix different batches: score them apart, or export them alike")
    batch = next(iter(engines.values())).shape[0]
    for path, number in numbers.items():
        remote.put(path, f"{number}.onnx")
    with temporary_folder() as folder:
        remote.put(packed(folder / SAMPLES, inputs, batch), SAMPLES)
    batches = -(-len(inputs) // batch)
    request = {
        "job": "tensorrt_answers",
        "engines": requests_of(engines),
        "samples": SAMPLES,
        "batch_file": BATCH_FILE,
        "batch_bytes": batch * inputs[0].nbytes,
        "batches": batches,
        "runs": [run_of(builder, name, engine) for name, engine in engines.items()],
    }
    limit = timeout_s or (BUILD_S + PROCESS_S * batches) * len(engines)
    outputs = {name: onnx.load(path, load_external_data=False).graph.output[0].name for name, path in models.items()}
    classes = {name: np.full(len(inputs), -1, np.int64) for name in models}
    cut = None
    try:
        for event in remote.events(request, limit):
            if event["event"] == "outputs":
                with answers_of(remote.device.name):
                    name, first = event["model"], whole(event["number"], "a batch", 0, batches - 1) * batch
                    answers = classes_of(event, outputs[name], batch)
                    classes[name][first : first + batch] = answers[: len(inputs) - first]
    except AnswerError:
        raise
    except DeviceError as error:
        if not any((found >= 0).any() for found in classes.values()):
            raise
        cut = str(error)
    return {name: DevicePredictions(found, cut if (found < 0).any() else None) for name, found in classes.items()}


def packed(path: Path, inputs: NDArray[np.float32], batch: int) -> Path:
    """Whole batches, the last one filled up with its last sample."""
    missing = -len(inputs) % batch
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(np.ascontiguousarray(inputs, np.float32).tobytes())
        file.write(np.repeat(inputs[-1:], missing, axis=0).astype(np.float32).tobytes())
    return path


def run_of(builder: EngineBuilder, name: str, engine: DeviceEngine) -> dict[str, Any]:
    words = answer_command(
        builder.trtexec, builder.version, engine.file, {engine.input: BATCH_FILE}, engine.shapes, OUTPUTS
    )
    return {"model": name, "words": words, "outputs": OUTPUTS}


def classes_of(event: Mapping[str, Any], output: str, batch: int) -> NDArray[np.int64]:
    found = parse_outputs(text(event["text"], "the outputs"), output)
    if found is None or found[0][0] != batch:
        raise DeviceError(f"{event['model']}: trtexec did not write all values of the output {output!r}")
    logits = np.array(found[1]).reshape(batch, -1)
    if not np.isfinite(logits).all():
        raise ValueError("outputs that are no numbers")
    return logits.argmax(1)
