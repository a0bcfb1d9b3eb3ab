"""A cache of engines in a folder, each under a name made from all that went into it."""

import re
from dataclasses import replace
from pathlib import Path

from edgekd.errors import ExportError, StorageError, first_line
from edgekd.files import canonical_json, locked, make_folder, sha256, sha256_file, write_bytes
from edgekd.runtimes.tensorrt.adapter import builds_ahead, library
from edgekd.runtimes.tensorrt.builder import WORKSPACE_BYTES, Batches, build, target_of
from edgekd.runtimes.tensorrt.gpu import Gpu
from edgekd.runtimes.tensorrt.record import EngineRecord, read_record, write_record


def engine_for(
    model: Path,
    folder: Path,
    capability: str | None = None,
    *,
    workspace_bytes: int = WORKSPACE_BYTES,
    batches: Batches = (1, 1, 1),
) -> Path:
    """Return the engine of the ONNX file ``model`` in ``folder``, built now if it is not there.

    One is used again only where the model's SHA-256, TensorRT's release, the GPU (or ``capability``) and the
    arguments are the same and the file has not changed since; see :func:`edgekd.runtimes.tensorrt.build` for the
    arguments.
    TensorRT's kernel timings are kept in ``folder`` too, for the next model.

    Raises:
        ExportError: as :func:`edgekd.runtimes.tensorrt.build`; also where there is no such ``model``.
        StorageError: ``folder`` cannot be written.
    """
    content = _read(model)
    target = target_of(capability)
    wanted = _record(content, target, workspace_bytes, batches)
    engine = make_folder(folder) / _name(wanted)
    # Two at once would leave the engine of the one and the record of the other, and share the timings.
    with locked(folder / "engines", engine.name):
        if not _is_there(engine, wanted):
            timings = None if builds_ahead(library()) else folder / f"{_release(wanted)}.timings"
            built = build(content, capability, workspace_bytes=workspace_bytes, timing_cache=timings, batches=batches)
            write_bytes(engine, built.plan)
            write_record(engine, replace(wanted, engine_sha256=sha256(built.plan)))
    return engine


def _read(model: Path) -> bytes:
    if not model.is_file():
        raise ExportError(f"no such file: {model}; give an ONNX file")
    try:
        return model.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {model}: {first_line(error)}") from error


def _record(model: bytes, target: Gpu, workspace_bytes: int, batches: Batches) -> EngineRecord:
    trt = library()
    return EngineRecord(
        sha256(model), trt.__name__, trt.__version__, target.capability, target.name, *batches, workspace_bytes, ""
    )


def _release(record: EngineRecord) -> str:
    decoded = (record.library, record.version, record.gpu, record.capability)
    return re.sub(r"[^\w.]+", "-", "-".join(word for word in decoded if word))


def _name(record: EngineRecord) -> str:
    arguments = sha256(canonical_json([record.min_batch, record.batch, record.max_batch, record.workspace_bytes]))
    return f"{record.model_sha256[:16]}-{_release(record)}-{arguments[:8]}.engine"


def _is_there(engine: Path, wanted: EngineRecord) -> bool:
    if not engine.is_file():
        return False
    try:
        found = read_record(engine)
    except ExportError:  # a build that was killed between the two files
        return False
    return found == replace(wanted, engine_sha256=found.engine_sha256) and found.engine_sha256 == sha256_file(engine)
