"""What is fuzzed: for each kind a class that makes a damaged input of a seed, and uses it as a command would."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import numpy as np
from harness.mutations import as_json, as_toml, as_yaml, changed, damaged, mutated

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "benchmarks/results/quickstart/report.json"
Use = Callable[[], object]


class Kind:
    """``case`` writes the input of ``seed`` into ``folder`` and returns its size and what uses it."""

    def __init__(self, folder: Path):
        """``folder`` keeps what all cases are made of."""

    def case(self, random: Random, folder: Path) -> tuple[int, Use]:
        raise NotImplementedError


def written(path: Path, content: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return len(content)


class Recipes(Kind):
    def __init__(self, folder: Path):
        import yaml

        import edgekd.recipe  # noqa: F401

        self.known = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "recipes").glob("*.yaml"))]

    def case(self, random: Random, folder: Path) -> tuple[int, Use]:
        from edgekd.recipe import load_recipe

        path = folder / "recipe.yaml"
        size = written(path, mutated(random.choice(self.known), as_yaml, random))

        def use() -> None:
            recipe = load_recipe(path)
            recipe.to_yaml()
            json.dumps(recipe.to_json())

        return size, use


class Reports(Kind):
    def __init__(self, folder: Path):
        import edgekd.report  # noqa: F401

        self.document = json.loads(REPORT.read_bytes())

    def case(self, random: Random, folder: Path) -> tuple[int, Use]:
        from rich.console import Console

        from edgekd.report.html import render_html
        from edgekd.report.load import load_report, readable
        from edgekd.report.markdown import render_markdown
        from edgekd.report.table import render_table

        size, pictures = (
            written(folder / "report.json", mutated(self.document, as_json, random)),
            random.random() < 0.05,
        )

        def use() -> None:
            report = load_report(folder)
            with readable(report.name):
                render_markdown(report).encode()
                Console(file=io.StringIO(), width=160).print(render_table(report))
                if pictures:
                    render_html(report).encode()

        return size, use


class Baselines(Kind):
    def __init__(self, folder: Path):
        from edgekd.gate import load_subject

        self.report = json.loads(REPORT.read_bytes())
        load_subject(REPORT).save(folder / "baseline.json")
        self.good = load_subject(folder / "baseline.json")
        self.document = json.loads((folder / "baseline.json").read_bytes())

    def case(self, random: Random, folder: Path) -> tuple[int, Use]:
        from rich.console import Console

        from edgekd.gate import check, load_subject
        from edgekd.gate.junit import render_junit
        from edgekd.gate.markdown import render_markdown
        from edgekd.gate.table import render_table

        first = random.random() < 0.5
        document = self.document if first else self.report
        size = written(folder / "input.json", mutated(document, as_json, random))

        def use() -> None:
            found = load_subject(folder / "input.json")
            verdict = check(found, self.good) if first else check(self.good, found)
            json.dumps(verdict.to_json())
            render_junit(verdict).encode()
            render_markdown(verdict).encode()
            Console(file=io.StringIO(), width=160).print(render_table(verdict))

        return size, use


class Policies(Baselines):
    document_of_policy: ClassVar[dict[str, Any]] = {
        "confidence": 0.95,
        "metrics": {
            "accuracy": {"absolute": 0.01, "floor": 0.5, "warn": {"relative": 0.1}},
            "latency_ratio": {"relative": 0.05, "ceiling": 2.0, "direction": "lower", "level": "warn"},
            "operators": {"level": "information"},
        },
    }

    def case(self, random: Random, folder: Path) -> tuple[int, Use]:
        from edgekd.gate import check
        from edgekd.gate.policy import load_policy

        path = folder / "gate.toml"
        size = written(path, mutated(self.document_of_policy, as_toml, random))
        return size, lambda: check(self.good, self.good, load_policy(path)).to_json()


class Bundles(Kind):
    def __init__(self, folder: Path):
        from edgekd.bundle.pack import pack
        from edgekd.bundle.session import BundleSession
        from edgekd.preprocess import Preprocess
        from edgekd.tasks.multilabel import Multilabel

        preprocess = Preprocess("image", (1, 8, 8), (0.5,), (0.5,))
        write_model(folder / "a.onnx")
        samples = np.random.default_rng(0).integers(0, 255, (4, 1, 8, 8), np.uint8)
        inputs = preprocess.apply(samples)
        outputs = BundleSession(folder / "a.onnx", 1).run(inputs)
        self.good = pack(
            folder / "bundle", name="small", models={"float32": folder / "a.onnx"}, preprocess=preprocess,
            task=Multilabel(("a", "b", "c"), (0.3, 0.5, 0.7)), golden=(inputs, outputs), raw=samples,
        )  # fmt: skip
        self.files = {
            str(path.relative_to(self.good)): path.read_bytes() for path in self.good.rglob("*.*") if path.is_file()
        }
        self.manifest = json.loads(self.files["manifest.json"])

    def case(self, random: Random, folder: Path) -> tuple[int, Use]:
        from edgekd.bundle.diff import diff
        from edgekd.bundle.predict import Predictor
        from edgekd.bundle.verify import verify
        from edgekd.cli.bundle import summary

        files = dict(self.files)
        if random.random() < 0.4:
            files["manifest.json"] = mutated(self.manifest, as_json, random)
        else:
            files |= self.resealed(random, files)
        for name, content in files.items():
            written(folder / "bundle" / name, content)

        def use() -> None:
            manifest = verify(folder / "bundle")
            summary(manifest)
            diff(verify(self.good), manifest)
            Predictor(folder / "bundle", 1).self_test()

        return sum(map(len, files.values())), use

    def resealed(self, random: Random, files: dict[str, bytes]) -> dict[str, bytes]:
        from edgekd.files import canonical_json, sha256

        document = {key: value for key, value in self.manifest.items() if key != "seal"}
        name = random.choice(sorted(files.keys() - {"manifest.json"}))
        content = damaged(files[name], random)
        if random.random() < 0.5:
            document = changed(document, random)
        else:
            entries = [each for each in document["files"] if each["path"] == name]
            document = {**document, "files": [each for each in document["files"] if each not in entries]}
            document["files"].append({**entries[0], "sha256": sha256(content), "bytes": len(content)})
        try:
            document["seal"] = sha256(canonical_json(document))
            text = (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
        except (ValueError, TypeError):
            text = as_json({**document, "seal": "0"})
        return {"manifest.json": text, name: content}


class Models(Kind):
    def __init__(self, folder: Path):
        import onnx

        import edgekd.lint  # noqa: F401

        write_model(folder / "a.onnx", quantised=True)
        self.model = onnx.load(folder / "a.onnx")

    def case(self, random: Random, folder: Path) -> tuple[int, Use]:
        from edgekd.bench.plan import Workload
        from edgekd.cli.lint import load, sentences, table
        from edgekd.lint import lint
        from edgekd.runtimes.onnxruntime.session import OnnxSession

        path = folder / "model.onnx"
        size = written(
            path, self.changed(random) if random.random() < 0.7 else damaged(self.model.SerializeToString(), random)
        )
        target = random.choice(("onnxruntime-x86", "onnxruntime-arm", "tensorrt"))

        def use() -> None:
            found = lint(load(path), target)
            table(found, "model")
            sentences(found)
            json.dumps(found.to_json())

        def run() -> None:
            OnnxSession(Workload(str(path)), 1, 1).run()

        return size, use if random.random() < 0.7 else run

    def changed(self, random: Random) -> bytes:
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for _ in range(random.randint(1, 3)):
            change(model, random)
        return model.SerializeToString()


ODD_TEXT = (
    "",
    "x",
    "\x1b[31m",
    "::error::x",
    "\u202e",
    "/dev/zero",
    "../../etc/passwd",
    "input",
    "w" * 5000,
    "Conv",
    "If",
)
ODD_SIZE = (0, -1, 1, 2, 3, 2**31, 2**40, 2**62, -(2**63))


def change(model: Any, random: Random) -> None:
    """Make one field of one node, tensor or value of ``model`` odd."""
    import onnx

    graph = model.graph
    node = random.choice(graph.node) if graph.node else None
    tensor = random.choice(graph.initializer) if graph.initializer else None
    value = random.choice([*graph.input, *graph.output] or [onnx.ValueInfoProto()])
    match random.randrange(12):
        case 0 if node:
            node.op_type = random.choice((*ODD_TEXT, "Reshape", "ConstantOfShape", "Expand", "Loop", "QuantizeLinear"))
        case 1 if node and node.input:
            node.input[random.randrange(len(node.input))] = random.choice(ODD_TEXT)
        case 2 if node and node.input:
            del node.input[random.randrange(len(node.input)) :]
        case 3 if node and node.output:
            node.output[0] = random.choice((*ODD_TEXT, "input", "logits"))
        case 4 if node:
            node.name = random.choice(ODD_TEXT)
        case 5 if node and node.attribute:
            each = random.choice(node.attribute)
            each.i = random.choice(ODD_SIZE)
            each.type = random.choice((1, 2, 3, 7))
            if random.random() < 0.5:
                del each.ints[:]
                each.ints.extend(random.choice(ODD_SIZE) for _ in range(random.randrange(4)))
        case 6 if tensor and tensor.dims:
            tensor.dims[random.randrange(len(tensor.dims))] = random.choice(ODD_SIZE)
        case 7 if tensor:
            tensor.data_type = random.choice((0, 1, 2, 3, 6, 7, 8, 10, 11, 16, 21, 23, 99))
        case 8 if tensor:
            tensor.raw_data = tensor.raw_data[: random.randrange(len(tensor.raw_data) + 1)]
        case 9:
            dims = value.type.tensor_type.shape.dim
            dims.add().dim_value = random.choice(ODD_SIZE)
            dims[random.randrange(len(dims))].dim_value = random.choice(ODD_SIZE)
        case 10 if tensor and tensor.raw_data:
            onnx.external_data_helper.set_external_data(
                tensor, random.choice(ODD_TEXT), random.choice(ODD_SIZE), random.choice(ODD_SIZE)
            )
            tensor.ClearField("raw_data")
        case _:
            graph.node.extend([node] if node and random.random() < 0.5 else [])
            model.opset_import[0].version = random.choice((0, 1, 7, 13, 17, 21, 99, 2**31))


class Images(Kind):
    def __init__(self, folder: Path):
        from PIL import Image

        from edgekd.preprocess import Preprocess

        self.preprocess = {
            "image": Preprocess("image", (3, 16, 16), (0.5,) * 3, (0.5,) * 3),
            "vector": Preprocess("vector", (4,), (0.0,) * 4, (1.0,) * 4),
        }
        pixels = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8))
        self.files: list[tuple[str, str, bytes]] = []
        for ending, form in (
            ("png", "PNG"),
            ("jpg", "JPEG"),
            ("bmp", "BMP"),
            ("webp", "WEBP"),
            ("png", "PPM"),
            ("jpg", "GIF"),
            ("png", "TIFF"),
            ("png", "EPS"),
        ):
            file = io.BytesIO()
            pixels.save(file, form)
            self.files.append(("image", ending, file.getvalue()))
        file = io.BytesIO()
        np.save(file, np.ones((3, 4), np.float32))
        self.files += [("vector", "npy", file.getvalue()), ("vector", "csv", b"1,2,3,4\n5,6,7,8\n")]

    def case(self, random: Random, folder: Path) -> tuple[int, Use]:
        kind, ending, content = random.choice(self.files)
        path = folder / f"sample.{ending}"
        size = written(path, damaged(content, random))
        return size, lambda: self.preprocess[kind].apply(self.preprocess[kind].read(path))


class Checkpoints(Kind):
    def __init__(self, folder: Path):
        import torch
        from safetensors.torch import save

        from edgekd.artifact import Artifact, tensors_of
        from edgekd.models import build
        from edgekd.spec import Spec

        self.network = build("mlp", (4,), 3)
        state = self.network.state_dict()
        Artifact(Spec("mlp", (4,), 3), {name: value.clone() for name, value in tensors_of(self.network).items()}).save(
            folder / "stage"
        )
        self.stage = json.loads((folder / "stage/model.json").read_bytes())
        self.weights = (folder / "stage/weights.safetensors").read_bytes()
        file = io.BytesIO()
        torch.save({"state_dict": state, "epoch": 3}, file)
        self.files = [("pt", file.getvalue()), ("safetensors", save(state))]

    def case(self, random: Random, folder: Path) -> tuple[int, Use]:
        from edgekd.models import load_checkpoint
        from edgekd.stages.network import load

        if random.random() < 0.4:
            size = written(folder / "stage/model.json", mutated(self.stage, as_json, random))
            size += written(folder / "stage/weights.safetensors", self.header(self.weights, random))
            return size, lambda: load(folder / "stage")
        ending, content = random.choice(self.files)
        path = folder / f"weights.{ending}"
        size = written(path, self.header(content, random) if ending == "safetensors" else damaged(content, random))
        return size, lambda: load_checkpoint(self.network, path)

    def header(self, content: bytes, random: Random) -> bytes:
        """Of safetensors: changed as a document, damaged, or left alone."""
        length = int.from_bytes(content[:8], "little")
        document, data = json.loads(content[8 : 8 + length]), content[8 + length :]
        match random.randrange(3):
            case 0:
                text = as_json(changed(document, random))
                return len(text).to_bytes(8, "little") + text + data
            case 1:
                return damaged(content, random)
        return content


class Devices(Kind):
    def __init__(self, folder: Path):
        about = {"load_ms": 1.0, "first_ms": 1.0, "batch": 1, "cpus": [0], "providers": ["CPUExecutionProvider"]}
        kernel = {
            "cat": "Node",
            "name": "conv_kernel_time",
            "ts": 5,
            "dur": 3,
            "args": {"op_name": "Conv", "node_index": "0"},
        }
        block = {"ns": [1000, 1100], "lost_ns": 40, "waited_ns": 0, "switches": 1, "pool": 0}
        counters = [{"energy_uj": str(number), "max_energy_range_uj": "9"} for number in (7, 8, 9, 0, 1)]
        readings = [[1.0 + number / 10, {"package-0": each}] for number, each in enumerate(counters)]
        window = {"began": 1.0, "ended": 1.5, "inferences": 9, "readings": readings}
        power = {"sensor": "counters", "taken": [[100, 2], [50, 1]], "windows": {"a": window}}
        self.events: dict[str, list[dict[str, Any]]] = {
            "probe": [{"event": "device", "architecture": "aarch64", "system": "Debian", "cpu": "Cortex", "cores": 4,
                       "free_disk_bytes": 10**9, "memory_bytes": 8 * 10**9, "board": "Orin", "clock": 1.8e9,
                       "python": {"version": "3.11.2", "executable": "python3", "onnxruntime": "1.31"},
                       "jetson": {"nv_tegra_release": "# R36 (release), REVISION: 4.4", "trtexec": "/x/trtexec",
                                  "trtexec_banner": "TensorRT.trtexec [TensorRT v100300]", "compatible": "tegra234",
                                  "nvpmodel": "NV Power Mode: MAXN\n0", "rails": [{"in1_label": "VDD_IN"}]}}],
            "latency": [{"event": "launch", "opened": {"a": about}, "rounds": {"a": [block] * 30}, "shielded": None,
                         "transfers": {"a": {}}, "taken": [[1000, 20], [500, 10]], "throttled": 0,
                         "governor": "performance", "gpu": [], "power": power,
                         "clock_khz": {"a": [1_500_000]}}] * 2,
            "rows": [{"event": "rows", "model": "a", "first": first, "count": 1, "output": "logits", "shape": [1, 2],
                      "data": "AAAAAAAAAAA="}
                     for first in range(3)],
            "turns": [{"event": "turns", "turns": [[block, block]] * 5, "events": {"a": [kernel]}}],
        }  # fmt: skip

    def case(self, random: Random, folder: Path) -> tuple[int, Use]:
        from edgekd.bench.interleaved import InterleavedRuns
        from edgekd.bench.plan import Plan, Workload
        from edgekd.devices import latency, predictions, probe
        from edgekd.devices.registry import Device
        from edgekd.tasks.multilabel import Multilabel

        job = random.choice(sorted(self.events))
        lines = [as_json(event) for event in (*self.events[job], {"event": "done"})]
        place = random.randrange(len(lines) - 1)
        lines[place] = mutated(self.events[job][place], as_json, random).replace(b"\n", b" ")
        if random.random() < 0.2:
            lines.insert(
                random.randrange(len(lines)), random.choice((b"", b"Welcome!", b"{}", b"[1]", b"\xff", lines[0]))
            )
        desk = told(lines)
        good = probe.parse_probe(Device("desk", "board"), self.events["probe"][0])

        def use() -> None:
            match job:
                case "probe":
                    found = probe.probe_remote(desk)
                    probe.describe(found)
                    json.dumps(found.to_json())
                case "latency":
                    plan = Plan({"a": Workload("a.onnx")}, "a", launches=2)
                    for record in latency.measure_on_device(desk, plan, probe=good).values():
                        json.dumps(record.to_json(), allow_nan=False)
                case "rows":
                    task, inputs = Multilabel(("x", "y")), np.zeros((3, 2), np.float32)
                    predictions.predict_on_device(desk, "onnxruntime", {"a": Path("a")}, inputs, task)["a"].value(
                        np.eye(3, 2)
                    )
                case "turns":
                    latency.interleave_on_device(
                        desk, InterleavedRuns({"a": Path("a")}, ("a", "a"), ("a",), 1, 0, 1, 2)
                    )

        return sum(map(len, lines)), use


class ToldStream:
    def __init__(self, lines: list[bytes]):
        self.lines = lines

    def __enter__(self) -> "ToldStream":
        return self

    def __exit__(self, *_: object) -> None: ...

    def send(self, line: bytes) -> None: ...

    def __iter__(self) -> Iterator[bytes]:
        yield from self.lines


def told(lines: list[bytes]) -> Any:
    """A device that sends ``lines``, in the place of a connection."""
    from edgekd.devices.registry import Device
    from edgekd.devices.remote import Remote

    class Told(Remote):
        def stream(self, *_: object, **__: object) -> Any:
            return ToldStream(lines)

        def push(self, *_: object, **__: object) -> None:
            pass

    return Told(Device("desk", "board"))


def write_model(path: Path, quantised: bool = False) -> None:
    """A small network of 8 x 8 pictures and three classes; with Q/DQ around its convolution where ``quantised``."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weights: dict[str, Any] = {
        "w": random.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "v": random.normal(size=(3, 256)).astype(np.float32),
    }
    nodes = [helper.make_node("Conv", ["input", "w"], ["c"], name="conv", pads=[1] * 4)]
    if quantised:
        weights |= {"s": np.float32(0.1), "z": np.uint8(128), "wz": np.int8(0)}
        nodes = [
            helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("QuantizeLinear", ["w", "s", "wz"], ["wq"]),
            helper.make_node("DequantizeLinear", ["wq", "s", "wz"], ["wd"]),
            helper.make_node("Conv", ["d", "wd"], ["c"], name="conv", pads=[1] * 4),
        ]
    nodes += [
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)


KINDS: dict[str, type[Kind]] = {
    "recipe": Recipes, "report": Reports, "baseline": Baselines, "policy": Policies, "bundle": Bundles,
    "onnx": Models, "image": Images, "checkpoint": Checkpoints, "device": Devices,
}  # fmt: skip
