"""Golden images: image files of their own size with the predictions for them, which try a program's own resizing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from edgekd import strict_json
from edgekd.bundle.golden import Golden
from edgekd.errors import BundleError, DataError
from edgekd.preprocess import Preprocess
from edgekd.strict_json import JsonObject
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.task import SamplePrediction, Task

FOLDER, PREDICTIONS = "golden", "golden/images.json"
IMAGE, PREDICTED = "golden.image", "golden.predictions"  # roles


class Logits(Protocol):
    """Computes logits (N, labels) of preprocessed inputs (N, C, H, W)."""

    def __call__(self, inputs: np.ndarray, /) -> np.ndarray: ...


@dataclass(frozen=True)
class GoldenImage:
    """An image file of a bundle, the ``logits`` that were computed for it, and its prediction."""

    file: str
    logits: tuple[float, ...]
    prediction: SamplePrediction

    def to_json(self) -> JsonObject:
        return {"file": self.file, **self.prediction.to_json(), "logits": list(self.logits)}


def predict_images(
    images: Mapping[str, bytes], preprocess: Preprocess, logits: Logits, task: Task
) -> tuple[GoldenImage, ...]:
    """Return the prediction for each of ``images``, contents of image files by their paths in the bundle.

    Raises:
        BundleError: an image cannot be read.
    """
    if not images:
        return ()
    found = logits(_inputs(images, preprocess))
    predictions = task.sample_predictions(task.decode({LOGITS: found}))
    return tuple(
        GoldenImage(file, tuple(map(float, row)), prediction)
        for file, row, prediction in zip(images, found, predictions, strict=True)
    )


def to_bytes(images: Sequence[GoldenImage]) -> bytes:
    """Return the content of ``PREDICTIONS``."""
    return (json.dumps([each.to_json() for each in images], indent=1) + "\n").encode()


def golden_of_images(folder: Path, contents: Mapping[str, bytes], preprocess: Preprocess, kept: Golden) -> Golden:
    """Return the golden images in the ``contents`` of a bundle as golden samples, with the steps of ``kept``.

    Raises:
        BundleError: they cannot be read.
    """
    try:
        entries = strict_json.parse(contents[PREDICTIONS])
        images = {entry["file"]: contents[entry["file"]] for entry in entries}
        logits = np.array([entry["logits"] for entry in entries], np.float32)
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder}: {PREDICTIONS} cannot be read ({error!r}); pack it again") from error
    decoded = kept.decoded
    if logits.shape != (len(images), *kept.outputs[decoded].shape[1:]):
        raise BundleError(f"{folder}: {PREDICTIONS} holds logits {logits.shape}; pack it again")
    inputs = _inputs(images, preprocess)
    return replace(
        kept,
        inputs={next(iter(kept.inputs)): inputs},
        outputs={decoded: logits},
        steps={decoded: kept.steps[decoded]},
    )


def _inputs(images: Mapping[str, bytes], preprocess: Preprocess) -> np.ndarray:
    pixels = []
    for file, content in images.items():
        try:
            pixels.append(preprocess.decode(content))
        except DataError as error:
            raise BundleError(f"{file}: {error}") from error
    return preprocess.apply(np.stack(pixels))
