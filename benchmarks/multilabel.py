"""Any number of labels for each image, from a recipe to the gate: real digits on real photographs.

    python benchmarks/multilabel.py --json benchmarks/results/multilabel.json

``recipes/scenes.yaml`` is run from end to end: mean average precision and macro F1 are ONNX Runtime's, of the float and
the int8 file, with intervals, and the student's drop is a paired one. The run is made the baseline, and the gate is
asked about

- the same recipe, run again in a folder of its own: nothing has changed;
- regressions that are planted in the recipe: a cut that goes too far, and a distillation that ends too early;
- the deployed file's own logits with a little noise on them, of no direction that any label knows: as two runtimes
  differ, and too little to change the metric by what is allowed;
- the same with more noise, of which every draw loses more than is allowed.

Work is kept under --out, and a run that was killed goes on. Needs ``pip install scikit-image``, as the recipe does.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import finish, goal, options, say
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edgekd.bench import fingerprint
from edgekd.data import DataSet, load_data
from edgekd.files import make_folder, write_json
from edgekd.gate import Policy, check, load_subject
from edgekd.pipeline.run import run
from edgekd.pipeline.scores import Scores
from edgekd.recipe import Recipe, load_recipe
from edgekd.records.rows import deployed_of
from edgekd.report.schema import Report, Row
from edgekd.tasks.evidence_file import EvidenceFile, compared_by_file, write_evidence
from edgekd.tasks.metric import evidence_for
from edgekd.tasks.registry import TASKS
from edgekd.tasks.task import Task

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes/scenes.yaml"
QUICK = [
    *("data.args.train=400", "data.args.test=200", "teacher.train.epochs=1", "distill.epochs=1", "prune.epochs=1"),
    *("quantize.epochs=0", "budget.drop.map=100", "budget.drop.macro_f1=100"),
]
REGRESSIONS = {
    "cut to a sixth": ["prune.macs=0.16", "prune.epochs=1"],
    "distilled for two epochs": ["distill.epochs=2", "prune.epochs=1"],
}
# Of the standard deviation of the logits: the first is that of another runtime's rounding.
LITTLE, MORE = 0.02, 0.6
DRAWS = 40
SHOWN = ("teacher", "distilled", "pruned", "quantized")


@dataclass(frozen=True)
class Judged:
    """Findings of the gate on the task's metrics, and the names of those that fail."""

    failed: list[str]
    said: dict[str, str]


def ran(recipe: Recipe, folder: Path) -> Report:
    say(f"{folder.name}: {recipe.name}")
    return run(recipe, folder, command=f"edgekd run recipes/{RECIPE.name}")


def judged(baseline: Path, current: Path, metrics: Sequence[str]) -> Judged:
    """Ask the gate about the file in ONNX Runtime."""
    verdict = check(load_subject(baseline), load_subject(current), Policy())
    found = [each for each in verdict.findings if "onnxruntime" in each.place and each.metric in metrics]
    return Judged([each.metric for each in found if each.level == "fail"], {each.metric: each.what for each in found})


@dataclass(frozen=True)
class Deployed:
    """The deployed file's logits on the test samples, and what is needed to write a report with others."""

    document: dict[str, Any]
    place: int
    logits: NDArray[np.float64]
    task: Task
    data: DataSet

    @classmethod
    def of(cls, folder: Path, data: DataSet) -> "Deployed":
        document = json.loads((folder / "report.json").read_text())
        here = [row for row in document["rows"] if row["runtime"] == "onnxruntime"]
        row = next(row for row in here if row["model"] == deployed_of(document))
        exported = json.loads((folder / row["file"]).with_name("metrics.json").read_text())
        task = TASKS.find(data.task.name)(data.classes, **exported["decoder"])
        logits = np.load(folder / row["predictions"]).astype(np.float64)
        return cls(document, document["rows"].index(row), logits, task, data)

    def with_noise(self, noise: float, seed: int, folder: Path) -> tuple[Path, dict[str, float]]:
        """Write a report of which the deployed logits have noise, and return its folder with the metrics."""
        random = np.random.default_rng([int(1000 * noise), seed])
        logits = self.logits + noise * self.logits.std() * random.normal(size=self.logits.shape)
        targets = self.task.targets(self.data.test.labels.numpy())
        metrics = self.task.metrics
        evidence = evidence_for(metrics, self.task.from_rows(logits), targets)
        by_file = {each.name: evidence[each.name] for each in compared_by_file(metrics)}
        found = Scores.of(evidence, metrics)
        kept = EvidenceFile("evidence.npz", write_evidence(make_folder(folder) / "evidence.npz", by_file))
        known = self.document["rows"]
        changed = {**known[self.place], **found.to_json(), "evidence": kept.to_json()}
        changed = {name: value for name, value in changed.items() if name not in ("file", "predictions", "right")}
        rows = [row for row in known[: self.place] if row["role"] == "teacher"] + [changed]
        write_json(folder / "report.json", {**self.document, "rows": rows})
        return folder, dict(found.values)


