"""How often the gate fails a network that did not change, and how often it lets a worse one through.

    edgekd run recipes/quickstart.yaml
    python benchmarks/gate/false_alarms.py --json benchmarks/results/gate/false_alarms.json

One finished run is evaluated again and again with nothing changed: its last file answers the test samples in ONNX
Runtime, and is timed in turns with the file that ``edgekd baseline promote --files`` kept, both as ``edgekd run
--beside`` does it, beside a process that hogs the other core. Each evaluation is held to that baseline. Then a hundred
regressions of each kind are planted: answers drawn from the run's own, 2,000 of them, of which as many are lost that
1.5 points are gone, with others won by chance; a file that is larger by 1 %; an evaluation of which the student takes
10 % longer; and the file itself, with some of its layers taken back to float.

A second and shorter series tells what the gate can do where no file was kept: the student is timed in turns with the
teacher, and each evaluation is held to the one before it, so that the noise of both is in the verdict.

Series that were stopped go on from where they were.
"""

import json
import random
import sys
from argparse import Namespace
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import onnx

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import finish, goal, options, say
from gate.fallback import layers_in_float, quantised_layers
from neighbours import hog
from repeats import keep, lines

from edgekd.bench import Plan, Workload, measure
from edgekd.data import DataSet, load_data
from edgekd.export import runtime_logits
from edgekd.files import canonical_json, sha256, sha256_file
from edgekd.gate import GateSubject as Judged
from edgekd.gate import Policy, check
from edgekd.gate.files import keep_files, kept_file
from edgekd.gate.subject import subject_of
from edgekd.pipeline.baseline_latency import NOW, against_baseline, comparison_plan
from edgekd.pipeline.inventory import int8_coverage, operator_counts
from edgekd.pipeline.measure import LAUNCHES, SECONDS
from edgekd.progress import track
from edgekd.recipe import Recipe, Target, load_recipe
from edgekd.records.rows import deployed_of, place_of, teacher_of
from edgekd.stats.correct import decode_correct, encode_correct
from edgekd.stats.proportion import wilson_interval

REPEATS, PLANTED, BY_TEACHER = 300, 100, 20
SAMPLES, LOST_NET = 2000, 30
LARGER, SLOWER = 0.01, 0.10
# Of two networks that differ by chance alone; beyond it the figures are shown, and are no goal.
WON = (0, 10, 20, 40, 80, 160)
LESS_ACCURATE = 0.9
VS_BASELINE = "latency_vs_baseline"


Evaluation = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """The finished run, and the file that its baseline keeps."""

    run: Path
    report: dict[str, Any]
    agreed: Path
    recipe: Recipe
    data: DataSet


def main() -> None:
    arguments = options(__doc__, run={"type": Path, "default": Path("runs/quickstart"), "help": "a finished run"})
    count, planted, by_teacher = (10, 10, 4) if arguments.quick else (REPEATS, PLANTED, BY_TEACHER)
    with TemporaryDirectory() as folder, hog():
        case = case_of(arguments.run, Path(folder) / "baseline.json")
        series = repeated(case, beside_baseline, count, part(arguments, case, "beside"))
        others = repeated(case, beside_teacher, by_teacher + 1, part(arguments, case, "teacher"))
    baseline = changed(case.report)
    verdicts = [check(baseline, evaluated(case.report, one), Policy()) for one in series]
    alarms = [verdict for verdict in verdicts if not verdict.passed]
    caught = regressions(case, series, planted)
    figures = {
        "repeats": len(verdicts),
        "false_alarms": share(len(alarms), len(verdicts)),
        "warned": share(sum(bool(verdict.at("warn")) for verdict in verdicts), len(verdicts)),
        "alarms": [[f"{each.metric}: {each.what}" for each in alarm.at("fail")] for alarm in alarms],
        "beside_baseline": spread_of([one[VS_BASELINE]["ratio"] for one in series]),
        "planted": {kind: share(sum(found), len(found)) for kind, found in caught.items()},
        "accuracy_by_won": by_won(case.report, planted),
        "without_the_file": without_the_file(case.report, others, planted),
        "settings": {"seconds": SECONDS, "sittings": LAUNCHES, "policy": "the usual one"},
        "evaluations": [{key: value for key, value in one.items() if key != "right"} for one in series],
    }
    tell(figures)
    if not arguments.quick:
        for name in ("beside", "teacher"):
            if kept := part(arguments, case, name):
                kept.unlink(missing_ok=True)
    finish(arguments, figures, goals(figures))


