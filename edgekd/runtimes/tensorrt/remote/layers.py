"""Layer times of an engine on a device, with the types of each layer's inputs and outputs."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekd.bench.events import reading_response, text
from edgekd.devices.probe import Probe, probe_remote
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError, MeasurementError
from edgekd.formatting import percent, significant
from edgekd.runtimes.tensorrt.layers import BuiltLayer, LayerTensor, parse_layers
from edgekd.runtimes.tensorrt.remote.engines import BUILD_S, RunRequest, builder_of, engine_of, timing_job
from edgekd.runtimes.tensorrt.trtexec.command import EngineTiming, timing_command
from edgekd.runtimes.tensorrt.trtexec.output import EngineLayerTime, parse_profile

SECONDS = 3
FILES = {"times": "times.json", "profile": "profile.json", "layers": "layers.json"}


@dataclass(frozen=True)
class EngineLayer:
    """A layer's milliseconds in one inference (the median if trtexec has it), and its share of all layers' time.

    ``kind``, ``takes`` and ``gives`` are empty if the engine does not describe the layer.
    """

    name: str
    kind: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    ms: float
    share: float


@dataclass(frozen=True)
class EngineLayers:
    """Layers in running order. Their sum is above the latency: each is timed by itself, without a CUDA graph."""

    runtime: str
    batch: int
    layers: tuple[EngineLayer, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def engine_layers(
    remote: Remote, model: Path, batch: int = 1, seconds: int = SECONDS, probe: Probe | None = None
) -> EngineLayers:
    """Build ``model`` there in detail and time each layer for ``seconds``, in a run of its own.

    Raises:
        DeviceError: no trtexec there, it refuses the file, or reports no layer's time.
        MeasurementError: no ONNX file, or one whose inputs are open beyond the batch.
    """
    if not model.is_file():
        raise MeasurementError(f"no such file: {model}; give an ONNX file")
    builder = builder_of(probe or probe_remote(remote))
    engine = engine_of(builder, model, 0, batch, detailed=True)
    timing = EngineTiming(
        engine.file,
        FILES["times"],
        seconds,
        profile_to=FILES["profile"],
        layers_to=FILES["layers"],
        shapes=engine.shapes,
    )
    words = timing_command(builder.trtexec, builder.version, timing)
    run = RunRequest("model", words, FILES)
    remote.push(model, engine.onnx)
    for event in remote.events(timing_job([engine], [run]), BUILD_S):
        if event["event"] == "run":
            with reading_response(remote.device.name):
                profile, about = (text(event["files"][name], f"the file {name}") for name in ("profile", "layers"))
            layers = joined(parse_profile(profile), parse_layers(about))
            if layers:
                return EngineLayers(builder.name, engine.shape[0], layers)
            break  # the agent waits to hear whether it is to run again
    raise DeviceError(f"trtexec on {remote.device.name} reported no layer's time; try again, or with more --seconds")


def joined(times: list[EngineLayerTime], about: Mapping[str, BuiltLayer]) -> tuple[EngineLayer, ...]:
    """Join layer times with the engine's description of the layers, by name."""
    milliseconds = [each.median_ms if each.median_ms is not None else each.average_ms for each in times]
    total = sum(milliseconds) or 1.0
    return tuple(
        EngineLayer(each.name, built.kind, precisions(built.inputs), precisions(built.outputs), ms, ms / total)
        for each, ms in zip(times, milliseconds, strict=True)
        for built in [about.get(each.name, BuiltLayer(each.name))]
    )


def precisions(tensors: Iterable[LayerTensor]) -> tuple[str, ...]:
    return tuple(each.precision for each in tensors if each.precision)


def describe(found: EngineLayers, top: int) -> list[str]:
    """Return lines of text: the ``top`` slowest layers, and how many convolving layers take int8."""
    slowest = sorted(found.layers, key=lambda layer: -layer.ms)[:top]
    lines = [
        f"{significant(layer.ms):>8} ms {percent(layer.share):>7}  {' '.join(layer.takes) or '?'} -> "
        f"{' '.join(layer.gives) or '?'}  {layer.name}"
        for layer in slowest
    ]
    convolutions = [layer for layer in found.layers if "conv" in layer.kind.lower() and layer.takes]
    int8 = sum(layer.takes[0] == "int8" for layer in convolutions)
    counted = [f"{int8} of {len(convolutions)} layers that convolve take int8"] if convolutions else []
    return [f"{len(found.layers)} layers in {found.runtime}, batch {found.batch}:", *lines, *counted]
