"""What models answer on a device: the same int8 file may answer otherwise on another processor."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError, MeasurementError
from edgekd.files import temporary_folder

SAMPLES, OUTPUTS = "samples.npz", "outputs.npy"


@dataclass(frozen=True)
class Answers:
    """``classes`` (N,) int64, −1 where a sample was not reached; ``cut`` says why where some were not."""

    classes: NDArray[np.int64]
    cut: str | None = field(default=None)

    @property
    def n(self) -> int:
        return int(np.count_nonzero(self.classes >= 0))

    def accuracy(self, labels: NDArray[np.int64]) -> float:
        """The share of ``labels`` (N,) that were met, of the samples that were reached."""
        reached = self.classes >= 0
        if not reached.any():
            raise MeasurementError("not one sample was scored on the device: no accuracy")
        return float(np.mean(self.classes[reached] == labels[reached]))


def pack(path: Path, inputs: NDArray[np.float32]) -> Path:
    """Writes ``inputs`` (N, ...), preprocessed as the model takes them, for the runner."""
    np.savez_compressed(path, inputs=inputs)
    return path


def answers_there(
    remote: Remote,
    models: Mapping[str, Path],
    inputs: NDArray[np.float32],
    threads: int = 1,
    timeout_s: float = 3600,
) -> dict[str, Answers]:
    """The class that each of ``models`` gives each of ``inputs`` (N, ...) on the device.

    When the connection, the time or the runner ends early, the answers so far count, and the rest is −1.

    Raises:
        DeviceError: not one answer came.
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
        for name, first, classes in batches(remote, request, timeout_s):
            found[name][first : first + len(classes)] = classes
    except DeviceError as error:
        if not any((classes >= 0).any() for classes in found.values()):
            raise
        cut = str(error)
    return {name: Answers(classes, cut if (classes < 0).any() else None) for name, classes in found.items()}


def outputs_there(
    remote: Remote, model: Path, inputs: NDArray[np.float32], threads: int = 1, timeout_s: float = 3600
) -> NDArray[Any]:
    """The first output (N, ...) of an ONNX file for ``inputs`` (N, ...) on the device.

    Raises:
        DeviceError: the file does not load or run there, or the connection or the time ended first.
    """
    with temporary_folder() as folder:
        remote.put(pack(folder / SAMPLES, inputs), SAMPLES)
        remote.put(model, "model.onnx")
        request = {"job": "outputs", "model": "model.onnx", "samples": SAMPLES, "threads": threads, "to": OUTPUTS}
        for _ in remote.events(request, timeout_s):
            pass
        remote.get(OUTPUTS, folder / OUTPUTS)
        found: NDArray[Any] = np.load(folder / OUTPUTS, allow_pickle=False)
    return found


def batches(remote: Remote, request: dict[str, object], timeout_s: float) -> Iterator[tuple[str, int, list[int]]]:
    for event in remote.events(request, timeout_s):
        yield event["model"], event["first"], event["classes"]
