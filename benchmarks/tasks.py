"""The whole chain for each task: a table, keypoints, counts, masks and boxes, from float to int8 in ONNX Runtime.

    python benchmarks/tasks.py --json benchmarks/results/tasks.json

Three parts, or those of ``--part``:

- ``chain`` runs each recipe of ``CASES`` as ``edgekd run`` does, and reads its report: the metric of every network with
  its interval, sizes, costs over the teacher's, the share of multiply-accumulates in int8, and in pairs what int8 lost;
- ``teacher`` trains the cut network of a run again, with the teacher and on labels alone, with ``--seeds`` each (3);
  that of boxes also for a third of the recipe's epochs, after which labels alone have not brought all back;
- ``peers`` gives the float file of the last cut to ONNX Runtime's and NNCF's post-training quantisers, with the images
  that edgekd calibrated on, and compares their files' metrics and times with edgekd's.

``--only`` splits the work by case. Runs are kept under --out, and figures are added to the JSON as they come: what is
there is not made again, unless of fewer seeds. Cases of fewer than three stand as ``unfinished``, and are judged by the
interval of samples alone. Needs ``pip install scikit-image``, as the recipes do, and ``pip install --no-deps
deepforest`` for the tree crowns; peers need the extra ``bench``.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import task_tables
from common import finish, goal, options, say
from rich.console import Console
from rich.markdown import Markdown
from task_peers import FLOAT, OURS, beside_peers
from task_runs import CASES, ROOT, Finished, figures_of, ran
from task_teacher import teacher_kept

from edgekd.files import make_folder, sha256_file, write_json

# Of the recipe's epochs one in so many, by case.
TAUGHT: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("table", "keypoints", "counting", "unet"), (1,)),
    "pyramid": (1, 3),
}
SEEDS, QUICK_SEEDS = 3, 2
MOST_LOST_BOXES, LEAST_COVERAGE = 1.0, 0.98
Document = dict[str, Any]
PARTS: Mapping[str, Callable[[Finished, Path, argparse.Namespace, int], Document]] = {
    "chain": lambda done, work, asked, _: figures_of(done),
    "teacher": lambda done, work, asked, one_in: teacher_kept(done, work, asked.seeds, one_in),
    "peers": lambda done, work, asked, _: beside_peers(done, work, asked.quick),
}


def main() -> None:
    arguments = options(
        __doc__,
        part={"nargs": "+", "choices": list(PARTS), "default": list(PARTS), "help": "these parts"},
        only={"nargs": "+", "metavar": "CASE", "choices": list(CASES), "default": list(CASES), "help": "these cases"},
        seeds={"type": int, "metavar": "N", "help": f"seeds of the part teacher: {SEEDS}, with --quick {QUICK_SEEDS}"},
    )
    arguments.seeds = arguments.seeds or (QUICK_SEEDS if arguments.quick else SEEDS)
    figures = known(arguments)
    for part in arguments.part:
        for name in arguments.only:
            for one_in in TAUGHT.get(name, ()) if part == "teacher" else (1,):
                add(figures, part, name, arguments, one_in)
    for table in (task_tables.chains, task_tables.taught, task_tables.beside_peers):
        Console(width=150).print(Markdown(table(figures)))
    finish(arguments, {**figures, "unfinished": unfinished(figures)}, list(goals(figures)))


def known(arguments: argparse.Namespace) -> Document:
    """Return the figures that --json holds, of as many samples; of each part by case."""
    path = arguments.json
    document = json.loads(path.read_text()) if path and path.exists() else {}
    is_same = document.get("quick") == arguments.quick
    return {part: document.get(part, {}) if is_same else {} for part in PARTS}


def add(figures: Document, part: str, name: str, arguments: argparse.Namespace, one_in: int) -> None:
    """Add the figures of a case, unless they are there of the same files; the JSON is written anew."""
    key = name if one_in == 1 else f"{name}/{one_in}"
    work = make_folder(arguments.out or ROOT / "runs/tasks")
    done = ran(name, work, arguments.quick)
    of = [done.recipe.sha256, sha256_file(done.file(done.before_int8)), sha256_file(done.file(done.deployed))]
    there = figures[part].get(key, {})
    if there.get("of") == of and (part != "teacher" or there["seeds"] >= arguments.seeds):
        return
    say(f"{part}: {key}")
    about = {"of": of, "title": CASES[name].title, "task": done.task.name, "metric": done.metric.name}
    figures[part][key] = {**about, **PARTS[part](done, make_folder(work / part / name), arguments, one_in)}
    figures[part] = {each: figures[part][each] for each in sorted(figures[part], key=_place)}
    if arguments.json:
        write_json(arguments.json, json.loads(json.dumps({"quick": arguments.quick, **figures})))


def _place(key: str) -> tuple[int, str]:
    return list(CASES).index(key.partition("/")[0]), key


def unfinished(figures: Document) -> list[str]:
    """Return the cases of too few seeds for an interval that takes them as drawn."""
    cases = figures["teacher"].values()
    return [f"{case['title']}: {case['seeds']} of {SEEDS} seeds" for case in cases if case["seeds"] < SEEDS]


def goals(figures: Document) -> Iterator[dict[str, Any]]:
    for name, case in figures["chain"].items():
        title, lost = case["title"], case["lost_in_int8"]
        if case["budget"] and case["budget"]["checks"]:
            missed = [check["name"] for check in case["budget"]["checks"] if not check["met"]]
            yield goal(f"{title}: bounds of the budget that are missed", 0, len(missed), at_most=True)
        if case["task"] == "detection":
            yield goal(f"{title}: points of mAP lost in int8", MOST_LOST_BOXES, lost["value"], at_most=True)
        else:
            yield goal(f"{title}: surely lost in int8", 0, max(lost["ci95"][0], 0), at_most=True)
        if name == "unet":
            yield goal(f"{title}: share of MACs that can be in int8", LEAST_COVERAGE, case["int8_everywhere"])
    # Of the other tasks the table says where a teacher helps.
    for case in (each for each in figures["teacher"].values() if each["task"] == "detection"):
        ends = case["gain"]["ci95" if case["seeds"] >= SEEDS else "samples_ci95"]
        yield goal(f"{case['title']}, {case['epochs']} epochs: surely gained by the teacher", 0, ends[0])
    for case in figures["peers"].values():
        for method, each in case["methods"].items():
            if method not in (FLOAT, OURS):
                surely = -each["lost_over_edgekd"]["ci95"][1]
                yield goal(f"{case['title']}: surely better than edgekd, {method}", 0, max(surely, 0), at_most=True)


if __name__ == "__main__":
    main()
