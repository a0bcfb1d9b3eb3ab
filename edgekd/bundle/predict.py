"""A bundle at work in ONNX Runtime: the preprocessing, the network and the labels, as they were packed."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import strict_json
from edgekd.bundle import golden, triton
from edgekd.bundle.golden import Golden, SelfTest
from edgekd.bundle.manifest import LABELS, RAW_MODEL, Manifest
from edgekd.bundle.session import BATCH, BundleSession, takes
from edgekd.bundle.verify import opened
from edgekd.errors import BundleError
from edgekd.files import canonical_json, sha256
from edgekd.preprocess import Preprocess


class Predictor:
    """Verifies ``folder``, then loads its model on the CPU.

    >>> Predictor(Path("bundle")).predict([Path("part.png")])  # doctest: +SKIP
    [{'file': 'part.png', 'label': 'ok', 'probability': 0.98, 'top': [...]}]
    """

    def __init__(self, folder: Path, threads: int = 0):
        self.folder = folder
        bundle = opened(folder, used)
        self.manifest, self.contents = bundle.manifest, bundle.contents
        self.preprocess = Preprocess.from_json(self.manifest.preprocess)
        self.threads = threads
        self.session = BundleSession(self.contents[self.manifest.model], threads, str(folder / self.manifest.model))
        self.must_fit()

    def must_fit(self) -> None:
        session, manifest = self.session, self.manifest
        if (session.inputs, session.outputs) != (manifest.inputs, manifest.outputs):
            raise BundleError(f"{self.folder}: the model's inputs and outputs are not the manifest's; pack it again")
        if len(session.inputs) != 1 or not takes(session.inputs[0], self.preprocess):
            raise BundleError(f"{self.folder}: its preprocessing does not give what the model takes; pack it again")

    def predict(self, paths: Iterable[Path], top: int = 3, batch: int = BATCH) -> list[dict[str, Any]]:
        """One entry per sample: ``file``, ``label``, ``probability`` and the ``top`` most probable classes.

        A .npy or .csv of several rows gives one entry per row, told apart by ``row`` (from 0).

        Raises :class:`DataError` naming the first file that cannot be read.
        """
        return list(self.stream(paths, top, batch))

    def stream(self, paths: Iterable[Path], top: int = 3, batch: int = BATCH) -> Iterator[dict[str, Any]]:
        """The entries of :meth:`predict` as they are found, with ``batch`` samples in memory at a time."""
        samples = self.samples(paths)
        while chunk := list(islice(samples, batch)):
            logits = self.run(self.preprocess.apply(np.stack([raw for _, raw in chunk])), batch)
            for (where, _), probabilities in zip(chunk, softmax(logits), strict=True):
                best = np.argsort(-probabilities, kind="stable")[:top]
                ranked = [{"label": self.manifest.labels[i], "probability": float(probabilities[i])} for i in best]
                yield {**where, **ranked[0], "top": ranked}

    def samples(self, paths: Iterable[Path]) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        for path in paths:
            raw = self.preprocess.read(path)
            for row, sample in enumerate(raw):
                yield {"file": str(path)} | ({"row": row} if len(raw) > 1 else {}), sample

    def run(self, inputs: np.ndarray, batch: int = BATCH) -> np.ndarray:
        """Logits (N, classes) of preprocessed float32 ``inputs`` (N, ...), ``batch`` of them at a time.

        A model of a fixed batch size is fed that many.
        """
        return self.checked(self.session.run(inputs, batch), len(inputs))

    def run_raw(self, images: np.ndarray) -> np.ndarray:
        """Logits (N, classes) of uint8 ``images`` (N, H, W, C), by the file that prepares them itself."""
        session = BundleSession(self.contents[RAW_MODEL], self.threads, str(self.folder / RAW_MODEL))
        if session.inputs != self.manifest.raw_inputs:
            raise BundleError(f"{self.folder}: the inputs of {RAW_MODEL} are not the manifest's; pack it again")
        return self.checked(session.run(images), len(images))

    def checked(self, logits: np.ndarray, n: int) -> np.ndarray:
        if logits.shape != (n, len(self.manifest.labels)):
            raise BundleError(f"{self.folder}: outputs {logits.shape} for {len(self.manifest.labels)} labels")
        return logits

    def self_test(self) -> SelfTest:
        """Whether this machine computes for the golden input what was computed when the bundle was packed.

        Where the bundle has a file that takes raw images, the worse of both answers is told.
        """
        self.must_agree()
        kept = Golden.read(self.folder, self.contents, self.manifest, self.preprocess.shape)
        found = [kept.judge(self.run(kept.inputs))]
        if self.manifest.raw_inputs:
            found.append(kept.judge(self.run_raw(self.golden_images(len(kept.inputs)))))
        return min(found, key=lambda each: (each.passed, -each.max_abs_difference))

    def must_agree(self) -> None:
        """Raise :class:`BundleError` where the parts that repeat the manifest say something else than it."""
        manifest, digests = self.manifest, {file.path: file.sha256 for file in self.manifest.files}
        labels = "".join(f"{label}\n" for label in manifest.labels).encode()
        copy = f"triton/{manifest.name}"
        expected = {LABELS: sha256(labels), f"{copy}/{LABELS}": sha256(labels)}
        expected[f"{copy}/1/model.onnx"] = digests[manifest.model]
        expected[f"{copy}/config.pbtxt"] = sha256(
            triton.config(manifest.name, manifest.inputs, manifest.outputs, LABELS).encode()
        )
        for path, digest in expected.items():
            if digests.get(path, digest) != digest:
                raise BundleError(f"{self.folder}: {path} says something else than the manifest; pack it again")
        said = self.session.runtime.get_modelmeta().custom_metadata_map
        for key, known in (("labels", list(manifest.labels)), ("preprocess", manifest.preprocess)):
            if f"edgekd.{key}" in said and not same_document(said[f"edgekd.{key}"], known):
                raise BundleError(f"{self.folder}: the model's own {key} are not the manifest's; pack it again")

    def golden_images(self, n: int) -> np.ndarray:
        channels, height, width = self.preprocess.shape
        try:
            images = golden.npy_of(self.contents[golden.RAW])
        except (ValueError, KeyError) as error:
            raise BundleError(f"{self.folder}: {golden.RAW} cannot be read ({error!r}); pack it again") from error
        if images.shape != (n, height, width, channels) or images.dtype != np.uint8:
            raise BundleError(f"{self.folder}: {golden.RAW} holds {images.dtype} {images.shape}; pack it again")
        return images


def used(manifest: Manifest) -> set[str]:
    """The files that a prediction and the self-test read."""
    return {manifest.model, RAW_MODEL, golden.INPUT, golden.OUTPUT, golden.RAW} & {file.path for file in manifest.files}


def same_document(text: str, known: Any) -> bool:
    try:
        return bool(canonical_json(strict_json.parse(text.encode())) == canonical_json(known))
    except ValueError:
        return False


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)
