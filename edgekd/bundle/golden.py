"""Golden samples: they show whether a machine computes the same outputs as when the bundle was packed."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np

from edgekd.bundle.manifest import Manifest
from edgekd.errors import BundleError
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.task import Task

INPUT, OUTPUT, RAW = "golden/input.npy", "golden/output.npy", "golden/raw.npy"
LEVELS = 255  # of 8 bits: a step is this share of the golden outputs' range
STEPS = {"float32": 0.25, "float16": 2.0}
STEPS_ELSE = 12.0  # kernels of other CPUs round and saturate differently


@dataclass(frozen=True)
class SelfTest:
    """Result on ``n`` golden samples: ``alike`` of the ``judged`` ones are predicted as when they were packed.

    Outputs may be ``tolerance`` = ``steps`` × ``step`` away from the packed ones.
    """

    passed: bool
    n: int
    judged: int
    alike: int
    max_abs_difference: float
    step: float
    steps: float

    @property
    def tolerance(self) -> float:
        """Return the largest difference of outputs that passes."""
        return self.step * self.steps


@dataclass(frozen=True)
class Golden:
    """Preprocessed ``inputs`` float32 (N, ...) and ``outputs`` (N, labels), with the tolerance ``step`` × ``steps``."""

    inputs: np.ndarray
    outputs: np.ndarray
    step: float
    steps: float
    task: Task

    @classmethod
    def read(
        cls, folder: Path, contents: Mapping[str, bytes], manifest: Manifest, shape: tuple[int, ...], task: Task
    ) -> "Golden":
        """Read the golden samples from the ``contents`` of the bundle ``folder``.

        ``shape`` is that of one preprocessed sample.

        Raises:
            BundleError: they are missing, or of other shapes.
        """
        try:
            inputs, outputs = (npy_of(contents[name]).astype(np.float32) for name in (INPUT, OUTPUT))
            step, steps = (float(manifest.self_test[key]) for key in ("step", "steps"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{folder}: its self-test cannot be read ({error!r}); pack it again") from error
        n = inputs.shape[:1]
        expected = n + shape, (*n, len(task.names))
        if (inputs.shape, outputs.shape) != expected or not inputs.size:
            raise BundleError(
                f"{folder}: golden samples are {inputs.shape} to {outputs.shape}, "
                f"expected {expected[0]} to {expected[1]}; pack it again"
            )
        return cls(inputs, outputs, step, steps, task)

    def judge(self, got: np.ndarray) -> SelfTest:
        """Compare the outputs ``got`` (N, labels) with the packed ones.

        Every output must be within the tolerance. Every prediction must be the same, except where the packed outputs
        are closer to another prediction than the tolerance: there, either passes.
        """
        tolerance, task, expected = self.step * self.steps, self.task, {LOGITS: self.outputs}
        settled = task.settled(expected, tolerance)
        alike = task.agree(task.decode({LOGITS: got}), task.decode(expected))[settled]
        apart = float(np.abs(got - self.outputs).max())
        passed = apart <= tolerance and bool(alike.all())
        return SelfTest(passed, len(got), int(settled.sum()), int(alike.sum()), apart, self.step, self.steps)


def step_of(outputs: np.ndarray) -> float:
    """Return a 255th of the range of ``outputs``."""
    return float(np.ptp(outputs)) / LEVELS or 1e-6


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
