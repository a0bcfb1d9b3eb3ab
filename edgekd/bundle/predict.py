"""A bundle at work in ONNX Runtime: the preprocessing, the network and the labels, as they were packed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgekd.bundle.manifest import Tensor
from edgekd.bundle.verify import verify
from edgekd.errors import BundleError
from edgekd.preprocess import Preprocess

BATCH = 32
GOLDEN_INPUT, GOLDEN_OUTPUT = "golden/input.npy", "golden/output.npy"
DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float": "FP32", "double": "FP64",
}  # fmt: skip


@dataclass(frozen=True)
class SelfTest:
    """``same_class`` of the ``judged`` golden samples had the class they had when packed."""

    passed: bool
    n: int
    judged: int
    same_class: int
    max_abs_difference: float
    tolerance: float


class Predictor:
    """Verifies ``folder``, then loads its model on the CPU.

    >>> Predictor(Path("bundle")).predict([Path("part.png")])  # doctest: +SKIP
    [{'file': 'part.png', 'label': 'ok', 'probability': 0.98, 'top': [...]}]
    """

    def __init__(self, folder: Path, threads: int = 0):
        self.folder = folder
        self.manifest = verify(folder)
        self.preprocess = Preprocess.from_json(self.manifest.preprocess)
        self.session = load_session(folder / self.manifest.model, threads)
        self.must_fit()
        shape = self.manifest.inputs[0].shape
        self.fixed_batch = shape[0] if shape and shape[0] > 0 else None

    def must_fit(self) -> None:
        inputs, outputs = tensors(self.session.get_inputs()), tensors(self.session.get_outputs())
        if (inputs, outputs) != (self.manifest.inputs, self.manifest.outputs):
            raise BundleError(f"{self.folder}: the model's inputs and outputs are not the manifest's; pack it again")
        if len(inputs) != 1 or not takes(inputs[0], self.preprocess):
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
        step = self.fixed_batch or batch
        outputs = [self.run_once(inputs[start : start + step]) for start in range(0, len(inputs), step)]
        logits = np.concatenate(outputs)
        if logits.shape != (len(inputs), len(self.manifest.labels)):
            raise BundleError(f"{self.folder}: outputs {logits.shape} for {len(self.manifest.labels)} labels")
        return logits

    def run_once(self, batch: np.ndarray) -> np.ndarray:
        missing = (self.fixed_batch or len(batch)) - len(batch)
        filled = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch
        names = [self.manifest.outputs[0].name]
        (output,) = self.session.run(names, {self.manifest.inputs[0].name: filled})
        return np.asarray(output)[: len(batch)]

    def self_test(self) -> SelfTest:
        """Whether this machine computes for the golden input what was computed when the bundle was packed.

        Every output must be within the manifest's tolerance, and every class the same except where the two
        best logits were packed closer together than the tolerance: there, either class is right.
        """
        golden, expected, tolerance = self.golden()
        got = self.run(golden)
        best = np.sort(expected, axis=1)
        clear = best[:, -1] - best[:, -2] > tolerance if best.shape[1] > 1 else np.ones(len(best), bool)
        same = (got.argmax(1) == expected.argmax(1))[clear]
        apart = float(np.abs(got - expected).max())
        passed = apart <= tolerance and bool(same.all())
        return SelfTest(passed, len(golden), int(clear.sum()), int(same.sum()), apart, tolerance)

    def golden(self) -> tuple[np.ndarray, np.ndarray, float]:
        try:
            fed, expected = (read_npy(self.folder / name) for name in (GOLDEN_INPUT, GOLDEN_OUTPUT))
            tolerance = float(self.manifest.self_test["tolerance"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{self.folder}: its self-test cannot be read ({error!r}); pack it again") from error
        n = fed.shape[:1]
        shapes = n + self.preprocess.shape, (*n, len(self.manifest.labels))
        if (fed.shape, expected.shape) != shapes or not fed.size:
            raise BundleError(
                f"{self.folder}: golden samples are {fed.shape} to {expected.shape}, expected {shapes[0]} to "
                f"{shapes[1]}; pack it again"
            )
        return fed, expected, tolerance


def load_session(model: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base but this
        raise BundleError(f"{model}: ONNX Runtime {onnxruntime.__version__} cannot load it: {error}") from error


def takes(tensor: Tensor, preprocess: Preprocess) -> bool:
    """Whether ``preprocess`` gives what a model takes at ``tensor``."""
    shape = tensor.shape[1:]
    if tensor.datatype != "FP32" or len(shape) != len(preprocess.shape):
        return False
    return all(size in (-1, wanted) for size, wanted in zip(shape, preprocess.shape, strict=True))


def tensors(described: Sequence[Any]) -> tuple[Tensor, ...]:
    """What ONNX Runtime says of a session's inputs or outputs, in Open Inference Protocol v2 terms."""
    return tuple(
        Tensor(
            each.name,
            DATATYPES.get(each.type.removeprefix("tensor(").removesuffix(")"), each.type),
            tuple(size if isinstance(size, int) and size > 0 else -1 for size in each.shape),
        )
        for each in described
    )


def read_npy(path: Path) -> np.ndarray:
    # Mapped, because the header may promise more than the file holds, and np.load would set that much memory aside.
    mapped = np.lib.format.open_memmap(path, mode="r")
    return np.array(mapped, np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)
