"""Golden samples: they show whether a machine computes the same outputs as when the bundle was packed."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tokenize import TokenError

import numpy as np

from edgekd.bundle.manifest import OUTPUTS, Manifest
from edgekd.bundle.named import dtype_of
from edgekd.errors import BundleError
from edgekd.strict_json import JsonObject
from edgekd.tasks.logits import decoded, fits, names_in_file
from edgekd.tasks.task import Task

INPUT, OUTPUT, RAW = "golden/input.npy", "golden/output.npy", "golden/raw.npy"
LEVELS = 255  # of 8 bits: a step is this share of the golden outputs' range
STEPS = {"float32": 0.25, "float16": 2.0}
STEPS_ELSE = 12.0  # kernels of other CPUs round and saturate differently


@dataclass(frozen=True)
class OutputTest:
    """The largest difference of one output from the packed one; ``tolerance`` = ``steps`` × ``step`` of it passes."""

    max_abs_difference: float
    step: float
    steps: float

    @property
    def tolerance(self) -> float:
        return self.step * self.steps

    @property
    def is_near(self) -> bool:
        return self.max_abs_difference <= self.tolerance


@dataclass(frozen=True)
class SelfTest:
    """Result on ``n`` golden samples: ``alike`` of the ``judged`` ones are predicted as when they were packed.

    Outputs may be ``tolerance`` = ``steps`` × ``step`` away from the packed ones. The difference is of the output that
    the task decodes; ``others`` are the rest, each with a tolerance of its own.
    """

    passed: bool
    n: int
    judged: int
    alike: int
    max_abs_difference: float
    step: float
    steps: float
    others: Mapping[str, OutputTest] = field(default_factory=dict)

    @property
    def tolerance(self) -> float:
        """Return the largest difference of outputs that passes."""
        return self.step * self.steps

    def to_json(self) -> JsonObject:
        document = asdict(self)
        return document if self.others else {key: value for key, value in document.items() if key != "others"}

    def describe(self) -> str:
        """Return how far the outputs are apart, for the message about a test that did not pass."""
        apart = [
            f"{name!r} is {each.max_abs_difference:.3g} apart, allowed {each.tolerance:.3g}"
            for name, each in self.others.items()
            if not each.is_near
        ]
        ours = (
            f"{self.alike} of {self.judged} predictions agree, largest difference {self.max_abs_difference:.3g}, "
            f"allowed {self.tolerance:.3g}"
        )
        return ", ".join([ours, *apart])


@dataclass(frozen=True)
class Golden:
    """Preprocessed ``inputs`` (N, ...) and the ``outputs`` (N, ...) by name, with each output's step and steps.

    ``decoded`` is the output that the task decodes, of several the first.
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    steps: Mapping[str, tuple[float, float]]
    decoded: str
    task: Task

    @classmethod
    def read(cls, folder: Path, contents: Mapping[str, bytes], manifest: Manifest, task: Task) -> "Golden":
        """Read the golden samples from the ``contents`` of the bundle ``folder``.

        Raises:
            BundleError: they are missing, or not of the manifest's shapes and types.
        """
        fed, got = golden_files(manifest)
        try:
            inputs = {name: npy_of(contents[path]) for name, path in fed.items()}
            outputs = {name: npy_of(contents[path]) for name, path in got.items()}
            said = manifest.self_test.get(OUTPUTS, {manifest.decoded: manifest.self_test})
            steps = {name: (float(said[name]["step"]), float(said[name]["steps"])) for name in outputs}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{folder}: its self-test cannot be read ({error!r}); pack it again") from error
        shapes = {each.name: (-1, *each.shape[1:]) for each in (*manifest.outputs, *manifest.inputs)}
        names = names_in_file([each.name for each in manifest.outputs], task.output_shapes)
        wanted = {known: task.output_shapes[name] for name, known in names.items() if name in task.output_shapes}
        types = {each.name: dtype_of(each) for each in manifest.inputs}
        n = next((len(each) for each in inputs.values() if each.ndim), 0)
        for name, each in (*inputs.items(), *outputs.items()):
            is_of_type = each.dtype == types[name] if name in inputs else each.dtype.kind in "biuf"
            is_of_shape = matches(each, shapes[name]) and (name not in wanted or fits(each.shape[1:], wanted[name]))
            if not n or not is_of_shape or len(each) != n or not is_of_type:
                raise BundleError(
                    f"{folder}: golden samples of {name!r} are {each.dtype} {each.shape}, "
                    f"expected {types.get(name, 'numbers')} {[n, *shapes[name][1:]]}; pack it again"
                )
        return cls(inputs, outputs, steps, manifest.decoded, task)

    def judge(self, got: Mapping[str, np.ndarray]) -> SelfTest:
        """Compare the outputs ``got`` (N, ...) with the packed ones.

        Every output must be within its tolerance. Every prediction must be the same, except where the packed outputs
        are closer to another prediction than the tolerance: there, either passes.
        """
        found = {
            name: OutputTest(difference(got[name], each), *self.steps[name]) for name, each in self.outputs.items()
        }
        main = found.pop(self.decoded)
        task, shapes = self.task, self.task.output_shapes
        ours, expected = (decoded(outputs, shapes) for outputs in (got, self.outputs))
        tests = {**found, self.decoded: main}
        given = names_in_file(list(self.outputs), shapes)
        settled = task.settled(expected, {name: tests[known].tolerance for name, known in given.items()})
        alike = task.agree(task.decode(ours), task.decode(expected))[settled]
        passed = bool(alike.all()) and all(each.is_near for each in (main, *found.values()))
        n, judged = len(got[self.decoded]), int(settled.sum())
        return SelfTest(passed, n, judged, int(alike.sum()), main.max_abs_difference, main.step, main.steps, found)


