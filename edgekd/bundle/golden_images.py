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
from edgekd.geometry import Geometry
from edgekd.images import open_image, reading
from edgekd.preprocess import Preprocess
from edgekd.strict_json import JsonObject
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.task import SamplePrediction, Task

FOLDER, PREDICTIONS = "golden", "golden/images.json"
IMAGE, PREDICTED = "golden.image", "golden.predictions"  # roles


class Outputs(Protocol):
    """Computes the outputs (N, ...) that the task decodes, by name, of preprocessed inputs (N, C, H, W)."""

    def __call__(self, inputs: np.ndarray, /) -> Mapping[str, np.ndarray]: ...


@dataclass(frozen=True)
class GoldenImage:
    """An image file of a bundle, its prediction, and the ``logits`` of it where they are one row."""

    file: str
    logits: tuple[float, ...] | None
    prediction: SamplePrediction

    def to_json(self) -> JsonObject:
        logits = {} if self.logits is None else {"logits": list(self.logits)}
        return {"file": self.file, **self.prediction.to_json(), **logits}


def predict_images(
    images: Mapping[str, bytes], preprocess: Preprocess, outputs: Outputs, task: Task
) -> tuple[GoldenImage, ...]:
    """Return the prediction for each of ``images``, contents of image files by their paths in the bundle.

    Places are in the pixels of each file.

    Raises:
        BundleError: an image cannot be read.
    """
    if not images:
        return ()
    inputs, geometry = _inputs(images, preprocess)
    found = outputs(inputs)
    predictions = task.sample_predictions(task.decode(found), geometry=geometry)
    only = found.get(LOGITS, np.empty(()))
    rows = [tuple(map(float, row)) for row in only] if only.ndim == 2 else [None] * len(images)
    return tuple(map(GoldenImage, images, rows, predictions))


def to_bytes(images: Sequence[GoldenImage]) -> bytes:
    """Return the content of ``PREDICTIONS``."""
    return (json.dumps([each.to_json() for each in images], indent=1) + "\n").encode()


def golden_of_images(
    folder: Path, contents: Mapping[str, bytes], preprocess: Preprocess, kept: Golden
) -> Golden | None:
    """Return the golden images in the ``contents`` of a bundle as golden samples, with the steps of ``kept``.

    None where the bundle has predictions of them and no logits.

    Raises:
        BundleError: they cannot be read.
    """
    try:
        entries = strict_json.parse(contents[PREDICTIONS])
        images = {entry["file"]: contents[entry["file"]] for entry in entries}
        if not any("logits" in entry for entry in entries):
            return None
        logits = np.array([entry["logits"] for entry in entries], np.float32)
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder}: {PREDICTIONS} cannot be read ({error!r}); pack it again") from error
    decoded = kept.decoded
    if logits.shape != (len(images), *kept.outputs[decoded].shape[1:]):
        raise BundleError(f"{folder}: {PREDICTIONS} holds logits {logits.shape}; pack it again")
    inputs, _ = _inputs(images, preprocess)
    return replace(
        kept,
        inputs={next(iter(kept.inputs)): inputs},
        outputs={decoded: logits},
        steps={decoded: kept.steps[decoded]},
    )


def _inputs(images: Mapping[str, bytes], preprocess: Preprocess) -> tuple[np.ndarray, list[Geometry]]:
    pixels, geometry = [], []
    for file, content in images.items():
        try:
            with reading(content):
                image = preprocess.prepare(open_image(content))
                pixels.append(preprocess.fit(image))
        except DataError as error:
            raise BundleError(f"{file}: {error}") from error
        geometry.append(preprocess.geometry(1, (image.height, image.width)))
    return preprocess.apply(np.stack(pixels)), geometry