def case_of(run: Path, baseline: Path) -> Case:
    report, recipe = json.loads((run / "report.json").read_text()), load_recipe(run / "recipe.lock.yaml")
    keep_files(run, baseline)
    agreed = kept_file(baseline, subject_of(report).rows[place_of(ends(report)[1])])
    return Case(run, report, agreed, recipe, load_data(recipe.data, recipe.seed))


def part(arguments: Namespace, case: Case, series: str) -> Path | None:
    """Where a series is kept while it grows; those of other files have other names."""
    files = sha256(canonical_json([sha256_file(case.run / row["file"]) for row in ends(case.report)]))[:8]
    return arguments.json and arguments.json.with_suffix(f".{files}.{series}.part.jsonl")


def repeated(
    case: Case, evaluate: Callable[[Case, int], Evaluation], count: int, kept: Path | None
) -> list[Evaluation]:
    done = lines(kept)
    for number in track(range(count), evaluate.__name__, count):
        if number >= len(done):
            done.append(evaluate(case, number))
            keep(kept, done[-1])
    return done[:count]


def beside_baseline(case: Case, number: int) -> Evaluation:
    file = case.run / ends(case.report)[1]["file"]
    answers = runtime_logits(file, case.data.inputs(case.data.test)).argmax(1)
    right = (answers == case.data.test.labels).tolist()
    plan = comparison_plan(file, case.agreed, Target(device="cpu", runtime="onnxruntime"), seed=number)
    found = measure(plan)[NOW]
    beside = against_baseline(found, sha256_file(case.agreed))
    return {
        "accuracy": sum(right) / len(right),
        "right": encode_correct(right),
        VS_BASELINE: beside.to_json() if beside else None,
        "valid": found.valid,
    }


def beside_teacher(case: Case, number: int) -> Evaluation:
    teacher, student = (Workload(str(case.run / row["file"])) for row in ends(case.report))
    plan = Plan(
        {"teacher": teacher, "student": student}, "teacher", 1, 1, SECONDS, 2 * SECONDS,
        launches=LAUNCHES, question=case.recipe.budget.latency_ratio or 1.0, seed=number,
    )  # fmt: skip
    found = measure(plan)["student"]
    ratio = found.latency_vs_reference
    return {"latency_vs_teacher": ratio.to_json() if ratio else {}, VS_BASELINE: None, "valid": found.valid}


