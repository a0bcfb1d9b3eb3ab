"""What :mod:`tests.devices.fake_jetson` runs as ``trtexec``: reads the flags of the real one, and writes its files."""

import json
import sys
import time
from pathlib import Path

FLAGS = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
MS_PER_KB, QUERIES = 0.02, 600
CAPTURE_MS = 100  # what comes before the warm-up
NOISE = 0.08  # by which every second run takes longer of a file that says it is noisy


def main() -> int:
    if "help" in FLAGS:
        return 0
    if "onnx" in FLAGS:
        return build(Path(FLAGS["onnx"]))
    engine = Path(FLAGS["loadEngine"])
    shapes, marked, content = engine.read_bytes().partition(b"|engine:")
    shapes, _, detailed = shapes.partition(b"|")
    if not marked or shapes.decode() != FLAGS.get("shapes", ""):
        return fail("Engine deserialization failed, or other shapes")
    print("[I] Starting inference", flush=True)
    if "exportTimes" in FLAGS:
        times(MS_PER_KB * len(content) / 1000 * (1 + NOISE * (b"noisy" in content and is_second(engine))))
    if "exportProfile" in FLAGS:
        profile(detailed)
    if "exportOutput" in FLAGS:
        outputs(content)
    print("&&&& PASSED TensorRT.trtexec", flush=True)
    return 0


def build(path: Path) -> int:
    content = path.read_bytes()
    if b"unsupported" in content:
        return fail("ModelImporter.cpp: No importer registered for op: Unsupported")
    detailed = b"|detailed" if FLAGS.get("profilingVerbosity") == "detailed" else b""
    Path(FLAGS["saveEngine"]).write_bytes(FLAGS.get("shapes", "").encode() + detailed + b"|engine:" + content)
    if "useDLACore" in FLAGS:
        print("[I] [TRT] ---------- Layers Running on DLA ----------")
        print("[I] [TRT] [DlaLayer] {ForeignNode[conv1...relu1]}")
        print("[I] [TRT] ---------- Layers Running on GPU ----------")
        print("[I] [TRT] [GpuLayer] CONVOLUTION: conv2")
    return 0


def is_second(engine: Path) -> bool:
    """Whether this is the second, fourth ... run of the engine in this folder."""
    with engine.with_suffix(".runs").open("ab") as runs:
        runs.write(b".")
        return runs.tell() % 2 == 0


def times(compute: float) -> None:
    warmup = int(FLAGS["warmUp"]) + CAPTURE_MS
    time.sleep((warmup + QUERIES * compute) / 1000)
    entries = [query(warmup + number * compute, compute) for number in range(QUERIES)]
    Path(FLAGS["exportTimes"]).write_text(json.dumps(entries))


def query(start: float, compute: float) -> dict[str, float]:
    return {
        "startEnqMs": start, "endEnqMs": start + 0.01, "startH2dMs": start, "endH2dMs": start,
        "startComputeMs": start, "endComputeMs": start + compute, "startD2hMs": start, "endD2hMs": start,
        "h2dMs": 0.0, "computeMs": compute, "d2hMs": 0.0, "latencyMs": compute,
    }  # fmt: skip


def profile(detailed: bytes) -> None:
    """As TensorRT 10 writes them."""
    rows = [("conv1 + relu", 0.3), ("Reformatting CopyNode for Output Tensor 0", 0.02), ("fc", 0.08)]
    total = sum(ms for _, ms in rows)
    lines = [
        f', {{ "name" : "{name}", "timeMs" : {600 * ms}, "averageMs" : {ms}, "medianMs" : {ms}, '
        f'"percentage" : {100 * ms / total} }}'
        for name, ms in rows
    ]
    Path(FLAGS["exportProfile"]).write_text("\n".join(["[", '  { "count" : 600 }', *lines, "]"]))
    if not detailed:
        layers: list[object] = [name for name, _ in rows]
    else:
        layers = [
            {
                "Name": name,
                "LayerType": kind,
                "Inputs": [{"Name": "x", "Location": "Device", "Dimensions": [1, 16], "Format/Datatype": takes}],
                "Outputs": [{"Name": "y", "Location": "Device", "Dimensions": [1, 16], "Format/Datatype": gives}],
            }
            for (name, _), kind, takes, gives in zip(
                rows,
                ("CaskConvolution", "NoOp", "CaskGemmConvolution"),
                ("Thirty-two wide channel vectorized row major Int8 format", "Row major Int8", "Row major linear FP16"),
                ("Thirty-two wide channel vectorized row major Int8 format", "N/A", "Row major linear FP32"),
                strict=True,
            )
        ]
    Path(FLAGS["exportLayerInfo"]).write_text(json.dumps({"Layers": layers, "Bindings": ["x", "y"]}))


def outputs(content: bytes) -> None:
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    name, _, file = FLAGS["loadInputs"].partition(":")
    node = session.get_inputs()[0]
    assert node.name == name
    dims = FLAGS["shapes"].partition(":")[2] if "shapes" in FLAGS else "x".join(map(str, node.shape))
    given = np.fromfile(file, np.float32).reshape(*map(int, dims.split("x")))
    values = session.run(None, {name: given})[0]
    text = ", ".join(f"{value:.6g}" for value in values.ravel())
    shape = "x".join(map(str, values.shape))
    output = session.get_outputs()[0].name
    Path(FLAGS["exportOutput"]).write_text(
        f'[\n  {{ "name" : "{output}"\n  , "dimensions" : "{shape}"\n  , "values" : [ {text} ]\n  }}\n]\n'
    )


def fail(why: str) -> int:
    print(f"[E] {why}\n&&&& FAILED TensorRT.trtexec")
    return 1


if __name__ == "__main__":
    sys.exit(main())
