"""Predictions of a bundle in ONNX Runtime, with its own preprocessing, model, labels and decoder."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from edgekd import strict_json
from edgekd.bundle import golden, triton
from edgekd.bundle.golden import Golden, SelfTest
from edgekd.bundle.manifest import FILE_NAME, LABELS, RAW_MODEL, Manifest
from edgekd.bundle.session import BATCH, BundleSession, takes
from edgekd.bundle.verify import opened
from edgekd.errors import BundleError, EdgekdError
from edgekd.files import canonical_json, sha256
from edgekd.preprocess import Preprocess
from edgekd.strict_json import JsonObject
from edgekd.tasks.registry import TASKS
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.task import SamplePrediction, Task

REMEDY = "read it with the edgekd that packed it, or a newer one"


@dataclass(frozen=True)
class FilePrediction:
    """The prediction of a file or, where it has several, of one of its rows, counted from 0."""

    file: str
    row: int | None
    prediction: SamplePrediction

    def to_json(self) -> JsonObject:
        row = {} if self.row is None else {"row": self.row}
        return {"file": self.file, **row, **self.prediction.to_json()}


class Predictor:
    """The model of a verified bundle, loaded on the CPU.

    >>> Predictor(Path("bundle")).predict([Path("part.png")])  # doctest: +SKIP
    [{'file': 'part.png', 'label': 'ok', 'probability': 0.98, 'top': [...]}]
    """

    def __init__(self, folder: Path, threads: int = 0):
        """Verify the bundle in ``folder`` and load its model; 0 ``threads`` let ONNX Runtime choose.

        Raises:
            BundleError: the bundle was changed, or its parts do not fit each other.
        """
        self.folder = folder
        bundle = opened(folder, used)
        self.manifest, self.contents = bundle.manifest, bundle.contents
        self.task = task_of(self.manifest)
        self.preprocess = Preprocess.from_json(self.manifest.preprocess)
        self.threads = threads
        self.session = BundleSession(self.contents[self.manifest.model], threads, str(folder / self.manifest.model))
        self._check_signature()

    def _check_signature(self) -> None:
        session, manifest = self.session, self.manifest
        if (session.inputs, session.outputs) != (manifest.inputs, manifest.outputs):
            raise BundleError(f"{self.folder}: the model's inputs and outputs are not the manifest's; pack it again")
        if len(session.inputs) != 1 or not takes(session.inputs[0], self.preprocess):
            raise BundleError(f"{self.folder}: its preprocessing does not give what the model takes; pack it again")

    def predict(self, paths: Iterable[Path], top: int = 3, batch: int = BATCH) -> list[dict[str, object]]:
        """Return the prediction for each sample of ``paths``, as ``edgekd predict --json`` prints it.

        Each has its ``file``, of one with several rows also the ``row`` from 0 on, and what the task predicts, with the
        ``top`` most probable classes or labels.

        Raises:
            DataError: a file cannot be read; the message names the first.
        """
        return [each.to_json() for each in self.stream(paths, top, batch)]

    def stream(self, paths: Iterable[Path], top: int = 3, batch: int = BATCH) -> Iterator[FilePrediction]:
        """Yield the predictions of :meth:`predict` as they are found, with ``batch`` samples in memory at a time."""
        samples = self._samples(paths)
        while chunk := list(islice(samples, batch)):
            logits = self.run(self.preprocess.apply(np.stack([raw for _, _, raw in chunk])), batch)
            found = self.task.sample_predictions(self.task.decode({LOGITS: logits}), top)
            for (file, row, _), prediction in zip(chunk, found, strict=True):
                yield FilePrediction(file, row, prediction)

    def _samples(self, paths: Iterable[Path]) -> Iterator[tuple[str, int | None, np.ndarray]]:
        for path in paths:
            raw = self.preprocess.read(path)
            for row, sample in enumerate(raw):
                yield str(path), row if len(raw) > 1 else None, sample

    def run(self, inputs: np.ndarray, batch: int = BATCH) -> np.ndarray:
        """Return the logits (N, labels) of preprocessed float32 ``inputs`` (N, ...), ``batch`` of them at a time.

        A model of a fixed batch size gets that many.
        """
        return self._checked(self.session.run(inputs, batch), len(inputs))

    def run_raw(self, images: np.ndarray) -> np.ndarray:
        """Return the logits (N, labels) of uint8 ``images`` (N, H, W, C), from the file that takes raw images."""
        session = BundleSession(self.contents[RAW_MODEL], self.threads, str(self.folder / RAW_MODEL))
        if session.inputs != self.manifest.raw_inputs:
            raise BundleError(f"{self.folder}: the inputs of {RAW_MODEL} are not the manifest's; pack it again")
        return self._checked(session.run(images), len(images))

    def _checked(self, logits: np.ndarray, n: int) -> np.ndarray:
        if logits.shape != (n, len(self.task.names)):
            raise BundleError(f"{self.folder}: outputs {logits.shape} for {len(self.task.names)} labels")
        return logits

    def self_test(self) -> SelfTest:
        """Check that this machine computes the golden outputs, as the machine did that packed the bundle.

        If the bundle has a file that takes raw images, the worse of both results is returned.

        Raises:
            BundleError: a part of the bundle contradicts its manifest.
        """
        self._check_copies()
        kept = Golden.read(self.folder, self.contents, self.manifest, self.preprocess.shape, self.task)
        found = [kept.judge(self.run(kept.inputs))]
        if self.manifest.raw_inputs:
            found.append(kept.judge(self.run_raw(self._golden_images(len(kept.inputs)))))
        return min(found, key=lambda each: (each.passed, -each.max_abs_difference))

    def _check_copies(self) -> None:
        """The parts that repeat the manifest must agree with it."""
        manifest, digests = self.manifest, {file.path: file.sha256 for file in self.manifest.files}
        labels = "".join(f"{label}\n" for label in manifest.labels).encode()
        copy = f"triton/{manifest.name}"
        expected = {LABELS: sha256(labels), f"{copy}/{LABELS}": sha256(labels)}
        expected[f"{copy}/1/model.onnx"] = digests[manifest.model]
        expected[f"{copy}/config.pbtxt"] = sha256(triton.config_of(manifest, self.task).encode())
        for path, digest in expected.items():
            if digests.get(path, digest) != digest:
                raise BundleError(f"{self.folder}: {path} contradicts the manifest; pack it again")
        metadata = self.session.runtime.get_modelmeta().custom_metadata_map
        for key, known in (("labels", list(manifest.labels)), ("preprocess", manifest.preprocess)):
            if f"edgekd.{key}" in metadata and not same_document(metadata[f"edgekd.{key}"], known):
                raise BundleError(f"{self.folder}: the model's own {key} are not the manifest's; pack it again")

    def _golden_images(self, n: int) -> np.ndarray:
        channels, height, width = self.preprocess.shape
        try:
            images = golden.npy_of(self.contents[golden.RAW])
        except (ValueError, KeyError) as error:
            raise BundleError(f"{self.folder}: {golden.RAW} cannot be read ({error!r}); pack it again") from error
        if images.shape != (n, height, width, channels) or images.dtype != np.uint8:
            raise BundleError(f"{self.folder}: {golden.RAW} holds {images.dtype} {images.shape}; pack it again")
        return images


def task_of(manifest: Manifest) -> Task:
    """Return the task of a bundle, with its labels and its decoder's options.

    Raises:
        BundleError: this edgekd has no such task, or the options are not its decoder's.
    """
    try:
        task = TASKS.find(manifest.task)(manifest.labels, **manifest.decoder)
    except (EdgekdError, TypeError) as error:
        raise BundleError(f"{FILE_NAME}: its outputs cannot be decoded: {error}; {REMEDY}") from error
    if canonical_json(task.decoder()) != canonical_json(manifest.decoder):
        raise BundleError(f"{FILE_NAME}: {sorted(manifest.decoder)} are not the options of {task.name}; {REMEDY}")
    return task


def used(manifest: Manifest) -> set[str]:
    """Return the files that a prediction and the self-test read."""
    return {manifest.model, RAW_MODEL, golden.INPUT, golden.OUTPUT, golden.RAW} & {file.path for file in manifest.files}


def same_document(text: str, known: object) -> bool:
    try:
        return bool(canonical_json(strict_json.parse(text.encode())) == canonical_json(known))
    except ValueError:
        return False
