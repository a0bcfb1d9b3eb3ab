"""From a finished run's folder to a bundle, by its files alone: no data, no training, no torch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from edgekd import __version__
from edgekd.arrayfiles import names_in_npz, read_npz
from edgekd.artifact_cache import METRICS, damaged_file
from edgekd.bundle.choice import may_be_optimised
from edgekd.bundle.pack import pack
from edgekd.bundle.session import BundleSession, Inputs
from edgekd.bundle.target import BundleTarget, file_for
from edgekd.errors import BundleError, RecipeError
from edgekd.files import read_object
from edgekd.pipeline.names import IMAGE_FILES, NAMED_SAMPLES, REFERENCE, SAMPLES
from edgekd.preprocess import Preprocess
from edgekd.recipe.load import read_text
from edgekd.recipe.tree import Origin, parse
from edgekd.report.deployed import deployed
from edgekd.report.schema import Report
from edgekd.report.verdict import figures, headline, lines, quality_lines
from edgekd.strict_json import JsonObject
from edgekd.tasks.registry import DEFAULT, TASKS
from edgekd.tasks.task import Task
from edgekd.userfile import is_reference

# Of a row of the report: what leads into the run folder, and the predictions that the gate reads there.
LEFT_BEHIND = ("file", "predictions", "right", "evidence", "reliability")


class RunFile(NamedTuple):
    """A network's file, below the run's folder, and its precision."""

    file: str
    precision: str


def pack_run(
    run: Path,
    out: Path | None = None,
    *,
    stage: str | None = None,
    name: str | None = None,
    licenses: Mapping[str, str] | None = None,
    raw_input: bool = False,
    decoded_output: bool = False,
    images: bool = True,
    card: str | None = None,
) -> Path:
    """Pack a network of the finished run in the folder ``run`` into ``out`` (``run/bundle`` if left out).

    Args:
        stage: as the report calls the network, such as ``distilled``; the last one if left out.
        name: of the bundle; the recipe's if left out.
        licenses: SPDX expressions of ``model`` and ``data``.
        raw_input: adds a file that takes raw uint8 images and prepares them itself.
        decoded_output: adds a file that does the task's decoding itself, such as the suppression of boxes.
        images: adds a few of the golden samples as image files, at the size that the run's data have them.
        card: replaces the generated model card.

    Raises:
        BundleError: the run is not finished or was changed, has no such network, or :func:`edgekd.bundle.pack.pack`
            refuses it.
    """
    report = read_report(run)
    networks = by_label(report, run)
    label = choose_label(networks, stage, run)
    precision = networks[label].precision
    file = require_undamaged(run / networks[label].file)
    preprocess, labels = read_metadata(file)
    raw = read_samples(file)
    inputs = preprocess.apply(raw) if isinstance(raw, np.ndarray) else raw
    targets, content = target_files(report, file), file.read_bytes()
    optimised = may_be_optimised(each for each, path in targets.items() if path.read_bytes() == content)
    return pack(
        run / "bundle" if out is None else out,
        name=name or report.name,
        models={precision: file, **float_twin(networks, label, run)},
        primary=precision,
        task=task_of(report, file, labels),
        preprocess=preprocess,
        golden=(inputs, BundleSession(file, threads=1, optimised=optimised).run(inputs)),
        measurements=measurements(report, {next(iter(networks)), label}),
        lineage=lineage(report, run, label, [*networks].index(label)),
        licenses=licenses,
        raw=must_be_images(raw, preprocess) if raw_input else None,
        decoded_output=decoded_output,
        images={path.name: path.read_bytes() for path in sorted(file.parent.glob(IMAGE_FILES))} if images else None,
        card=card,
        aside=out is None,
        targets=targets,
        verdict=verdict_of(report, label),
        findings=findings_of(report, label),
    )


def verdict_of(report: Report, label: str) -> tuple[str, ...]:
    """Return the verdict on the network ``label``, then each check of the budget; nothing where it was not judged."""
    judged = deployed(report)
    if judged is None or label != judged.model or report.budget is None or not report.budget.checks:
        return ()
    return (headline(report), *map(str, lines(report)))


def findings_of(report: Report, label: str) -> tuple[str, ...]:
    """Return what the network ``label`` gains over the teacher and what it loses; nothing where it was not judged."""
    judged = deployed(report)
    if judged is None or label != judged.model:
        return ()
    return tuple(each for each in (figures(report), *(each.text for each in quality_lines(report))) if each)


def read_report(run: Path) -> Report:
    file = run / "report.json"
    if not file.exists():
        raise BundleError(f"{run}: holds no report.json, so no run has finished there; let 'edgekd run' end")
    return Report.from_json(read_object(file, "run the recipe again", BundleError), file)


def by_label(report: Report, run: Path) -> dict[str, RunFile]:
    """Return each network's first file for the runtime of bundles, in the order of the stages, teacher first.

    Where a recipe has no target in that runtime, they are those for the first target, which run in it too.
    """
    rows = [(row, RunFile(row.file, row.precision)) for row in report.rows if row.file]
    found: dict[str, RunFile] = {}
    for row, file in [each for each in rows if each[0].runtime == REFERENCE] or rows:
        found.setdefault(row.model, file)
    if not found:
        raise BundleError(f"{run}: its report has no file; run the recipe again")
    return found


def choose_label(networks: Mapping[str, RunFile], stage: str | None, run: Path) -> str:
    label = [*networks][-1] if stage is None else stage
    if label not in networks:
        raise BundleError(f"{run}: has no network {label!r}; it has {', '.join(networks)}")
    return label


def require_undamaged(file: Path) -> Path:
    """Return ``file`` if its folder is as the run left it.

    Raises:
        BundleError: it is missing or was changed.
    """
    if not file.is_file():
        raise BundleError(f"{file}: is missing; run the recipe again")
    if damaged := damaged_file(file.parent):
        raise BundleError(f"{damaged}: is not as the run left it; run the recipe again")
    if not any(file.with_name(name).is_file() for name in (SAMPLES, NAMED_SAMPLES)):
        raise BundleError(f"{file.parent}: holds no {SAMPLES}, so it is of an older edgekd; run the recipe again")
    return file


def read_metadata(file: Path) -> tuple[Preprocess, list[str]]:
    properties = {entry.key: entry.value for entry in onnx.load(file, load_external_data=False).metadata_props}
    return Preprocess.from_json(json.loads(properties["edgekd.preprocess"])), json.loads(properties["edgekd.labels"])


def task_of(report: Report, file: Path, names: Sequence[str]) -> Task:
    """Return the run's task with the decoder that was fitted for ``file``."""
    exported = read_object(file.with_name(METRICS), "run the recipe again", BundleError)
    record = next(each for each in (exported, *exported["others"]) if each["file"] == file.name)
    return TASKS.find(report.task or DEFAULT)(tuple(names), **record.get("decoder", {}))


