"""Command lines of ``trtexec`` with the same meaning in TensorRT 8.2 to 11.

TensorRT 11 turned the defaults round: CUDA graph, spin-wait and a run of its own for the profile are on, copies are
off. The flags here ask for that in every release.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgekd.bench.compare import MIN_FOR_P99
from edgekd.errors import DeviceError

Version = tuple[int, int, int]

OLDEST, NEWEST_MAJOR = (8, 2, 0), 11
WARMUP_MS = 500
DETAILED = "--profilingVerbosity=detailed"


@dataclass(frozen=True)
class Build:
    """An engine to build from ``onnx`` into ``engine``, both paths on the device.

    ``workspace_mib`` caps what building may take of a memory that the GPU shares with everything else. ``shapes`` are
    those of inputs that the file leaves open. ``int8`` says that the file holds Q/DQ; TensorRT 8 needs a flag for it,
    later releases read it off the types. ``detailed`` keeps in the engine what its layers take and give. ``dla_core``
    is a report of what falls back, not a speed-up; it takes float16.
    """

    onnx: str
    engine: str
    workspace_mib: int = 1024
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    int8: bool = False
    timing_cache: str | None = None
    detailed: bool = False
    dla_core: int | None = None


@dataclass(frozen=True)
class EngineTiming:
    """An engine to time for ``seconds``, every query written to ``times_to``.

    ``copies`` puts the transfers of inputs and outputs into the time. At least ``queries`` are timed. ``profile_to``
    and ``layers_to`` are for the time of each layer, in a run of its own, and what it is.
    """

    engine: str
    times_to: str
    seconds: int = 5
    copies: bool = False
    queries: int = MIN_FOR_P99
    profile_to: str | None = None
    layers_to: str | None = None
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)


def build_command(trtexec: str, version: Version, build: Build) -> list[str]:
    """Return the command that builds an engine.

    >>> build_command("trtexec", (8, 6, 2), Build("m.onnx", "m.engine", workspace_mib=512))[3:]
    ['--fp16', '--memPoolSize=workspace:512', '--skipInference']
    """
    check(version)
    return [
        trtexec,
        f"--onnx={build.onnx}",
        f"--saveEngine={build.engine}",
        *types(version, build.int8, build.dla_core is not None),
        f"--memPoolSize=workspace:{build.workspace_mib}" if version >= (8, 4) else f"--workspace={build.workspace_mib}",
        "--skipInference" if version >= (8, 6) else "--buildOnly",
        *shapes_flag(build.shapes),
        *([f"--timingCacheFile={build.timing_cache}"] if build.timing_cache else []),
        *([DETAILED if version >= (8, 4) else "--nvtxMode=verbose"] if build.detailed else []),
        *([f"--useDLACore={build.dla_core}", "--allowGPUFallback"] if build.dla_core is not None else []),
    ]


def types(version: Version, int8: bool, dla: bool) -> list[str]:
    """Return the flags for the types that the builder may use.

    TensorRT 8 and 9 are allowed types; 10 follows the file's types if asked to; 11 always does.
    """
    if version >= (11,):
        return []
    if version >= (10,) and not dla:
        return ["--stronglyTyped"]
    return ["--fp16", "--int8"] if int8 else ["--fp16"]


def timing_command(trtexec: str, version: Version, timing: EngineTiming) -> list[str]:
    """Return the command that times an engine. Lock the clocks first, or say that they were not."""
    check(version)
    return [
        trtexec,
        f"--loadEngine={timing.engine}",
        f"--warmUp={WARMUP_MS}",
        f"--duration={timing.seconds}",
        f"--iterations={timing.queries}",
        f"--exportTimes={timing.times_to}",
        *measurement(version, timing.copies),
        *shapes_flag(timing.shapes),
        *([f"--exportProfile={timing.profile_to}"] if timing.profile_to else []),
        *([f"--exportLayerInfo={timing.layers_to}"] if timing.layers_to else []),
    ]


def inference_command(
    trtexec: str, version: Version, engine: str, inputs: Mapping[str, str], shapes: Mapping[str, Sequence[int]], to: str
) -> list[str]:
    """Return the command that runs ``engine`` once on ``inputs``, files of raw numbers by the input's name.

    What comes out is written to ``to``, which :func:`edgekd.runtimes.tensorrt.trtexec.output.parse_outputs` reads.
    """
    check(version)
    if odd := [name for name in inputs if "," in name or ":" in name]:
        raise DeviceError(f"trtexec cannot be given values for an input named {odd[0]!r}: rename it in the file")
    return [
        trtexec,
        f"--loadEngine={engine}",
        "--loadInputs=" + ",".join(f"{name}:{file}" for name, file in inputs.items()),
        f"--exportOutput={to}",
        *("--warmUp=0", "--duration=0", "--iterations=1"),
        *(["--includeDataTransfers"] if version >= (11,) else []),
        *shapes_flag(shapes),
    ]


def measurement(version: Version, copies: bool) -> list[str]:
    if version >= (11,):
        return ["--includeDataTransfers"] if copies else []
    return ["--useCudaGraph", "--useSpinWait", *([] if copies else ["--noDataTransfers"]), "--separateProfileRun"]


def shapes_flag(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    if not shapes:
        return []
    if odd := [name for name in shapes if "," in name or ":" in name]:
        raise DeviceError(f"trtexec cannot be given the shape of an input named {odd[0]!r}: rename it in the file")
    return ["--shapes=" + ",".join(f"{name}:{'x'.join(map(str, dims))}" for name, dims in shapes.items())]


def written_warmup_ms(version: Version) -> int:
    """Return the length of the warm-up in the file of ``--exportTimes``: only TensorRT 8.2 writes it."""
    return WARMUP_MS if version < (8, 5) else 0


def is_known(version: Version) -> bool:
    return version >= OLDEST and version[0] <= NEWEST_MAJOR


def check(version: Version) -> None:
    if not is_known(version):
        dotted = ".".join(map(str, version))
        raise DeviceError(
            f"the trtexec there is of TensorRT {dotted}, and edgekd knows the flags of 8.2 to {NEWEST_MAJOR}; "
            "install one of these, or measure with --runtime onnxruntime"
        )
