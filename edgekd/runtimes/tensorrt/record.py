"""Records of what an engine was built from and for, in a JSON file beside it: an engine runs nowhere else."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from edgekd.errors import EdgekdError, ExportError, first_line
from edgekd.files import read_object, sha256_file, write_json
from edgekd.runtimes.tensorrt.adapter import library
from edgekd.runtimes.tensorrt.gpu import current_gpu


@dataclass(frozen=True)
class EngineRecord:
    """The origin of an engine; ``gpu`` is empty if any GPU of the ``capability`` will do."""

    model_sha256: str
    library: str
    version: str
    capability: str
    gpu: str
    min_batch: int
    batch: int
    max_batch: int
    workspace_bytes: int
    engine_sha256: str


def record_path(engine: Path) -> Path:
    return engine.with_name(f"{engine.name}.json")


def write_record(engine: Path, record: EngineRecord) -> None:
    write_json(record_path(engine), asdict(record))


def read_record(engine: Path) -> EngineRecord:
    """Read the record beside ``engine``.

    Raises:
        ExportError: it is damaged, or not there.
    """
    try:
        content = read_object(record_path(engine), "build again")
        if {field.name: field.type for field in fields(EngineRecord)} != {
            name: type(content[name]) for name in content
        }:
            raise TypeError("its fields are not those of a record")
        return EngineRecord(**content)
    except (EdgekdError, ValueError, TypeError, KeyError) as error:
        raise ExportError(
            f"{record_path(engine)} is no record of an engine ({first_line(error)}); delete {engine.name} and "
            "build again"
        ) from error


def incompatibility(engine: Path) -> str:
    """Return the reason why ``engine`` must not be loaded here, empty if there is none.

    An engine is code that runs as you, and TensorRT loads what it can of any file, so this is checked first. Engines
    without a record (trtexec's) pass: nothing is known of them.
    """
    if not record_path(engine).exists():
        return ""
    try:
        return _incompatibility(engine, read_record(engine))
    except EdgekdError as error:
        return f"{engine} cannot be judged: {error}"


def _incompatibility(engine: Path, record: EngineRecord) -> str:
    trt = library()
    if (record.library, record.version) != (trt.__name__, trt.__version__):
        return (
            f"{engine} was built by {record.library} {record.version}, which {trt.__name__} {trt.__version__} cannot "
            "load; build it again from the ONNX file"
        )
    gpu = current_gpu()
    wanted, found = (record.gpu, gpu.name) if record.gpu else (record.capability, gpu.capability)
    if wanted != found:
        return f"{engine} was built for {wanted} and this machine has {gpu.name} ({gpu.capability}); build it here"
    if sha256_file(engine) != record.engine_sha256:
        return f"{engine} is not the file that was built: it has changed since; delete it and build again"
    return ""
