"""Others' post-training quantisers behind one function: ``quantise("NNCF", float_file, file, images)``.

Each runs in a process of its own, ``python peers.py PEER FLOAT.onnx FILE.onnx IMAGES.npy``: some take gigabytes, and
one that dies must not take the benchmark with it. A peer that is not installed or fails is reported with its reason.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.bench.environment import cpu
from edgekd.errors import EdgekdError
from edgekd.files import make_folder
from edgekd.registry import Registry

Images = NDArray[np.float32]
Quantiser = Callable[[Path, Path, Images], None]

FILES: Registry[Quantiser] = Registry("peer", EdgekdError)
PACKAGE = {"ORT": "onnxruntime", "NNCF": "nncf", "OpenVINO": "openvino"}
# With these the products of 8-bit numbers are added up in 32 bits.
WIDE_SUMS = {"avx_vnni", "avx512_vnni", "amx_int8"}
BATCH = 16
MAX_SECONDS = 3600


@dataclass(frozen=True)
class Made:
    """What a peer made of a float file: its own file, or why there is none."""

    file: Path | None
    error: str | None
    seconds: float


def saturates() -> bool:
    """Whether this processor adds pairs of 8-bit products in 16 bits, so that weights must have 7."""
    about = cpu()
    return about.architecture == "x86_64" and not WIDE_SUMS & set(about.flags or [])


def x86_profile() -> str:
    """edgekd's own way around it."""
    return "onnxruntime-x86" if saturates() else "onnxruntime-x86-vnni"


def package_of(peer: str) -> str:
    return PACKAGE[peer.split()[0]]


def version_of(peer: str) -> str | None:
    package = package_of(peer)
    return version(package) if find_spec(package) else None


def quantise(peer: str, float_file: Path, file: Path, images: Images) -> Made:
    """Writes what ``peer`` makes of ``float_file``, calibrated on ``images`` (N, C, H, W) as the network takes them."""
    FILES.find(peer)
    if version_of(peer) is None:
        return Made(None, f"{package_of(peer)} is not installed; pip install 'edgekd[bench]' brings it", 0.0)
    make_folder(file.parent)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "images.npy", images)
        command = [sys.executable, __file__, peer, str(float_file), str(file), f"{folder}/images.npy"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=MAX_SECONDS)
            error = None if done.returncode == 0 else reason(done)
        except subprocess.TimeoutExpired:
            error = f"not done after {MAX_SECONDS} s"
    return Made(file if error is None else None, error, time.monotonic() - started)


def reason(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else f"ended with {done.returncode}"


def runs(file: Path, image: Images) -> str | None:
    """None where ONNX Runtime loads and runs ``file``, else what it says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        session.run(None, {session.get_inputs()[0].name: image})
    except Exception as error:  # the runtime has a class of its own for each status
        return f"{type(error).__name__}: {error}"[:300]
    return None


def onnxruntime_static(float_file: Path, file: Path, images: Images, tuned: bool) -> None:
    """As its documentation has it: pre-processing, then ``quantize_static``; ``tuned`` for x86, else its defaults."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter(np.array_split(images, -(-len(images) // BATCH)))

        def get_next(self) -> dict[str, Images] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"input": batch}

    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.onnx"
        try:
            quant_pre_process(str(float_file), str(ready))
        except (
            Exception
        ) as error:  # its symbolic shapes are for transformers, and stop at an open batch behind a Resize
            print(f"ONNX Runtime's pre-processing without symbolic shapes: {error}", file=sys.stderr)
            quant_pre_process(str(float_file), str(ready), skip_symbolic_shape=True)
        for_x86 = {
            **{"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8},
            **{"per_channel": True, "reduce_range": saturates()},
        }
        quantize_static(str(ready), str(file), Reader(), **(for_x86 if tuned else {}))


def neural_network_compression_framework(
    float_file: Path, file: Path, images: Images, mixed: bool = False, half_range: bool = False
) -> None:
    """As its documentation has it; ``half_range`` is its own answer to processors that saturate."""
    import nncf
    import onnx
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

    preset = {"preset": nncf.QuantizationPreset.MIXED} if mixed else {}
    if half_range:
        preset["advanced_parameters"] = AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE)
    dataset = nncf.Dataset([{"input": image[None]} for image in images])
    quantised = nncf.quantize(onnx.load(float_file), dataset, subset_size=len(images), **preset)
    onnx.save(quantised, file)


FILES["ORT defaults"] = partial(onnxruntime_static, tuned=False)
FILES["ORT QUInt8/QInt8 per channel"] = partial(onnxruntime_static, tuned=True)
FILES["NNCF"] = neural_network_compression_framework
FILES["NNCF mixed"] = partial(neural_network_compression_framework, mixed=True)
if saturates():
    FILES["NNCF mixed, half range"] = partial(neural_network_compression_framework, mixed=True, half_range=True)


def main() -> None:
    peer, float_file, file, images = sys.argv[1:5]
    FILES.find(peer)(Path(float_file), Path(file), np.load(images))


if __name__ == "__main__":
    main()
