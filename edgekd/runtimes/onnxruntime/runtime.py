"""ONNX Runtime: ONNX files on CPUs, and on CUDA through its providers."""

from edgekd.runtime import Profile, Runtime

NAME = "onnxruntime"
# Operators with integer kernels, and those that 8-bit codes are passed through unchanged.
KERNELS = (
    *("Conv", "Gemm", "MatMul", "BatchNormalization", "Add", "Mul", "Concat", "Split"),
    *("Sigmoid", "HardSigmoid", "HardSwish", "MaxPool", "AveragePool", "GlobalAveragePool"),
    *("ReduceMean", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "Expand"),
    *("Resize", "Pad", "Tile", "DepthToSpace"),
)
X86, ARM = ("x86_64",), ("aarch64",)

RUNTIME = Runtime(
    NAME,
    "ONNX Runtime",
    sessions=("onnxruntime", "onnxruntime-tensorrt"),
    loads="an .onnx file",
    suffixes=(".onnx",),
    packages=("onnxruntime",),
    shipped=("session",),
    profiles=(
        Profile("onnxruntime-x86", saturates=True, runtime=NAME, kernels=KERNELS, architectures=X86),
        Profile("onnxruntime-x86-vnni", runtime=NAME, kernels=KERNELS, architectures=X86, channels=16),
        Profile("onnxruntime-arm", runtime=NAME, kernels=KERNELS, architectures=ARM, activation_type="int8"),
    ),
    devices=("cpu",),
    records_kernels=True,
)
