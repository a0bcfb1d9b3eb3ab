"""The runs of ``tasks.py``: a recipe each, and what its report says of every network in ONNX Runtime."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from common import say
from torch.fx import GraphModule

from edgekd.artifact import Artifact
from edgekd.artifact_cache import KEY_DIGITS
from edgekd.files import temporary_folder
from edgekd.pipeline.inventory import int8_coverage
from edgekd.pipeline.run import run
from edgekd.quantize.files import export_runtime
from edgekd.recipe import Recipe, load_recipe
from edgekd.records.rows import deployed_of, task_of, teacher_of
from edgekd.runtime import DEFAULT
from edgekd.stages.network import quantization_of, restore
from edgekd.stages.targets import file_profile
from edgekd.tasks.compare import compare
from edgekd.tasks.evidence_file import EvidenceFile, read_evidence
from edgekd.tasks.metric import Metric
from edgekd.tasks.task import Task

ROOT = Path(__file__).parents[1]
REPORT = "report.json"
# Of a row of a report.
KEPT = ("model", "precision", "size_bytes", "params", "macs", "int8_coverage", "latency_vs_teacher", "n", "valid")
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A recipe that is run from end to end: its file below the repository, and its title in tables."""

    title: str
    file: str

    def recipe(self, quick: bool = False) -> Recipe:
        """Return the recipe as it is, or with an epoch for each stage, few samples and no budget."""
        path = ROOT / self.file
        recipe = load_recipe(path)
        if not quick:
            return recipe
        epochs = ["teacher.train.epochs=1", *(f"{stage.name}.epochs=1" for stage in recipe.stages)]
        few = ["data.args.train=300", "data.args.test=100"] if "train" in recipe.data.args else []
        return load_recipe(path, [*epochs, *few, "budget={}"])


# From the fastest to the slowest.
CASES = {
    "table": Case("table: MLP", "recipes/diabetes.yaml"),
    "keypoints": Case("keypoints: CNN", "recipes/keypoints.yaml"),
    "heat maps": Case("keypoints: heat maps", "recipes/keypoints_maps.yaml"),
    "counting": Case("counting: CNN", "benchmarks/task_recipes/counting.yaml"),
    "unet": Case("masks: U-Net", "recipes/scenes_masks.yaml"),
    "pyramid": Case("boxes: FPN", "recipes/scenes_boxes.yaml"),
    "c2f": Case("boxes: C2f, PAN", "benchmarks/task_recipes/scenes_c2f.yaml"),
    "crowns": Case("boxes: tree crowns", "benchmarks/task_recipes/crowns.yaml"),
    "lraspp": Case("masks: LRASPP", "benchmarks/task_recipes/scenes_lraspp.yaml"),
    "ssdlite": Case("boxes: SSDLite", "benchmarks/task_recipes/scenes_ssdlite.yaml"),
}


@dataclass(frozen=True)
class Finished:
    """A finished run: its recipe, its folder and its report as JSON."""

    name: str
    recipe: Recipe
    folder: Path
    report: Document

    @property
    def task(self) -> type[Task]:
        return task_of(self.report)

    @property
    def metric(self) -> Metric:
        return self.task.metrics[0]

    @property
    def rows(self) -> Mapping[str, dict[str, Any]]:
        """Return the rows of the files in ONNX Runtime by network, in the order of the stages."""
        return {row["model"]: row for row in self.report["rows"] if row["runtime"] == DEFAULT}

    @property
    def deployed(self) -> str:
        return deployed_of(self.report)

    @property
    def before_int8(self) -> str:
        """Return the name of the network that the last stage quantised."""
        names = list(self.rows)
        return names[names.index(self.deployed) - 1]

    def file(self, network: str) -> Path:
        return self.folder / self.rows[network]["file"]

    def stage(self, number: int) -> Path:
        """Return the folder of the network that a stage of the report gave; the teacher has 0."""
        known = self.report["stages"][number]
        [found] = (self.folder / "stages").glob(f"*-{known['name']}-{known['key'][:KEY_DIGITS]}")
        return found


def ran(name: str, folder: Path, quick: bool) -> Finished:
    """Run a case's recipe, or return the run that was finished before, where it is of the same recipe."""
    case, out = CASES[name], folder / name
    recipe = case.recipe(quick)
    if report := _finished(out, recipe):
        return Finished(name, recipe, out, report)
    say(f"{name}: {case.file}")
    run(recipe, out, command=f"edgekd run {case.file}")
    return Finished(name, recipe, out, json.loads((out / REPORT).read_text()))


def _finished(folder: Path, recipe: Recipe) -> Document | None:
    path = folder / REPORT
    report = json.loads(path.read_text()) if path.exists() else {}
    return report if report.get("recipe_sha256") == recipe.sha256 else None


def figures_of(done: Finished) -> dict[str, Any]:
    """Return what the report says of each network, and what the last one lost as it went from float to int8."""
    metric, report, rows = done.metric, done.report, done.rows
    before, after = (_evidence(done, rows[name]) for name in (done.before_int8, done.deployed))
    lost = compare(metric, before, after)
    return {
        **{"recipe": CASES[done.name].file, "teacher": teacher_of(report), "deployed": done.deployed},
        "data": {key: report["data"][key] for key in ("train", "validation", "test")},
        "cpu": report["environment"]["cpu"],
        "rows": [_row(row, done.task.metrics) for row in rows.values()],
        "lost_in_int8": {"value": metric.scale * lost.drop, "ci95": [metric.scale * end for end in lost.interval]},
        "int8_everywhere": coverage_everywhere(done),
        "seconds": {stage["name"]: stage.get("seconds") for stage in report["stages"]},
        "budget": report.get("budget"),
    }


def coverage_everywhere(done: Finished) -> float | None:
    """Return the share of multiply-accumulates in int8 where no layer is left in float for its time."""
    artifact = Artifact.load(done.stage(-1))
    graph, trained = restore(artifact), quantization_of(artifact.spec).profile
    if not isinstance(graph, GraphModule) or trained is None:
        return None
    profile = file_profile(done.recipe.targets[0])
    with temporary_folder() as folder:
        path = export_runtime(graph, folder / "m.onnx", None, profile, trained=trained, inputs=artifact.spec.inputs)
        return int8_coverage(onnx.load(path), profile, confirm=True)


def _evidence(done: Finished, row: Document) -> Any:
    named, metrics = EvidenceFile(**row["evidence"]), [done.metric]
    return read_evidence(done.folder, named, metrics, f"run {done.recipe.name} again")[done.metric.name]


def _row(row: Document, metrics: Sequence[Metric]) -> dict[str, Any]:
    kept = {name: row.get(name) for name in KEPT}
    values = {key: row[key] for metric in metrics for key in (metric.name, metric.interval_key)}
    notes = [each["message"] for each in row.get("warnings", ())]
    return {**kept, **values, "p50_ms": (row.get("latency_ms") or {}).get("p50"), "warnings": notes}
