"""Files for more runtimes from what a run has trained."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgekd.artifact import Artifact
from edgekd.artifact_cache import KEY_DIGITS
from edgekd.bench.target import LocalTarget
from edgekd.deploy.writer import Built, writer_of
from edgekd.errors import EdgekdError, ExportError
from edgekd.files import folder_to_fill, is_file, is_folder, lies_there, read_object, require_file
from edgekd.lint import Lint, lint
from edgekd.pipeline.files import ONNX, Placing, write_files
from edgekd.preprocess import Preprocess
from edgekd.profiles import PROFILES
from edgekd.spec import MODEL
from edgekd.stages.network import restore
from edgekd.stages.targets import is_timed_here

PREPROCESS = "edgekd.preprocess"


@dataclass(frozen=True)
class Written:
    """A file, the linter's findings, and what the runtime builds of it."""

    target: str
    path: Path
    precision: str
    lint: Lint
    built: Built


def export(
    source: Path, targets: Sequence[str], out: Path, *, threads: int = 1, capability: str | None = None
) -> list[Written]:
    """Write a file into ``out`` for each of ``targets`` from a run folder's last network, or from a stage's.

    A runtime that builds what it loads, as TensorRT its engines, does so next to the file where it is installed: for
    the GPU here, or ahead of time for one of ``capability``, such as ``SM89``.

    Raises:
        ExportError: an unknown target, or one that the network was not trained for; another program's file stands in
            the place.
        ModelError: ``source`` holds no network.
    """
    for target in targets:
        if PROFILES.find(target).runtime is None:
            raise ExportError(f"{target} is a way to train, no runtime; export for a runtime")
    source = source.resolve()
    stage = last_stage(source)
    artifact = Artifact.load(stage)
    network = restore(artifact)
    preprocess, classes = _task(stage, artifact)
    for target in targets:
        _must_be_ours(out / target / ONNX)
    written = []
    for target in targets:
        path = out / target / ONNX
        placing = Placing(target, threads, LocalTarget()) if is_timed_here(target) else None
        with folder_to_fill(path.parent) as folder:
            [file] = write_files(folder, network, artifact.spec, preprocess, classes, [target], placing)
        built = writer_of(target).build(path, out / target, capability)
        written.append(Written(target, path, file.precision, lint(onnx.load(path), target), built))
    return written


def _must_be_ours(path: Path) -> None:
    """A file that an earlier export wrote is replaced; its engines have its hash in their names, and may stay."""
    if lies_there(path.parent) and not is_folder(path.parent):
        raise ExportError(f"{path.parent} is no folder, or a link to one: move it away, or choose another --out")
    if lies_there(path) and not (is_file(path) and PREPROCESS in _properties(path)):
        raise ExportError(f"{path} is not of edgekd, so it is not replaced: move it away, or choose another --out")


def last_stage(source: Path) -> Path:
    if (source / MODEL).is_file():
        return source
    stages = sorted(path.parent for path in (source / "stages").glob(f"[0-9][0-9]-*/{MODEL}"))
    if not stages:
        raise ExportError(f"{source} holds no network: give a run folder, or a stage's folder under its stages/")
    # A run that was changed keeps the stages of before; its report names the last one.
    last = _last_of_report(source / "report.json")
    return next((stage for stage in stages if last and stage.name.endswith(last)), stages[-1])


def _last_of_report(path: Path) -> str | None:
    try:
        stage = read_object(path, "run the recipe again")["stages"][-1]
        return f"-{stage['name']}-{stage['key'][:KEY_DIGITS]}"
    except (EdgekdError, ValueError, KeyError, IndexError, TypeError):
        return None


def _task(stage: Path, artifact: Artifact) -> tuple[Preprocess, list[str]]:
    """How raw input becomes the network's, and the classes: as the run's own files say."""
    for path in sorted((stage.parent.parent / "exports").glob(f"*/{ONNX}"), reverse=True):
        properties = _properties(path)
        if PREPROCESS in properties:
            preprocess = Preprocess.from_json(json.loads(properties[PREPROCESS]))
            return preprocess, json.loads(properties["edgekd.labels"])
    raise ExportError(
        f"{stage} is in no finished run, so nothing says how its input is prepared; let 'edgekd run' end first"
    )


def _properties(path: Path) -> dict[str, str]:
    try:
        model = onnx.load(require_file(path), load_external_data=False)
    except Exception:  # protobuf's, onnx's and the operating system's errors have no common class
        return {}
    return {entry.key: entry.value for entry in model.metadata_props}
