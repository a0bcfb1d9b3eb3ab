"""Predictions of ONNX files on a device: the same int8 file may predict differently on another processor."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.devices.events import Event, ResponseError, integer, reading_response, text
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError, MeasurementError
from edgekd.files import temporary_folder

SAMPLES, OUTPUTS = "samples.npz", "outputs.npy"
CLASSES = 1 << 31
SIZE = 1 << 31


@dataclass(frozen=True)
class DevicePredictions:
    """Predicted ``classes`` (N,) int64, −1 for a sample that was not reached; ``cut`` says why some were not."""

    classes: NDArray[np.int64]
    cut: str | None = field(default=None)

    @property
    def n(self) -> int:
        return int(np.count_nonzero(self.classes >= 0))

    def accuracy(self, labels: NDArray[np.int64]) -> float:
        """Return the share of correctly classified samples among those that were reached; ``labels`` is (N,)."""
        reached = self.classes >= 0
        if not reached.any():
            raise MeasurementError("not one sample was scored on the device: no accuracy")
        return float(np.mean(self.classes[reached] == labels[reached]))


def pack(path: Path, inputs: NDArray[np.float32]) -> Path:
    """Write ``inputs`` (N, ...), preprocessed as the model takes them, for the runner."""
    np.savez_compressed(path, inputs=inputs)
    return path


def predict_on_device(
    remote: Remote,
    models: Mapping[str, Path],
    inputs: NDArray[np.float32],
    threads: int = 1,
    timeout_s: float = 3600,
) -> dict[str, DevicePredictions]:
    """Return the class that each of ``models`` predicts for each of ``inputs`` (N, ...) on the device.

    When the connection, the time or the runner ends early, the predictions so far count, and the rest is −1.

    Raises:
        DeviceError: there is not one prediction.
    """
    files = {name: f"{number}.onnx" for number, name in enumerate(models)}
    with temporary_folder() as folder:
        remote.put(pack(folder / SAMPLES, inputs), SAMPLES)
    for name, path in models.items():
        remote.put(path, files[name])
    found = {name: np.full(len(inputs), -1, np.int64) for name in models}
    request = {"job": "accuracy", "models": files, "samples": SAMPLES, "threads": threads}
    cut = None
    try:
        for event in remote.events(request, timeout_s):
            with reading_response(remote.device.name):
                keep(event, found)
    except ResponseError:
        raise
    except DeviceError as error:
        if not any((classes >= 0).any() for classes in found.values()):
            raise
        cut = str(error)
    return {name: DevicePredictions(classes, cut if (classes < 0).any() else None) for name, classes in found.items()}


def outputs_on_device(
    remote: Remote, model: Path, inputs: NDArray[np.float32], threads: int = 1, timeout_s: float = 3600
) -> NDArray[Any]:
    """Return the first output (N, ...) of an ONNX file for ``inputs`` (N, ...) on the device.

    Raises:
        DeviceError: the file does not load or run there, or the connection or the time ended first.
    """
    with temporary_folder() as folder:
        remote.put(pack(folder / SAMPLES, inputs), SAMPLES)
        remote.put(model, "model.onnx")
        request = {"job": "outputs", "model": "model.onnx", "samples": SAMPLES, "threads": threads, "to": OUTPUTS}
        events = list(remote.events(request, timeout_s))
        with reading_response(remote.device.name):
            sizes = [integer(size, "a size of the outputs", 0, SIZE) for size in events[0]["shape"]]
            if sizes[:1] != [len(inputs)]:
                raise ValueError(f"outputs for {sizes[:1]} samples, {len(inputs)} were sent")
            # Of eight bytes each, and the file's header.
            remote.get(OUTPUTS, folder / OUTPUTS, largest=math.prod(sizes) * 8 + 4096)
            found = np.array(np.lib.format.open_memmap(folder / OUTPUTS, mode="r"))
            if list(found.shape) != sizes or found.dtype.kind not in "fiub":
                raise ValueError(f"outputs of the shape {found.shape}, reported as {sizes}")
    return found


def keep(event: Event, found: Mapping[str, NDArray[np.int64]]) -> None:
    classes = found[text(event["model"], "the name of a model")]
    predicted = [integer(each, "a class", 0, CLASSES) for each in event["classes"]]
    first = integer(event["first"], "the number of a sample", 0, len(classes) - len(predicted))
    if (classes[first : first + len(predicted)] >= 0).any():
        raise ValueError("a sample was predicted twice")
    classes[first : first + len(predicted)] = predicted