def golden_files(manifest: Manifest) -> tuple[dict[str, str], dict[str, str]]:
    """Return the files of golden samples by inputs and by outputs."""
    several = OUTPUTS in manifest.self_test
    outputs = [each.name for each in manifest.outputs] if several else [manifest.decoded]
    return files_of([each.name for each in manifest.inputs], outputs, several)


def files_of(inputs: Sequence[str], outputs: Sequence[str], several: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Return the files for inputs and outputs of these names: ``INPUT`` and ``OUTPUT``, of ``several`` one for each."""
    if several:
        return {name: f"golden/{name}.npy" for name in inputs}, {name: f"golden/{name}.npy" for name in outputs}
    return {inputs[0]: INPUT}, {outputs[0]: OUTPUT}


def tolerances_to_json(outputs: Mapping[str, np.ndarray], steps: float, several: bool) -> JsonObject:
    """Return what a manifest's self-test says of the golden ``outputs``: a step and how many are allowed, of each."""
    found = {name: {"step": step_of(each), "steps": steps} for name, each in outputs.items()}
    return {OUTPUTS: found} if several else next(iter(found.values()))


def matches(array: np.ndarray, shape: Sequence[int]) -> bool:
    """Return whether ``array`` has the ``shape``, in which -1 is any size."""
    return array.ndim == len(shape) and all(size in (-1, each) for size, each in zip(shape, array.shape, strict=True))


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference of two outputs, NaN where one holds NaN; infinite if they differ in shape."""
    if ours.shape != theirs.shape:
        return math.inf
    is_float = ours.dtype.kind == theirs.dtype.kind == "f"
    ours, theirs = (ours, theirs) if is_float else (ours.astype(np.float64), theirs.astype(np.float64))
    return float(np.abs(ours - theirs).max(initial=0))


def step_of(outputs: np.ndarray) -> float:
    """Return a 255th of the range of ``outputs``."""
    values = outputs if outputs.dtype.kind == "f" else outputs.astype(np.float64)
    return float(np.ptp(values)) / LEVELS or 1e-6


def npy_of(content: bytes) -> np.ndarray:
    """Return the array in a .npy file.

    Raises:
        ValueError: its header promises another number of bytes.
    """
    file = io.BytesIO(content)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"a .npy file of version {version}")
    try:
        shape, fortran, dtype = readers[version](file)
    except (TokenError, SyntaxError) as error:
        raise ValueError(f"its header cannot be read: {error}") from error
    # np.load would set aside what the header promises before it reads.
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"its header promises {dtype} {shape}, and the file holds something else")
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if fortran else "C")
