"""ONNX Runtime: ONNX files on CPUs, and on CUDA through its providers."""

from edgekd.runtime import Profile, Runtime

NAME = "onnxruntime"
# Operators with integer kernels, and those that 8-bit codes are passed through unchanged.
KERNELS = (
    *("Conv", "Gemm", "MatMul", "BatchNormalization", "Add", "Mul", "Concat", "Split"),
    *("Sigmoid", "HardSigmoid", "HardSwish", "MaxPool", "AveragePool", "GlobalAveragePool"),
    *("ReduceMean", "Flatten", "Reshape", "Transpose", "Squeeze"),
)

RUNTIME = Runtime(
    NAME,
    "ONNX Runtime",
    sessions=("onnxruntime", "onnxruntime-tensorrt"),
    profiles=(
        Profile("onnxruntime-x86", saturates=True, runtime=NAME, kernels=KERNELS),
        Profile("onnxruntime-x86-vnni", runtime=NAME, kernels=KERNELS, channels=16),
        Profile("onnxruntime-arm", runtime=NAME, kernels=KERNELS, activation_type="int8"),
    ),
)
