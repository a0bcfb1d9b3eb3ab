"""TensorRT engines that ``trtexec`` builds from ONNX files on a device, each built once and cached there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from edgekd.bench.events import Event, number, text
from edgekd.devices.probe import Probe
from edgekd.errors import DeviceError, MeasurementError
from edgekd.files import canonical_json, require_file, sha256, sha256_file
from edgekd.runtimes.tensorrt.trtexec.command import Build, Version, build_command, check
from edgekd.runtimes.tensorrt.trtexec.output import dotted, parse_version

TIME_ENGINES = "edgekd.runtimes.tensorrt.on_device:time_engines"  # a job of the agent
BUILD_S = 3600.0
INTERVAL_S = 0.05  # of the power samples


@dataclass(frozen=True)
class EngineBuilder:
    """``trtexec`` on a device; ``gpu`` identifies boards whose engines are interchangeable."""

    trtexec: str
    version: Version
    gpu: str

    @property
    def name(self) -> str:
        return f"TensorRT {dotted(self.version)}"


def builder_of(probe: Probe) -> EngineBuilder:
    """Return the builder that the device reported.

    Raises:
        DeviceError: there is none, or one whose flags are not known.
    """
    facts, jetson = probe.facts, probe.facts.jetson
    version = parse_version(jetson.trtexec_banner)
    if not jetson.trtexec or version is None:
        raise DeviceError(
            f"{probe.device.name} has no trtexec that works: 'sudo apt install libnvinfer-bin' there, or measure with "
            "--runtime onnxruntime"
        )
    check(version)
    gpu = " ".join(each for each in (jetson.compatible, facts.board, facts.gpu) if each)
    return EngineBuilder(jetson.trtexec, version, gpu)


@dataclass(frozen=True)
class BuildRequest:
    """A request to the agent: build ``file`` with ``words``, or find it in the cache under ``key``."""

    words: list[str]
    key: str
    file: str
    log: bool


@dataclass(frozen=True)
class DeviceEngine:
    """An engine on the device: its files in the folder there, the request that builds it, and its input."""

    onnx: str
    file: str
    request: BuildRequest
    input: str
    shape: tuple[int, ...]
    open_batch: bool
    float32: bool
    quantised: bool

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {self.input: self.shape} if self.open_batch else {}


def engine_of(
    builder: EngineBuilder, path: Path, number: int, batch: int, dla_core: int | None = None, detailed: bool = False
) -> DeviceEngine:
    """Describe the engine of ``path``, sent as ``{number}.onnx``, at ``batch`` if the file leaves the batch open.

    Raises:
        MeasurementError: it is no ONNX file, has several inputs or one that is open beyond the batch.
    """
    model = read(path)
    node = input_of(model, path)
    dims = dims_of(node, path)
    shape = tuple(batch if size is None else size for size in dims)
    quantised = any(each.op_type == "QuantizeLinear" for each in model.graph.node)
    shapes = {node.name: shape} if dims[0] is None else {}

    def words(trtexec: str, name: str) -> list[str]:
        files = f"{name}.onnx", f"{name}.engine"
        build = Build(*files, shapes=shapes, int8=quantised, detailed=detailed, dla_core=dla_core)
        return build_command(trtexec, builder.version, build)

    # Not where trtexec is, nor the names, which depend on what else is measured with it.
    key = sha256(canonical_json([sha256_file(path), words("trtexec", "model"), builder.name, builder.gpu]))
    file = f"{number}.engine"
    request = BuildRequest(words(builder.trtexec, str(number)), key, file, log=dla_core is not None)
    float32 = node.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    return DeviceEngine(f"{number}.onnx", file, request, node.name, shape, dims[0] is None, float32, quantised)


def read(path: Path) -> onnx.ModelProto:
    require_file(path, MeasurementError)
    try:
        return onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise MeasurementError(f"{path} is no ONNX file: give the .onnx, engines are built on the device") from error


def input_of(model: onnx.ModelProto, path: Path) -> onnx.ValueInfoProto:
    weights = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in weights]
    if len(inputs) != 1:
        raise MeasurementError(f"{path} has {len(inputs)} inputs; TensorRT is driven through SSH for one")
    return inputs[0]


def dims_of(node: onnx.ValueInfoProto, path: Path) -> list[int | None]:
    """Return the dimensions of the input, with None for an open batch."""
    shape = node.type.tensor_type.shape.dim
    dims = [each.dim_value if each.dim_value > 0 else None for each in shape]  # some write an open one as -1 or 0
    if not dims or None in dims[1:]:
        raise MeasurementError(f"{path}: its input {node.name!r} is open beyond its batch: fix it in the file")
    return dims


@dataclass(frozen=True)
class BuildResult:
    """The result of a build; ``cached`` if the engine was there already, ``log`` is trtexec's if it was requested."""

    cached: bool
    seconds: float
    log: str = ""


def parse_build_result(event: Event) -> BuildResult:
    return BuildResult(
        event["cached"] is True, number(event["seconds"], "the time of building"), text(event.get("log", ""), "a log")
    )


@dataclass(frozen=True)
class RunRequest:
    """A command of trtexec for the agent, the files that it writes, and the interval of power samples meanwhile."""

    model: str
    words: list[str]
    files: dict[str, str]
    interval_s: float = INTERVAL_S


def timing_job(
    engines: Iterable[DeviceEngine], runs: Sequence[RunRequest], seed: int = 0, lock_clocks: bool = False
) -> dict[str, object]:
    """Return the agent's job that builds ``engines`` and carries out ``runs`` in each launch."""
    return {
        "job": TIME_ENGINES,
        "engines": build_requests(engines),
        "runs": runs,
        "seed": seed,
        "lock_clocks": lock_clocks,
    }


def build_requests(engines: Iterable[DeviceEngine]) -> dict[str, BuildRequest]:
    """Return the build requests by file, so that one file under two names is built once."""
    return {engine.file: engine.request for engine in engines}


def numbered(paths: Iterable[Path]) -> dict[Path, int]:
    return {path: number for number, path in enumerate(dict.fromkeys(paths))}
