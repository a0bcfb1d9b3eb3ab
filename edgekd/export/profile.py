"""What each runtime wants of a quantised graph, as data: how it is trained, and how its file is written."""

from dataclasses import dataclass
from typing import Literal

from edgekd.errors import ExportError
from edgekd.registry import Registry

EIGHT_BITS, SEVEN_BITS = (-127, 127), (-64, 63)
# A dead channel's range is zero; its scale must be above it. It is a number of float16, too.
SMALLEST_SCALE = 2.0**-16
# Of QLinearConv and its kin, and what ONNX Runtime passes 8-bit codes through unchanged.
ONNXRUNTIME_KERNELS = (
    "Conv Gemm MatMul BatchNormalization Add Mul Concat Split Sigmoid HardSigmoid HardSwish "
    "MaxPool AveragePool GlobalAveragePool ReduceMean Flatten Reshape Transpose Squeeze"
)
# TensorRT moves what lies between these into int8 by itself; a ConvTranspose runs in float16 even when quantised.
TENSORRT_KERNELS = "Conv Gemm MatMul"


@dataclass(frozen=True)
class Profile:
    """Quantisation for one runtime: 8-bit activations per tensor, symmetric 8-bit weights per output channel.

    The first four fields say how a network is trained for it, the rest how its file is written.
    """

    name: str
    activations: Literal["affine", "symmetric"] = "affine"
    """Symmetric ranges have their zero point at 0 of int8; affine ones anywhere in uint8."""
    saturates: bool = False
    """The processor adds pairs of 8-bit products in 16 bits, so that weights must leave room."""
    float16_scales: bool = False
    """Scales are numbers of float16, so that a file with float16 types holds the trained ones to the bit."""

    runtime: Literal["onnxruntime", "tensorrt"] | None = "onnxruntime"
    """None where no file is written for it: it is only trained for."""
    kernels: tuple[str, ...] = tuple(ONNXRUNTIME_KERNELS.split())
    """Operators that compute in int8."""
    activation_type: Literal["uint8", "int8"] = "uint8"
    quantised_outputs: bool = True
    """Convolutions and sums give int8; without it their outputs stay in float until the next layer asks."""
    float16: bool = False
    """What is not int8 is float16, with float32 at the edges."""
    computes_float16: bool = False
    """A float16 file runs faster than a float32 one."""
    channels: int = 8
    """Widths that are multiples of this fill the runtime's kernels."""

    def weight_range(self, nonnegative_input: bool) -> tuple[int, int]:
        """Codes that a layer's weights may have.

        Two products of the largest codes must fit in 16 bits where the processor saturates. Symmetric codes of
        what is never negative stay under 128, and 2·127·127 = 32258 fits; else 2·255·127 = 64770 does not,
        and seven bits do: 2·255·64 = 32640.
        """
        roomy = self.activations == "symmetric" and nonnegative_input
        return SEVEN_BITS if self.saturates and not roomy else EIGHT_BITS


PROFILES: Registry[Profile] = Registry("quantisation profile", ExportError)

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


def must_serve(trained: str, target: str) -> None:
    """Refuses to write a file for ``target`` from a network trained for ``trained``.

    Raises:
        ExportError: the runtime would refuse the file, or give other answers than the trained network.
    """
    ours, theirs = PROFILES.find(trained), PROFILES.find(target)
    if theirs.runtime is None:
        files = ", ".join(name for name, profile in PROFILES.items() if profile.runtime)
        raise ExportError(f"{target} is a way to train, no runtime; export for one of {files}")
    reason = None
    if theirs.activations == "symmetric" and ours.activations != "symmetric":
        reason = f"its activations have zero points, which {theirs.runtime} refuses"
    elif theirs.saturates and not ours.saturates:
        reason = "its 8-bit weights overflow on x86 processors without VNNI"
    elif theirs.float16_scales and not ours.float16_scales:
        reason = "its scales are not numbers of float16"
    if reason:
        raise ExportError(
            f"a network quantised for {trained} gives no file for {target}: {reason}; quantise with 'profile: portable'"
        )
