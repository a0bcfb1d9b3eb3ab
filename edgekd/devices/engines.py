"""ONNX files as TensorRT engines on a device, through the ``trtexec`` there, built once and kept there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgekd.devices.jetson.command import Build, Version, build_command, check
from edgekd.devices.probe import Probe, dotted
from edgekd.errors import DeviceError, MeasurementError
from edgekd.files import canonical_json, sha256, sha256_file

BUILD_S = 3600.0


@dataclass(frozen=True)
class Builder:
    """``trtexec`` on a device. ``gpu`` tells boards apart whose engines do not fit each other."""

    trtexec: str
    version: Version
    gpu: str

    @property
    def name(self) -> str:
        return f"TensorRT {dotted(self.version)}"


def builder_of(found: Probe) -> Builder:
    """The one that the device said of itself.

    Raises:
        DeviceError: there is none, or one whose flags are not known.
    """
    raw = found.facts.get("jetson", {})
    if "trtexec" not in raw or found.tensorrt is None:
        raise DeviceError(
            f"{found.device.name} has no trtexec that works: 'sudo apt install libnvinfer-bin' there, or measure with "
            "--runtime onnxruntime"
        )
    check(found.tensorrt)
    return Builder(raw["trtexec"], found.tensorrt, raw.get("compatible") or found.facts.get("board") or "")


@dataclass(frozen=True)
class Engine:
    """One file's: its names in the folder there, and what its input is."""

    onnx: str
    file: str
    request: Mapping[str, Any]
    input: str
    shape: tuple[int, ...]
    open_batch: bool

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {self.input: self.shape} if self.open_batch else {}


def engine_of(builder: Builder, path: Path, number: int, batch: int, dla_core: int | None = None) -> Engine:
    """For ``path``, which will be ``{number}.onnx`` there, at ``batch`` where the file leaves it open.

    Raises:
        MeasurementError: its input is open beyond the batch, or it has several.
    """
    model = onnx.load(path, load_external_data=False)
    name, dims = input_of(model, path)
    open_batch = dims[0] is None
    shape = tuple(batch if size is None else size for size in dims)
    names = {kind: f"{number}.{kind}" for kind in ("onnx", "engine", "layers.json")}
    build = Build(
        names["onnx"],
        names["engine"],
        shapes={name: shape} if open_batch else {},
        int8=any(node.op_type == "QuantizeLinear" for node in model.graph.node),
        layers_to=names["layers.json"],
        dla_core=dla_core,
    )
    words = build_command(builder.trtexec, builder.version, build)
    # Not the names, which depend on what else is measured with it.
    about = [word for word in words if names["onnx"] not in word and f"{number}." not in word]
    key = sha256(canonical_json([sha256_file(path), about, builder.name, builder.gpu]))
    request = {"words": words, "key": key, "file": names["engine"], "layers": names["layers.json"]}
    return Engine(names["onnx"], names["engine"], request, name, shape, open_batch)


def input_of(model: onnx.ModelProto, path: Path) -> tuple[str, list[int | None]]:
    """The name and the shape of the only input; ``None`` for an open batch."""
    weights = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in weights]
    if len(inputs) != 1:
        raise MeasurementError(f"{path} has {len(inputs)} inputs; TensorRT is driven through SSH for one")
    shape = inputs[0].type.tensor_type.shape.dim
    dims = [each.dim_value if each.HasField("dim_value") else None for each in shape]
    if not dims or None in dims[1:]:
        raise MeasurementError(f"{path}: its input {inputs[0].name!r} is open beyond its batch: fix it in the file")
    return inputs[0].name, dims


@dataclass(frozen=True)
class Built:
    """``cached`` is whether it lay there; ``layers`` and ``log`` are what trtexec wrote when it built it."""

    cached: bool
    seconds: float
    layers: str = ""
    log: str = ""


def built_of(event: Mapping[str, Any]) -> Built:
    return Built(event["cached"], event["seconds"], event.get("layers", ""), event.get("log", ""))


def requests_of(engines: Mapping[str, Engine]) -> dict[str, Mapping[str, Any]]:
    """By file, so that one that has two names is built once."""
    return {engine.file: engine.request for engine in engines.values()}


def numbered(paths: Iterable[Path]) -> dict[Path, int]:
    return {path: number for number, path in enumerate(dict.fromkeys(paths))}
