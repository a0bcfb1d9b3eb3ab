"""Engines built from ONNX, by calls that TensorRT 10, TensorRT 11 and TensorRT for RTX have in common."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from edgekd.errors import EdgekdError, ExportError, StorageError, first_line
from edgekd.files import lies_there, read_content, write_bytes
from edgekd.nearest import among
from edgekd.runtimes.tensorrt.adapter import builds_ahead, errors_of, library, version
from edgekd.runtimes.tensorrt.gpu import Gpu, current_gpu
from edgekd.runtimes.tensorrt.layers import BuiltLayer, logged_layers, parse_layers
from edgekd.runtimes.tensorrt.parser import Parsed, parse
from edgekd.strict_json import parse as parse_json

WORKSPACE_BYTES = 1 << 30
LARGEST_TIMINGS = 1 << 32

Batches = tuple[int, int, int]
Sizes = tuple[int, int, int | None]


@dataclass(frozen=True)
class Engine:
    """A built engine; ``gpu`` is empty if it was built ahead of time, for every GPU of its ``capability``.

    ``layers`` are the inspector's, by name, or the builder's own list of them where no GPU can load the engine;
    None where neither is known.
    """

    plan: bytes = field(repr=False)
    library: str
    version: str
    capability: str
    gpu: str
    seconds: float
    layers: dict[str, BuiltLayer] | None = field(repr=False)


def build(
    model: bytes,
    capability: str | None = None,
    *,
    workspace_bytes: int = WORKSPACE_BYTES,
    timing_cache: Path | None = None,
    batches: Batches = (1, 1, 1),
) -> Engine:
    """Build the ONNX file ``model``, strongly typed: int8 where it has Q/DQ, float16 where its types are so.

    Args:
        model: its bytes, weights inside.
        capability: as ``"SM89"``, to build ahead of time for a GPU that need not be here; TensorRT for RTX only.
            None builds for the GPU of this machine.
        workspace_bytes: the most scratch memory on the GPU that a kernel may ask for.
        timing_cache: a file of kernel timings, read if it exists, and written; not in TensorRT for RTX, which
            times none.
        batches: the least, the usual and the largest batch of inputs that leave it open; kernels are chosen for the
            usual one. A file that fixes its batch is built as it is. Other open dimensions have the sizes that the
            file's signature names.

    Raises:
        ExportError: TensorRT is not installed, does not take the file, or cannot build for that GPU.
        StorageError: the timing cache cannot be read or written.
    """
    trt = library()
    target = _target(trt, capability)
    _check(trt, workspace_bytes, timing_cache, batches)
    logger = errors_of(trt)
    parsed = parse(trt, logger, model)
    if parsed.errors:
        raise ExportError(f"{version(trt)} does not take this file: {parsed.errors[0]}")
    config = _config(trt, parsed, target, workspace_bytes, batches, model)
    if timing_cache is not None:
        read_timings(config, timing_cache)
    started = perf_counter()
    plan = parsed.builder.build_serialized_network(parsed.network, config)
    seconds = perf_counter() - started
    if plan is None:
        raise ExportError(f"{version(trt)} builds no engine for {target.name or target.capability}{logger.last()}")
    if timing_cache is not None:
        write_timings(config, timing_cache)
    layers = _inspected(trt, logger, plan) if target.name else logged_layers(logger.layers)
    return Engine(bytes(plan), trt.__name__, trt.__version__, target.capability, target.name, seconds, layers or None)


def target_of(capability: str | None) -> Gpu:
    """Return the GPU here, or one without a name of the ``capability`` that the library can build for."""
    return _target(library(), capability)


def _target(trt: Any, capability: str | None) -> Gpu:
    if capability is None:
        try:
            return current_gpu()
        except ExportError as error:
            raise ExportError(f"no engine can be built here: {error}; {_way_out(trt)}") from error
    if not builds_ahead(trt):
        raise ExportError(
            f"{version(trt)} times kernels on the GPU and builds only for that of this machine, not for {capability}; "
            "leave the capability out, or 'pip install tensorrt-rtx' in an environment without tensorrt"
        )
    known = _capabilities(trt)
    if capability not in known:
        raise ExportError(f"{version(trt)} does not build for {capability!r}{among(capability, known)}")
    return Gpu("", capability)


def _capabilities(trt: Any) -> list[str]:
    return sorted(
        (name for name in trt.ComputeCapability.__members__ if name.startswith("SM")), key=lambda n: int(n[2:])
    )


def _way_out(trt: Any) -> str:
    if builds_ahead(trt):
        return f"build ahead of time for one of {', '.join(_capabilities(trt))}, or on the device that will run it"
    return "build on the device that will run it"


def _check(trt: Any, workspace_bytes: int, timing_cache: Path | None, batches: Batches) -> None:
    if workspace_bytes < 1:
        raise ExportError(f"a workspace of {workspace_bytes} bytes holds nothing; give 1 or more")
    if not 1 <= batches[0] <= batches[1] <= batches[2]:
        raise ExportError(f"batches {batches} must be the least, the usual and the largest, in this order, from 1 on")
    if timing_cache is not None and builds_ahead(trt):
        raise ExportError(f"{version(trt)} times no kernels as it builds and keeps no timing cache; leave it out")


def _config(trt: Any, parsed: Parsed, target: Gpu, workspace_bytes: int, batches: Batches, model: bytes) -> Any:
    config = parsed.builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if builds_ahead(trt):
        # Without this it builds for GPUs of its own choice, even where there is none.
        chosen = trt.ComputeCapability.CURRENT if target.name else trt.ComputeCapability.__members__[target.capability]
        config.num_compute_capabilities = 1
        config.set_compute_capability(chosen, 0)
    profile = parsed.builder.create_optimization_profile()
    inputs = [parsed.network.get_input(index) for index in range(parsed.network.num_inputs)]
    beyond = any(-1 in tuple(each.shape)[1:] for each in inputs)
    if _is_open(profile, inputs, batches, open_sizes(model) if beyond else {}):
        config.add_optimization_profile(profile)
    return config


def open_sizes(model: bytes) -> dict[str, Sizes]:
    """Return the least, the usual and the largest size of open dimensions that the signature in a file names.

    Raises:
        ExportError: the signature is damaged.
    """
    import onnx

    metadata = onnx.load_from_string(model).metadata_props
    text = next((entry.value for entry in metadata if entry.key.endswith(".signature")), None)
    try:
        found = parse_json(text.encode())["open"] if text is not None else ()
        return {each["name"]: (each["least"] or 1, each["size"], each["most"]) for each in found}
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"the signature in the file's metadata is damaged: {first_line(error)}") from error


def _is_open(profile: Any, inputs: Iterable[Any], batches: Batches, sizes: Mapping[str, Sizes]) -> bool:
    found = False
    for tensor in inputs:
        shape = tuple(tensor.shape)
        if -1 in shape:
            ends = [_ends(tensor, axis, batches, sizes) for axis in range(len(shape))]
            profile.set_shape(tensor.name, *zip(*ends, strict=True))
            found = True
    return found


def _ends(tensor: Any, axis: int, batches: Batches, sizes: Mapping[str, Sizes]) -> Batches:
    """Return the least, the usual and the largest size of a dimension."""
    size = tensor.shape[axis]
    if size != -1 or axis == 0:
        return batches if size == -1 else (size, size, size)
    name = tensor.get_dimension_name(axis)
    if name not in sizes:
        raise ExportError(
            f"input {tensor.name!r} has the shape {tuple(tensor.shape)}, open beyond its batch; export it with "
            "a fixed size, or with a signature that names its dimension"
        )
    least, usual, most = sizes[name]
    if most is None:
        raise ExportError(
            f"the file's signature gives no largest size of {name!r}, which TensorRT needs: export it with limits"
        )
    return least, usual, most


def _inspected(trt: Any, logger: Any, plan: Any) -> dict[str, BuiltLayer]:
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    if engine is None:
        return {}
    return parse_layers(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))


def read_timings(config: Any, path: Path) -> None:
    """Give ``config`` the timings in ``path``; if there is no such file, it starts to collect some.

    Raises:
        ExportError: they were measured on another GPU or by another release.
        StorageError: the file cannot be read.
    """
    try:
        known = read_content(path, limit=LARGEST_TIMINGS) if lies_there(path) else b""
    except EdgekdError as error:
        raise StorageError(f"{error}; name another timing cache") from error
    timings = config.create_timing_cache(known)
    if timings is None or not config.set_timing_cache(timings, ignore_mismatch=False):
        raise ExportError(
            f"{path} holds timings of another GPU or another release of TensorRT; delete it or name another file"
        )


def write_timings(config: Any, path: Path) -> None:
    """Write the timings of ``config`` after a build, whole or not at all."""
    write_bytes(path, bytes(config.get_timing_cache().serialize()))