def series(deployed: Deployed, baseline: Path, noise: float, draws: int, out: Path) -> list[dict[str, Any]]:
    """Judge that many draws of one noise."""
    names = [metric.name for metric in deployed.task.metrics]
    found = []
    for seed in range(draws):
        folder, values = deployed.with_noise(noise, seed, out / f"noise-{noise:g}-{seed}")
        verdict = judged(baseline, folder, names)
        found.append({"seed": seed, **values, "failed": verdict.failed})
    return found


def rows_of(report: Report) -> list[dict[str, Any]]:
    """Return what ONNX Runtime gave, network by network."""
    return [_figures(report, row) for row in report.rows if row.runtime == "onnxruntime"]


def _figures(report: Report, row: Row) -> dict[str, Any]:
    known = row.to_json()
    metrics = {name: known[name] for each in report.metrics for name in (each.name, f"{each.name}_ci95")}
    kept = ("model", "precision", "size_bytes", "params", "macs", "latency_ms", "latency_vs_teacher", "n")
    return {**{name: known.get(name) for name in kept}, **metrics}


def show(report: Report, rows: Sequence[dict[str, Any]]) -> None:
    table = Table("Network", "Precision", *(metric.heading for metric in report.metrics), "Size, kB", "Times faster")
    for row in rows:
        shown = [metric.shown(row[metric.name], row[f"{metric.name}_ci95"]) for metric in report.metrics]
        ratio = row["latency_vs_teacher"]
        times = f"{1 / ratio['ratio']:.2f}" if ratio else ""
        table.add_row(row["model"], row["precision"], *shown, f"{row['size_bytes'] / 1e3:.1f}", times)
    Console(width=120).print(table)


def main() -> None:
    arguments = options(__doc__)
    out = make_folder(arguments.out or ROOT / "runs/multilabel")
    settings, draws = (QUICK, 3) if arguments.quick else ([], DRAWS)
    recipe = load_recipe(RECIPE, settings)
    report = ran(recipe, out / "run")
    names = [metric.name for metric in report.metrics]
    baseline = out / "baseline.json"
    load_subject(out / "run").save(baseline)
    asked: dict[str, Judged] = {}
    ran(recipe, out / "again")
    asked["run again"] = judged(baseline, out / "again", names)
    for name, changes in REGRESSIONS.items():
        folder = out / name.replace(" ", "-")
        if not folder.exists():
            shutil.copytree(out / "run", folder)  # what the change leaves as it was is found there
        ran(load_recipe(RECIPE, [*settings, *changes]), folder)
        asked[name] = judged(baseline, folder, names)
    deployed = Deployed.of(out / "run", load_data(recipe.data, recipe.seed, recipe.kind))
    noisy = {f"{noise:g}": series(deployed, baseline, noise, draws, out / "noise") for noise in (LITTLE, MORE)}
    rows = rows_of(report)
    show(report, rows)
    figures = {
        **{"recipe_sha256": recipe.sha256, "test_samples": len(deployed.data.test), "machine": fingerprint().to_json()},
        "rows": rows,
        "budget": report.budget.to_json() if report.budget else None,
        "gate": {name: vars(each) for name, each in asked.items()},
        "noise": noisy,
    }
    finish(arguments, figures, goals(figures))


def goals(figures: dict[str, Any]) -> list[dict[str, Any]]:
    rows = {row["model"]: row for row in figures["rows"]}
    lost = next(each for each in figures["budget"]["checks"] if each["name"] == "map_drop")
    caught = {name: "map" in each["failed"] for name, each in figures["gate"].items() if name != "run again"}
    alarms, found = (sum(bool(each["failed"]) for each in figures["noise"][f"{noise:g}"]) for noise in (LITTLE, MORE))
    unchanged = figures["gate"]["run again"]["failed"]
    return [
        goal("points of mAP that the int8 file is below the teacher's", lost["bound"], lost["value"], True),
        goal("mAP of the int8 file", 0.8, rows["quantized"]["map"]),
        goal("metrics that fail where the recipe is run again", 0, len(unchanged), True),
        *(goal(f"caught: {name}", 1, int(found)) for name, found in caught.items()),
        goal(f"false alarms by noise of {LITTLE:g}", 0, alarms, True),
        goal(f"caught noise of {MORE:g}", len(figures["noise"][f"{MORE:g}"]), found),
    ]


if __name__ == "__main__":
    main()
