"""Quantisation profiles of runtimes, as data: how a network is trained for a runtime, and how its file is written."""

from dataclasses import dataclass
from typing import Literal

from edgekd.errors import ExportError
from edgekd.registry import Registry

EIGHT_BITS, SEVEN_BITS = (-127, 127), (-64, 63)
# A dead channel has a range of zero and needs a scale above it. The value is exact in float16.
SMALLEST_SCALE = 2.0**-16
# Operators with integer kernels, and those that ONNX Runtime passes 8-bit codes through unchanged.
ONNXRUNTIME_KERNELS = (
    "Conv Gemm MatMul BatchNormalization Add Mul Concat Split Sigmoid HardSigmoid HardSwish "
    "MaxPool AveragePool GlobalAveragePool ReduceMean Flatten Reshape Transpose Squeeze"
)
# TensorRT moves the operators between these into int8 itself; a ConvTranspose runs in float16 even when quantised.
TENSORRT_KERNELS = "Conv Gemm MatMul"


@dataclass(frozen=True)
class Profile:
    """Quantisation for one runtime: 8-bit activations per tensor, symmetric 8-bit weights per output channel.

    The first four fields say how a network is trained for it, the rest how its file is written.
    """

    name: str
    activations: Literal["affine", "symmetric"] = "affine"
    """Symmetric ranges have zero point 0 in int8; affine ones any zero point in uint8."""
    saturates: bool = False
    """The processor adds pairs of 8-bit products in 16 bits, so that weights must stay smaller."""
    float16_scales: bool = False
    """Scales are rounded to float16, so that a file with float16 types holds the trained ones to the bit."""

    runtime: str | None = "onnxruntime"
    """None for a profile that is only trained for, without files of its own."""
    kernels: tuple[str, ...] = tuple(ONNXRUNTIME_KERNELS.split())
    """Operators that compute in int8."""
    activation_type: Literal["uint8", "int8"] = "uint8"
    quantised_outputs: bool = True
    """Convolutions and sums have quantised outputs; otherwise only the inputs of int8 layers are quantised."""
    float16: bool = False
    """Types outside int8 are float16, with float32 inputs and outputs."""
    computes_float16: bool = False
    """A float16 file runs faster than a float32 one."""
    channels: int = 8
    """Widths that are multiples of this fill the runtime's kernels."""

    def weight_range(self, nonnegative_input: bool) -> tuple[int, int]:
        """Return the smallest and the largest code of a layer's weights.

        Where the processor saturates, two products of the largest codes must fit in 16 bits. Symmetric codes of
        nonnegative inputs stay under 128, and 2·127·127 = 32258 fits. Otherwise 2·255·127 = 64770 does not, and
        weights have seven bits: 2·255·64 = 32640.
        """
        seven_bit_inputs = self.activations == "symmetric" and nonnegative_input
        return SEVEN_BITS if self.saturates and not seven_bit_inputs else EIGHT_BITS


PROFILES: Registry[Profile] = Registry("quantisation profile", ExportError)
FILE_RUNTIMES: dict[str, list[Profile]] = {}
"""The runtimes that files are written for, each with its profiles."""

for _profile in (
    Profile("onnxruntime-x86", saturates=True),
    Profile("onnxruntime-x86-vnni", channels=16),
    Profile("onnxruntime-arm", activation_type="int8"),
    Profile(
        "tensorrt",
        activations="symmetric",
        float16_scales=True,
        runtime="tensorrt",
        kernels=tuple(TENSORRT_KERNELS.split()),
        activation_type="int8",
        quantised_outputs=False,
        float16=True,
        computes_float16=True,
        channels=32,
    ),
    # One training that serves them all has the narrowest rule of each.
    Profile("portable", activations="symmetric", saturates=True, float16_scales=True, runtime=None, channels=32),
):
    PROFILES[_profile.name] = _profile
    if _profile.runtime:
        FILE_RUNTIMES.setdefault(_profile.runtime, []).append(_profile)


def must_serve(trained: str, target: str) -> None:
    """Refuse a file for ``target`` from a network trained for ``trained``, if the profiles are incompatible.

    Raises:
        ExportError: the runtime would refuse the file, or its outputs would differ from the trained network's.
    """
    source, wanted = PROFILES.find(trained), PROFILES.find(target)
    if wanted.runtime is None:
        files = ", ".join(name for name, profile in PROFILES.items() if profile.runtime)
        raise ExportError(f"{target} is a way to train, no runtime; export for one of {files}")
    reason = None
    if wanted.activations == "symmetric" and source.activations != "symmetric":
        reason = f"its activations have zero points, which {wanted.runtime} refuses"
    elif wanted.saturates and not source.saturates:
        reason = "its 8-bit weights overflow on x86 processors without VNNI"
    elif wanted.float16_scales and not source.float16_scales:
        reason = "its scales are not numbers of float16"
    if reason:
        raise ExportError(
            f"a network quantised for {trained} gives no file for {target}: {reason}; quantise with 'profile: portable'"
        )
