"""How often the gate fails a network that did not change, and how often it lets a worse one through.

    edgekd run recipes/quickstart.yaml
    python benchmarks/gate/false_alarms.py --json benchmarks/results/gate/false_alarms.json

One finished run is evaluated again and again with nothing changed: its last file answers the test samples in ONNX
Runtime, and is timed in turns with the teacher's, both as ``edgekd run`` does it, beside a process that hogs the other
core. Each evaluation is held to the one before it, so that the noise of both is in the verdict. Then a hundred
regressions of each kind are planted: answers drawn from the run's own, 2,000 of them, of which as many are lost that
1.5 points are gone, with others won by chance; a file that is larger by 1 %; two of the evaluations of which the later
student takes 10 % longer; and the file itself, with some of its layers taken back to float.

A series that was stopped goes on from where it was.
"""

import json
import random
import sys
from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import onnx

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import finish, goal, options
from fallback import layers_in_float, quantised_layers
from repeats import hog, keep, lines

from edgekd.bench import Plan, Subject, measure, wilson_interval
from edgekd.chain.inventory import int8_coverage, operator_counts
from edgekd.chain.measure import SECONDS, SITTINGS
from edgekd.data import load_data
from edgekd.export import runtime_logits
from edgekd.files import canonical_json, sha256, sha256_file
from edgekd.gate import Policy, check, read_answers, write_answers
from edgekd.gate import Subject as Judged
from edgekd.gate.subject import subject_of
from edgekd.progress import say, track
from edgekd.recipe import load_recipe

REPEATS, PLANTED = 300, 100
SAMPLES, LOST_NET = 2000, 30
LARGER, SLOWER = 0.01, 0.10
# Of two networks that differ by chance alone; beyond it the figures are shown, and are no goal.
WON = (0, 10, 20, 40, 80, 160)
LESS_ACCURATE = 0.9


def main() -> None:
    arguments = options(__doc__, run={"type": Path, "default": Path("runs/quickstart"), "help": "a finished run"})
    count, planted = (10, 10) if arguments.quick else (REPEATS, PLANTED)
    report = json.loads((arguments.run / "report.json").read_text())
    kept = arguments.json and arguments.json.with_suffix(f".{of_files(arguments.run, report)}.part.jsonl")
    series = list(evaluations(arguments.run, report, count + 1, kept))
    verdicts = [check(*pair, Policy()) for pair in pairs(report, series)]
    alarms = [verdict for verdict in verdicts if not verdict.passed]
    caught = regressions(arguments.run, report, series, planted)
    figures = {
        "repeats": len(verdicts),
        "false_alarms": share(len(alarms), len(verdicts)),
        "warned": share(sum(bool(verdict.at("warn")) for verdict in verdicts), len(verdicts)),
        "alarms": [[f"{each.metric}: {each.what}" for each in alarm.at("fail")] for alarm in alarms],
        "ratio_changes": changes(series),
        "planted": {kind: share(sum(found), len(found)) for kind, found in caught.items()},
        "accuracy_by_won": by_won(report, series, planted),
        "settings": {"seconds": SECONDS, "sittings": SITTINGS, "policy": "the usual one"},
        "evaluations": [{key: value for key, value in one.items() if key != "right"} for one in series],
    }
    tell(figures)
    if kept and not arguments.quick:
        kept.unlink(missing_ok=True)
    finish(arguments, figures, goals(figures))


def of_files(run: Path, report: dict[str, Any]) -> str:
    """Tells the series of other files apart."""
    return sha256(canonical_json([sha256_file(run / row["file"]) for row in ends(report)]))[:8]


