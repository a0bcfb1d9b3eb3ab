"""Does the front of a short search lie before the networks of a recipe that is written by hand?

    python benchmarks/fit_front.py --json benchmarks/results/fit_front.json --out /tmp/fit_front

`edgekd run recipes/quickstart.yaml` gives the networks by hand: distilled, pruned and quantised. `edgekd fit
recipes/fit_digits.yaml` has a quarter of an hour on the same data, and its front are the candidates that no other one
beats in time and in accuracy on the validation samples. All files are then timed in turns in one run, and each
predicts the test samples, which no search has seen. A network by hand lies behind the front where a candidate is
surely faster and as accurate on the test samples; what both differ by is tested in pairs. Started again with the same
--out, searches go on and runs are kept.
"""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from common import finish, goal, options, say
from torch import Tensor

from edgekd.bench import Plan, Workload
from edgekd.bench.target import LocalTarget
from edgekd.data import DataSet, Samples, load_data
from edgekd.export import runtime_logits
from edgekd.recipe import load_recipe
from edgekd.report.pareto import front
from edgekd.tasks.compare import compare
from edgekd.tasks.metric import Evidence
from edgekd.train.evaluate import evidence_of

RECIPES = Path(__file__).parents[1] / "recipes"
BY_HAND, SEARCH = RECIPES / "quickstart.yaml", RECIPES / "fit_digits.yaml"
HOURS, QUICK_HOURS = 0.25, 0.15
WANTED = 3
TEACHER = "teacher"
Figures = dict[str, Any]


def main() -> None:
    arguments = options(__doc__)
    folder = arguments.out or Path(mkdtemp(prefix="fit-front-"))
    folder.mkdir(parents=True, exist_ok=True)
    hours = QUICK_HOURS if arguments.quick else HOURS
    called("run", str(BY_HAND), "--out", str(folder / "run"))
    called("fit", str(SEARCH), "--out", str(folder / "fit"), "--hours", str(hours))
    recipe = load_recipe(BY_HAND)
    data = load_data(recipe.data, recipe.seed)
    files = {**by_hand(folder / "run"), **candidates(folder / "fit")}
    say(f"{len(files)} files are timed in turns")
    plan = Plan({name: Workload(str(path)) for name, path in files.items()}, TEACHER, seconds=1.0, max_seconds=2.0)
    records = LocalTarget().latency(plan)
    points = {name: measured(name, path, records[name], data) for name, path in files.items()}
    ours = [points[name] for name in on_front({name: each for name, each in points.items() if each["searched"]})]
    theirs = [each for each in points.values() if not each["searched"] and each["name"] != TEACHER]
    evidence = {name: evidence_of(predicted(path, data, data.test), data, data.test) for name, path in files.items()}
    behind = [beaten(each, ours, evidence, data) for each in theirs]
    figures = {"hours": hours, "points": list(points.values()), "front": [each["name"] for each in ours]}
    lying = sum(each["by"] is not None for each in behind)
    finish(arguments, {**figures, "by_hand": behind}, [goal("networks by hand behind the front", WANTED, lying)])


def called(*words: str) -> None:
    """Run a command of edgekd; a budget that is not met is no failure here."""
    done = subprocess.run([sys.executable, "-m", "edgekd", *words], check=False)
    if done.returncode not in (0, 2):
        sys.exit(f"edgekd {' '.join(words)} ended with {done.returncode}")


def by_hand(run: Path) -> dict[str, Path]:
    """Return the files of the teacher and of each stage; the last one as it is deployed."""
    exports = sorted((run / "exports").glob("[0-9]*"))
    found = {each.name.split("-")[1]: each / "model.onnx" for each in exports}
    return {**found, exports[-1].name.split("-")[1]: run / "bundle" / "model.cpu.onnx"}


def candidates(fit: Path) -> dict[str, Path]:
    """Return the file of each trial's student, as the search scored it; a trial that failed has none."""
    students = {trial: sorted(trial.glob("exports/[0-9]*-validation-*"))[1:] for trial in fit.glob("trials/[0-9]*")}
    return {f"trial {trial.name}": min(own[-1].glob("model*.onnx")) for trial, own in sorted(students.items()) if own}


def measured(name: str, path: Path, record: Any, data: DataSet) -> Figures:
    ratio = record.latency_vs_reference
    accuracies = {
        part: evidence_of(predicted(path, data, samples), data, samples).value()
        for part, samples in (("validation", data.validation), ("test", data.test))
    }
    return {
        **{"name": name, "searched": name.startswith("trial"), "bytes": path.stat().st_size},
        **{"ratio": 1.0 if ratio is None else ratio.ratio, "ci95": None if ratio is None else ratio.ci95},
        **accuracies,
    }


def predicted(path: Path, data: DataSet, samples: Samples) -> Tensor:
    return runtime_logits(path, data.inputs(samples)).argmax(1)


def on_front(points: dict[str, Figures]) -> Iterable[str]:
    """Return the candidates that no other one beats in time and in accuracy on the validation samples."""
    names = list(points)
    places = front([(points[name]["ratio"], points[name]["validation"]) for name in names])
    return [names[place] for place in places]


def beaten(theirs: Figures, ours: list[Figures], evidence: dict[str, Evidence], data: DataSet) -> Figures:
    """Say which candidate of the front is surely faster than ``theirs`` and as accurate, the most accurate of these."""
    better = [each for each in ours if each["ci95"][1] < theirs["ci95"][0] and each["test"] >= theirs["test"]]
    best = max(better, key=lambda each: float(each["test"]), default=None)
    if best is None:
        return {"name": theirs["name"], "by": None}
    found = compare(data.task.metrics[0], evidence[theirs["name"]], evidence[best["name"]])
    return {
        **{"name": theirs["name"], "by": best["name"], "times": theirs["ratio"] / best["ratio"]},
        **{"gain": -found.drop, "gain_ci95": [-found.interval[1], -found.interval[0]]},
    }


if __name__ == "__main__":
    main()