def target_files(report: Report, file: Path) -> dict[BundleTarget, Path]:
    """Return the recipe's targets, each with its file of the network whose export ``file`` is in.

    Reports of earlier versions name none.
    """
    exported = read_object(file.with_name(METRICS), "run the recipe again", BundleError)
    written = {each["profile"]: each for each in (exported, *exported["others"])}
    found = {}
    for each in report.targets or ():
        if own := written.get(each.profile):
            target = BundleTarget(
                name=each.name,
                device=each.device,
                runtime=each.runtime,
                processor=each.processor,
                profile=each.profile,
                precision=own["precision"],
                file=file_for(each.name),
                measured=each.measured is not None,
                threads=each.threads,
            )
            found[target] = file.with_name(own["file"])
    return found


def float_twin(networks: Mapping[str, RunFile], label: str, run: Path) -> dict[str, Path]:
    """Return the file of the last float32 student that an int8 network was made of, if any, by its precision."""
    before = [*networks][1 : [*networks].index(label)]
    floats = [networks[each] for each in before if networks[each].precision == "float32"]
    return (
        {"float32": require_undamaged(run / floats[-1].file)} if networks[label].precision == "int8" and floats else {}
    )


def measurements(report: Report, labels: set[str]) -> list[JsonObject]:
    rows = [row.to_json() for row in report.rows if row.model in labels]
    return [{key: value for key, value in row.items() if key not in LEFT_BEHIND} for row in rows]


def read_samples(file: Path) -> Inputs:
    """Return the samples in an exported file's folder, as they are before any scaling; of several inputs by name."""
    if (named := file.with_name(NAMED_SAMPLES)).is_file():
        return read_npz(named, names_in_npz(named))
    found: np.ndarray = np.load(file.with_name(SAMPLES), allow_pickle=False)
    return found


def must_be_images(raw: Inputs, preprocess: Preprocess) -> np.ndarray:
    if preprocess.kind != "image" or not isinstance(raw, np.ndarray):
        taken = "several inputs" if preprocess.kind == "tensors" else "vectors of numbers"
        raise BundleError(f"--raw-input is for images; this network takes {taken}, leave it out")
    return raw


def lineage(report: Report, run: Path, label: str, stages: int) -> JsonObject:
    """Return what the network was made of: hashes of recipe, data and ``stages``, teachers, and the tools' versions."""
    data, environment = report.data.to_json() if report.data else {}, report.environment
    done = [{"name": stage.name, "key": stage.key} for stage in report.stages]
    taught = [stage for stage in done if stage["name"].startswith("teacher")]
    return {
        "recipe": {"name": report.name, "sha256": report.recipe_sha256},
        "data": {key: data[key] for key in ("name", "fingerprint", "train", "validation", "test") if key in data},
        "network": label,
        "teachers": read_teachers(run, [stage["key"] for stage in taught]),
        "stages": [stage for stage in done if stage not in taught][:stages],
        "tools": {"python": environment["python"], **environment.get("packages", {}), "edgekd": __version__},
    }


def without_folder(model: str) -> str:
    """Return ``model`` without the folder of the user's file that builds it."""
    return Path(model).name if is_reference(model) else model


def read_teachers(run: Path, keys: Sequence[str]) -> list[dict[str, str]]:
    try:
        lock = parse(read_text(run / "recipe.lock.yaml", ""), lambda line: Origin("recipe.lock.yaml", run))
        section = lock.value["teacher"]
        models = [str(each["model"]) for each in (section, *section["others"])]
    except (RecipeError, KeyError, TypeError) as error:
        raise BundleError(f"{run / 'recipe.lock.yaml'}: cannot be read ({error!r}); run the recipe again") from error
    return [{"model": without_folder(model), "key": key} for model, key in zip(models, keys, strict=False)]