def evaluations(run: Path, report: dict[str, Any], count: int, kept: Path | None) -> Iterator[dict[str, Any]]:
    done = lines(kept)
    recipe = load_recipe(run / "recipe.lock.yaml")
    data = load_data(recipe.data, recipe.seed)
    teacher, student = (run / row["file"] for row in ends(report))
    with hog() as cpu:
        for number in track(range(count), "evaluations", count):
            if number >= len(done):
                answers = runtime_logits(student, data, data.test).argmax(1)
                right = (answers == data.test.labels).tolist()
                plan = Plan(
                    {"teacher": Subject(str(teacher)), "student": Subject(str(student))}, "teacher", 1, 1,
                    SECONDS, 2 * SECONDS, sittings=SITTINGS, question=recipe.budget.latency_ratio or 1.0, seed=number,
                )  # fmt: skip
                found = measure(plan)["student"]
                ratio = found.latency_vs_reference or {}
                done.append(
                    {
                        "accuracy": sum(right) / len(right),
                        "right": write_answers(right),
                        "latency_vs_teacher": {key: ratio[key] for key in ("ratio", "ci95")},
                        "latency_ms": {"p50": found.latency_ms["p50"]},
                        "valid": found.valid,
                        "hog_on": cpu,
                    }
                )
                keep(kept, done[-1])
            yield done[number]


def ends(report: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The teacher's row and the last network's, in the runtime that the budget is about."""
    rows = [row for row in report["rows"] if row["runtime"] == "onnxruntime"]
    return rows[0], next(row for row in rows if row["model"] == report["rows"][-1]["model"])


def changed(report: dict[str, Any], **figures: Any) -> Judged:
    """The run with these figures of its last network in the place of its own."""
    document = deepcopy(report)
    row = {**ends(report)[1], **figures}
    document["rows"] = [row]
    return subject_of(document)


def evaluated(report: dict[str, Any], one: dict[str, Any]) -> Judged:
    return changed(report, **{key: one[key] for key in one if key != "hog_on"})


def pairs(report: dict[str, Any], series: list[dict[str, Any]]) -> list[tuple[Judged, Judged]]:
    found = [evaluated(report, one) for one in series]
    return list(pairwise(found))


def regressions(run: Path, report: dict[str, Any], series: list[dict[str, Any]], count: int) -> dict[str, list[bool]]:
    """By kind, which of the planted regressions were caught."""
    dice = random.Random(0)
    before = changed(report)
    size, most_won = ends(report)[1]["size_bytes"], SAMPLES // 50
    right = list(read_answers(series[0]["right"], ends(report)[1]["n"]) or ())
    return {
        "accuracy": [
            lost_answers(report, resampled(right, dice), dice.randint(0, most_won), dice) for _ in range(count)
        ],
        "size": [
            fails(before, changed(report, size_bytes=round(size * (1 + LARGER) + each)), "size_bytes")
            for each in range(count)
        ],
        "latency": [slower(report, *dice.sample(series, 2)) for _ in range(count)],
        "fallback": [fell_back(run, report, dice) for _ in range(count)],
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
    answered = [
        changed(report, n=SAMPLES, accuracy=sum(answers) / SAMPLES, right=write_answers(answers))
        for answers in (before, after)
    ]
    return fails(*answered, "accuracy")


def slower(report: dict[str, Any], one: dict[str, Any], other: dict[str, Any]) -> bool:
    ratio = other["latency_vs_teacher"]
    planted = {"ratio": ratio["ratio"] * (1 + SLOWER), "ci95": [end * (1 + SLOWER) for end in ratio["ci95"]]}
    return fails(evaluated(report, one), evaluated(report, {**other, "latency_vs_teacher": planted}), "latency_ratio")


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


def by_won(report: dict[str, Any], series: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
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


def changes(series: list[dict[str, Any]]) -> dict[str, float]:
    """Of the ratio to the teacher, from one evaluation to the next."""
    ratios = [one["latency_vs_teacher"]["ratio"] for one in series]
    found = sorted(abs(after / before - 1) for before, after in pairwise(ratios))
    return {"median": median(found), "p99": found[int(0.99 * (len(found) - 1))], "largest": found[-1]}


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
    for name, found in {"false alarms": figures["false_alarms"], **figures["planted"]}.items():
        low, high = found["ci95"]
        say(f"{name}: {found['count']} of {found['of']} ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