def ends(report: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The teacher's row and the last network's, in the runtime that the budget is about."""
    rows = [row for row in report["rows"] if row["runtime"] == "onnxruntime"]
    first = {row["model"]: row for row in reversed(rows)}
    return first[teacher_of(report)], first[deployed_of(report)]


def changed(report: dict[str, Any], **figures: Any) -> Judged:
    """The run with these figures of its last network in the place of its own."""
    document = deepcopy(report)
    # The interval is that of the run's own accuracy.
    row = {key: value for key, value in {**ends(report)[1], **figures}.items() if key != "accuracy_ci95"}
    # Alone it is as in a report of version 1, which needs no teacher.
    row.pop("role", None)
    document.pop("deployed", None)
    document |= {"schema_version": 1, "rows": [row]}
    document["data"]["test"] = row["n"]
    return subject_of(document)


def evaluated(report: dict[str, Any], one: dict[str, Any]) -> Judged:
    return changed(report, **one)


def regressions(case: Case, series: list[Evaluation], count: int) -> dict[str, list[bool]]:
    """By kind, which of the planted regressions were caught."""
    dice, report = random.Random(0), case.report
    before = changed(report)
    size, most_won = ends(report)[1]["size_bytes"], SAMPLES // 50
    right = list(decode_correct(series[0]["right"], ends(report)[1]["n"]) or ())
    return {
        "accuracy": [
            lost_answers(report, resampled(right, dice), dice.randint(0, most_won), dice) for _ in range(count)
        ],
        "size": [
            fails(before, changed(report, size_bytes=round(size * (1 + LARGER) + each)), "size_bytes")
            for each in range(count)
        ],
        "latency": [
            fails(before, evaluated(report, slower(one, VS_BASELINE)), "latency_ratio")
            for one in (dice.choice(series) for _ in range(count))
        ],
        "fallback": [fell_back(case.run, report, dice) for _ in range(count)],
    }


def fails(before: Judged, after: Judged, metric: str) -> bool:
    return any(finding.metric == metric for finding in check(before, after, Policy()).at("fail"))


def resampled(right: list[bool], dice: random.Random) -> list[bool]:
    return dice.choices(right, k=SAMPLES)


def lost_answers(report: dict[str, Any], before: list[bool], won: int, dice: random.Random) -> bool:
    """1.5 points fewer in all, with up to ``won`` answers that were wrong and are right now."""
    after, wrong = list(before), [place for place, right in enumerate(before) if not right]
    gained = dice.sample(wrong, min(won, len(wrong)))
    gone = dice.sample([place for place, right in enumerate(before) if right], LOST_NET + len(gained))
    for place in (*gained, *gone):
        after[place] = not before[place]
    first, second = (
        changed(report, n=SAMPLES, accuracy=sum(answers) / SAMPLES, right=encode_correct(answers))
        for answers in (before, after)
    )
    return fails(first, second, "accuracy")


def slower(one: Evaluation, key: str) -> Evaluation:
    ratio, by = one[key], 1 + SLOWER
    return {**one, key: {**ratio, "ratio": by * ratio["ratio"], "ci95": [by * end for end in ratio["ci95"]]}}


def fell_back(run: Path, report: dict[str, Any], dice: random.Random) -> bool:
    """Some of the file's own layers without their quantisers, counted as ``edgekd run`` counts them."""
    row = ends(report)[1]
    model = onnx.load(run / row["file"])
    layers = quantised_layers(model)
    planted = layers_in_float(model, dice.sample(layers, dice.randint(1, len(layers) - 1)))
    profile = next(each["profile"] for each in report["parity"] if each["model"] == row["model"])
    figures = {
        "operators": operator_counts(planted),
        "int8_coverage": int8_coverage(planted, profile, confirm=True),
    }
    verdict = check(changed(report), changed(report, **figures), Policy())
    return {"operators", "int8_coverage"} <= {finding.metric for finding in verdict.at("fail")}


def by_won(report: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """How the answers that were won by chance hide those that were lost, in a network with many wrong ones."""
    dice = random.Random(1)
    right = [place >= SAMPLES * (1 - LESS_ACCURATE) for place in range(SAMPLES)]
    return [
        {
            "won": won,
            "lost": won + LOST_NET,
            **share(sum(lost_answers(report, right, won, dice) for _ in range(count)), count),
        }
        for won in WON
    ]


def without_the_file(report: dict[str, Any], series: list[Evaluation], count: int) -> dict[str, Any]:
    """The gate's verdicts by the ratio to the teacher, each evaluation held to the one before it."""
    dice, key = random.Random(2), "latency_vs_teacher"
    alarms = [
        fails(evaluated(report, before), evaluated(report, after), "latency_ratio")
        for before, after in pairwise(series)
    ]
    caught = [
        fails(evaluated(report, before), evaluated(report, slower(after, key)), "latency_ratio")
        for before, after in (dice.sample(series, 2) for _ in range(count))
    ]
    return {
        "false_alarms": share(sum(alarms), len(alarms)),
        "slower": share(sum(caught), len(caught)),
        "ratio": spread_of([one[key]["ratio"] for one in series]),
        "evaluations": series,
    }


def spread_of(ratios: list[float]) -> dict[str, float]:
    return {"least": min(ratios), "median": median(ratios), "largest": max(ratios)}


def share(count: int, of: int) -> dict[str, Any]:
    return {"count": count, "of": of, "share": count / of, "ci95": list(wilson_interval(count, of))}


def goals(figures: dict[str, Any]) -> list[dict[str, Any]]:
    planted = {kind: found["share"] for kind, found in figures["planted"].items()}
    return [
        goal("share of unchanged networks that fail", 0.01, figures["false_alarms"]["share"], at_most=True),
        goal("share of accuracies lower by 1.5 points that are caught", 0.95, planted["accuracy"]),
        goal("share of files larger by 1 % that are caught", 1.0, planted["size"]),
        goal("share of ratios worse by 10 % that are caught", 0.95, planted["latency"]),
        goal("share of layers back in float that are caught", 1.0, planted["fallback"]),
    ]


def tell(figures: dict[str, Any]) -> None:
    without = {f"without the file, {key}": figures["without_the_file"][key] for key in ("false_alarms", "slower")}
    for name, found in {"false alarms": figures["false_alarms"], **figures["planted"], **without}.items():
        low, high = found["ci95"]
        say(f"{name}: {found['count']} of {found['of']} ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
