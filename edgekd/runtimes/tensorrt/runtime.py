"""TensorRT: engines on NVIDIA's GPUs."""

from edgekd.runtime import Profile, Runtime

NAME = "tensorrt"

RUNTIME = Runtime(
    NAME,
    "TensorRT",
    sessions=("tensorrt",),
    loads="an .engine file built on this machine",
    suffixes=(".engine", ".plan"),
    packages=("tensorrt", "tensorrt_rtx"),
    shipped=("on_device",),
    profiles=(
        Profile(
            "tensorrt",
            activations="symmetric",
            float16_scales=True,
            runtime=NAME,
            # TensorRT moves the operators between these into int8 itself; a ConvTranspose runs in float16 even when
            # quantised.
            kernels=("Conv", "Gemm", "MatMul"),
            activation_type="int8",
            quantised_outputs=False,
            float16=True,
            computes_float16=True,
            channels=32,
        ),
    ),
    processor="NVIDIA GPU",
    takes_threads=False,
    one_input_remotely=True,
    deployment=(
        "TensorRT loads an engine, which is built on the device: `trtexec --onnx={file} --saveEngine=model.engine "
        "--stronglyTyped`; before TensorRT 10, `--fp16 --int8` in place of the last flag."
    ),
)
