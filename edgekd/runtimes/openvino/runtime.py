"""OpenVINO: ONNX files on CPUs."""

from functools import partial

from edgekd.runtime import Profile, Runtime

NAME = "openvino"
# Operators with integer kernels, and those that 8-bit codes are passed through unchanged. Activation functions are
# fused into the layer before them, which then rounds their result.
KERNELS = (
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "Add", "Concat", "Split"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "Flatten", "Reshape", "Transpose", "Squeeze"),
)
X86 = ("x86_64",)
_profile = partial(Profile, shared_concat=True, runtime=NAME, kernels=KERNELS, activation_type=None, architectures=X86)

RUNTIME = Runtime(
    NAME,
    "OpenVINO",
    sessions=(NAME,),
    loads="an .onnx file",
    suffixes=(".onnx",),
    packages=("openvino",),
    profiles=(
        _profile("openvino-x86", saturates=True),
        _profile("openvino-x86-vnni", channels=16),
    ),
    devices=("cpu",),
    takes_precision=True,
    records_kernels=True,
    shipped=("session", "recording", "execution"),
)
