"""Predictions of a bundle in ONNX Runtime, with its own preprocessing, model, labels and decoder."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgekd import strict_json
from edgekd.bundle import golden, golden_images, triton
from edgekd.bundle.choice import choose_file, own_model
from edgekd.bundle.decoded import compare_decoded
from edgekd.bundle.golden import Golden, SelfTest
from edgekd.bundle.manifest import DECODED_MODEL, FILE_NAME, LABELS, RAW_MODEL, REMEDY, Manifest, Tensor
from edgekd.bundle.named import NamedInputs
from edgekd.bundle.session import BATCH, BundleSession, Inputs, why_unfit
from edgekd.bundle.verify import opened
from edgekd.errors import BundleError, DataError, EdgekdError, ModelError
from edgekd.files import canonical_json, sha256
from edgekd.geometry import Geometry
from edgekd.images import open_image, reading
from edgekd.log import get_logger
from edgekd.preprocess import Preprocess
from edgekd.strict_json import JsonObject
from edgekd.tasks.logits import decoded, fits, names_in_file
from edgekd.tasks.registry import TASKS
from edgekd.tasks.signature import Signature
from edgekd.tasks.task import GivesResults, PlacesInImage, SamplePrediction, Task

log = get_logger(__name__)

Content = TypeVar("Content")
# A file and, where it has several, one of its rows.
Place = tuple[str, int | None]


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

    def __init__(
        self,
        folder: Path,
        threads: int = 0,
        target: str | None = None,
        decoder: Mapping[str, float] | None = None,
    ):
        """Verify the bundle in ``folder`` and load its model; 0 ``threads`` let ONNX Runtime choose.

        Args:
            target: loads the file of this target; without it the one that :func:`edgekd.bundle.choice.choose_file`
                returns for this machine. Golden outputs are of the bundle's own model, which the self-test is for.
            decoder: options of the task in place of the bundle's, such as ``{"threshold": 0.3}`` of detection.

        Raises:
            BundleError: the bundle was changed, its parts do not fit each other, or the target is unknown or for
                another runtime.
            EdgekdError: the task has no such option, or it is out of its range.
        """
        self.folder = folder
        bundle = opened(folder, lambda manifest: used(manifest, choose_file(manifest, target).file))
        self.manifest, self.contents = bundle.manifest, bundle.contents
        self.task = having(task_of(self.manifest), decoder or {}, folder)
        self.preprocess = Preprocess.from_json(self.manifest.preprocess)
        self.threads = threads
        self.chosen = choose_file(self.manifest, target)
        self.session = self._session(*self.chosen)
        self._check_signature()

    def _session(self, file: str, optimised: bool) -> BundleSession:
        return BundleSession(self.contents[file], self.threads, str(self.folder / file), optimised)

    def _check_signature(self) -> None:
        session, manifest = self.session, self.manifest
        unbounded = tuple(replace(each, bounds=None) for each in manifest.inputs)
        if (session.inputs, session.outputs) != (unbounded, manifest.outputs):
            raise BundleError(f"{self.folder}: the model's inputs and outputs are not the manifest's; pack it again")
        if why_unfit(session.inputs, self.preprocess):
            raise BundleError(f"{self.folder}: its preprocessing does not give what the model takes; pack it again")

    @cached_property
    def named_inputs(self) -> NamedInputs:
        """Return the checks of samples by name, for a network whose inputs are taken as they are."""
        return named_inputs(self.session, self.manifest.inputs)

    def predict(self, paths: Iterable[Path], top: int = 3, batch: int = BATCH) -> list[dict[str, object]]:
        """Return the prediction for each sample of ``paths``, as ``edgekd predict --json`` prints it.

        Each has its ``file``, of one with several rows also the ``row`` from 0 on, and what the task predicts, with the
        ``top`` most probable classes or labels.

        Raises:
            DataError: a file cannot be read; the message names the first.
        """
        return [each.to_json() for each in self.stream(paths, top, batch)]

    def stream(
        self,
        paths: Iterable[Path],
        top: int = 3,
        batch: int = BATCH,
        skipped: Callable[[DataError], None] | None = None,
    ) -> Iterator[FilePrediction]:
        """Yield the predictions of :meth:`predict` as they are found, with ``batch`` samples in memory at a time.

        Of several inputs a file is read at once. With ``skipped``, a file that cannot be read is left out, and
        ``skipped`` is called with its error.
        """
        batches = self._named_batches if self.preprocess.kind == "tensors" else self._batches
        for places, inputs, geometry in batches(paths, batch, skipped or _raise):
            found = self.task.sample_predictions(self.task.decode(self.decoded(inputs, batch)), top, geometry)
            for (file, row), prediction in zip(places, found, strict=True):
                yield FilePrediction(file, row, prediction)

    def results(self, found: Iterable[FilePrediction], annotations: Path) -> Iterator[dict[str, object]]:
        """Yield the predictions ``found`` as tools of others score them, such as pycocotools.

        Args:
            annotations: the file with the truth, whose ids the results have.

        Raises:
            EdgekdError: the task has no such tools.
            DataError: ``annotations`` cannot be read, or are of other files.
        """
        if not isinstance(self.task, GivesResults):
            raise EdgekdError(f"{self.folder}: COCO's results are of boxes, not of {self.task.name}: leave --coco out")
        return self.task.results(((each.file, each.prediction) for each in found), annotations)

    def drawn(self, found: FilePrediction) -> bytes:
        """Return a JPEG of the file's image with the prediction drawn on it.

        Raises:
            EdgekdError: it is no prediction of places in an image, such as boxes.
            DataError: the file can no longer be read.
        """
        if self.preprocess.kind != "image" or not isinstance(found.prediction, PlacesInImage):
            raise EdgekdError(
                f"{self.folder}: a bundle for {self.task.name} predicts no places in images, so nothing is drawn: "
                "leave --pictures out"
            )
        path, file = Path(found.file), BytesIO()
        with reading(path):
            found.prediction.drawn_on(self.preprocess.prepare(open_image(path))).save(file, "JPEG", quality=90)
        return file.getvalue()

    def _batches(
        self, paths: Iterable[Path], batch: int, skipped: Callable[[DataError], None]
    ) -> Iterator[tuple[list[Place], np.ndarray, list[Geometry] | None]]:
        samples = self._samples(paths, skipped)
        while chunk := list(islice(samples, batch)):
            geometry = [each for _, _, each in chunk if each is not None]
            inputs = self.preprocess.apply(np.stack([raw for _, raw, _ in chunk]))
            yield [place for place, _, _ in chunk], inputs, geometry or None

    def _samples(
        self, paths: Iterable[Path], skipped: Callable[[DataError], None]
    ) -> Iterator[tuple[Place, np.ndarray, Geometry | None]]:
        for path, (raw, geometry) in readable(paths, self.preprocess.read_placed, skipped):
            for row, sample in enumerate(raw):
                yield (str(path), row if len(raw) > 1 else None), sample, geometry

    def _named_batches(
        self, paths: Iterable[Path], batch: int, skipped: Callable[[DataError], None]
    ) -> Iterator[tuple[list[Place], Inputs, None]]:
        """Files may differ in their open dimensions, so no batch is made of two."""
        for path, arrays in readable(paths, self.named_inputs.read, skipped):
            n = samples_in(arrays)
            for start in range(0, n, batch):
                rows = range(start, min(start + batch, n))
                yield [(str(path), row if n > 1 else None) for row in rows], rows_of(arrays, start, batch), None

    def take(self, samples: Inputs) -> Inputs:
        """Return raw ``samples`` (N, ...) as the network takes them: several by name as they are, after checks.

        Raises:
            DataError: they are not what the network takes.
        """
        if self.preprocess.kind == "tensors":
            return self.named_inputs.check(self.session.by_name(samples), "samples")
        if isinstance(samples, Mapping):
            raise DataError(f"samples: one array is expected, and there are several: {', '.join(samples)}")
        return self.preprocess.apply(samples)

    def run(self, inputs: Inputs, batch: int = BATCH) -> np.ndarray:
        """Return the logits (N, labels) of preprocessed ``inputs`` (N, ...), ``batch`` of them at a time.

        A model of a fixed batch size gets that many. Several inputs are given by name.
        """
        return self.outputs(inputs, batch, [self.manifest.decoded])[self.manifest.decoded]

    def decoded(self, inputs: Inputs, batch: int = BATCH) -> dict[str, np.ndarray]:
        """Return the outputs (N, ...) that the task decodes, by its names for them, of inputs as :meth:`run` takes."""
        shapes = self.task.output_shapes
        names = names_in_file([each.name for each in self.manifest.outputs], shapes).values()
        return decoded(self.outputs(inputs, batch, list(names)), shapes)

    def outputs(self, inputs: Inputs, batch: int = BATCH, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Return the outputs ``names`` (N, ...), by default all, of inputs as :meth:`run` takes them."""
        return self._checked(self.session.run(inputs, batch, names), samples_in(self.session.by_name(inputs)))

    def run_raw(self, images: np.ndarray, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Return the outputs of uint8 ``images`` (N, H, W, C), from the file that takes raw images."""
        session = self._session(RAW_MODEL, own_model(self.manifest).optimised)
        if session.inputs != self.manifest.raw_inputs:
            raise BundleError(f"{self.folder}: the inputs of {RAW_MODEL} are not the manifest's; pack it again")
        return self._checked(session.run(images, names=names), len(images))

    def _checked(self, outputs: dict[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
        wanted = self.task.output_shapes
        for name, known in names_in_file([each.name for each in self.manifest.outputs], wanted).items():
            if name in wanted and known in outputs:
                shape = outputs[known].shape
                if shape[:1] != (n,) or not fits(shape[1:], wanted[name]):
                    raise BundleError(f"{self.folder}: outputs {shape} for {len(self.task.names)} labels")
        return outputs

    def self_test(self) -> SelfTest:
        """Check that this machine computes the golden outputs, as the machine did that packed the bundle.

        If the bundle has a file that takes raw images, the worse of both results is returned. Golden images are decoded
        and resized here too; their result is returned if they do not pass. A file that decodes itself must predict what
        the model's outputs on this machine mean.

        Raises:
            BundleError: a part of the bundle contradicts its manifest, or the file that decodes itself the model.
        """
        own = own_model(self.manifest)
        if self.chosen != own:
            other = copy(self)
            other.chosen, other.session = own, self._session(*own)
            return other.self_test()
        self._check_copies()
        kept = Golden.read(self.folder, self.contents, self.manifest, self.task)
        names = list(kept.outputs)
        given = self.outputs(kept.inputs, names=names)
        found = [kept.judge(given)]
        if DECODED_MODEL in self.contents:
            session = self._session(DECODED_MODEL, own.optimised)
            if not compare_decoded(session, self.task, kept.inputs, given, "pack it again"):
                log.warning(
                    "%s: the golden samples have nothing to predict, so it was compared with nothing", session.name
                )
        if self.manifest.raw_inputs:
            found.append(kept.judge(self.run_raw(self._golden_images(samples_in(kept.inputs)), names)))
        worst = min(found, key=lambda each: (each.passed, -each.max_abs_difference))
        if not worst.passed or golden_images.PREDICTIONS not in self.contents:
            return worst
        images = golden_images.golden_of_images(self.folder, self.contents, self.preprocess, kept)
        if images is None:
            return worst
        seen = images.judge(self.outputs(images.inputs, names=[images.decoded]))
        return worst if seen.passed else seen

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
        metadata = self.session.metadata
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


def readable(
    paths: Iterable[Path], read: Callable[[Path], Content], skipped: Callable[[DataError], None]
) -> Iterator[tuple[Path, Content]]:
    """Yield each path with what ``read`` returns for it, and call ``skipped`` with the error of each that has none."""
    for path in paths:
        try:
            content = read(path)
        except DataError as error:
            skipped(error)
        else:
            yield path, content


def _raise(error: DataError) -> None:
    raise error


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


def having(task: Task, decoder: Mapping[str, float], folder: Path) -> Task:
    """Return ``task`` with other options of its decoder.

    Raises:
        EdgekdError: it has none of that name, or a value is out of its range.
    """
    unknown = next((name for name in decoder if name not in task.decoder_options), None)
    if unknown is not None:
        raise EdgekdError(f"{folder}: a bundle for {task.name} has no {unknown} to set: leave it out")
    return type(task)(task.names, **{**task.decoder(), **decoder}) if decoder else task


def named_inputs(session: BundleSession, tensors: Sequence[Tensor]) -> NamedInputs:
    """Return the checks of samples for a model, whose file's signature says which sizes it takes.

    Raises:
        BundleError: the signature is damaged.
    """
    try:
        signature = Signature.in_metadata(session.metadata)
    except ModelError as error:
        raise BundleError(f"{session.name}: {error}") from error
    return NamedInputs(tensors, session.dimensions, signature.dimensions if signature else {})


def samples_in(arrays: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(arrays.values())))


def rows_of(inputs: Inputs, start: int, count: int) -> Inputs:
    """Return up to ``count`` samples from ``start`` on."""
    part = slice(start, start + count)
    return {name: each[part] for name, each in inputs.items()} if isinstance(inputs, Mapping) else inputs[part]


def used(manifest: Manifest, file: str) -> set[str]:
    """Return the files that a prediction with the model ``file`` and the self-test read."""
    samples = [path for side in golden.golden_files(manifest) for path in side.values()]
    images = {file.path for file in manifest.files if file.role == golden_images.IMAGE}
    wanted = {file, manifest.model, RAW_MODEL, DECODED_MODEL, golden.RAW, golden_images.PREDICTIONS, *samples}
    return images | wanted & {file.path for file in manifest.files}


def same_document(text: str, known: object) -> bool:
    try:
        return bool(canonical_json(strict_json.parse(text.encode())) == canonical_json(known))
    except ValueError:
        return False
