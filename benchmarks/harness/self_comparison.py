"""Does the interval of a ratio hold what it says?

A model against itself, on an idle machine and with a process that hogs the other core: the true ratio is 1, and the
95 % interval should hold it. Then a model against one with 5 % more work in it: that must be found. Each comparison
goes the way of ``edgekd bench A --against B``, early stopping and all, in less time and with fewer launches (the
settings are recorded). A run that was stopped goes on from where it was.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import finish, goal, options, say
from harness.planted import instructions, repeated_convs
from repeats import hog, keep, lines

from edgekd.bench import LatencyRecord, Plan, Workload, measure
from edgekd.progress import track
from edgekd.stats.proportion import wilson_interval

LAYERS, MORE = 20, 21
# Less than edgekd bench takes, so that five hundred of them fit into an hour.
SETTINGS: dict[str, Any] = {
    "seconds": 0.45,
    "max_seconds": 0.9,
    "launches": 6,
    "warmup_s": 0.03,
    "resolution": 0.05,
    "width": 1.0,
}
FULL = {"idle": 200, "hogged": 200, "planted": 100}
QUICK = {"idle": 6, "hogged": 6, "planted": 4}


def main() -> None:
    arguments = options(__doc__)
    counts = QUICK if arguments.quick else FULL
    kept = arguments.json and arguments.json.with_suffix(".part.jsonl")
    with tempfile.TemporaryDirectory() as folder:
        models = {"equal": Path(folder) / "equal.onnx", "more": Path(folder) / "more.onnx"}
        for path, layers in zip(models.values(), (LAYERS, MORE), strict=True):
            repeated_convs(path, layers)
        counted = {name: instructions(path, 5 if arguments.quick else 10) for name, path in models.items()}
        raw = {condition: list(comparisons(condition, n, models, kept)) for condition, n in counts.items()}
    figures: dict[str, Any] = {condition: summary(condition, results) for condition, results in raw.items()}
    report(figures, counted)
    figures |= {
        "settings": SETTINGS,
        "instructions": counted,
        "planted_work": counted["more"] / counted["equal"],
        "comparisons": raw,
    }
    goals = [
        goal("share of idle self-comparisons whose 95 % interval holds 1", 0.93, figures["idle"]["share"]),
        goal("share of hogged self-comparisons whose 95 % interval holds 1", 0.93, figures["hogged"]["share"]),
        goal("share of planted slowdowns found", 0.95, figures["planted"]["share"]),
        goal("planted work by instruction counts, at least", 1.045, figures["planted_work"]),
        goal("planted work by instruction counts, at most", 1.055, figures["planted_work"], at_most=True),
    ]
    if kept:
        kept.unlink(missing_ok=True)
    finish(arguments, figures, goals)


def comparisons(condition: str, count: int, models: dict[str, Path], kept: Path | None) -> Iterator[dict[str, Any]]:
    done = {one["seed"]: one for one in lines(kept) if (one["condition"], one["settings"]) == (condition, SETTINGS)}
    workloads = (models["equal"], models["more" if condition == "planted" else "equal"])
    with hog(condition == "hogged") as cpu:
        for seed in track(range(count), condition, count):
            if seed not in done:
                done[seed] = {
                    "condition": condition,
                    "seed": seed,
                    "settings": SETTINGS,
                    "hog_on": cpu,
                    **compare(*workloads, seed),
                }
                keep(kept, done[seed])
            yield done[seed]


def compare(equal: Path, other: Path, seed: int) -> dict[str, Any]:
    started = monotonic()
    plan = Plan(
        {"reference": Workload(str(equal)), "model": Workload(str(other))}, "reference",
        seed=seed, **SETTINGS,
    )  # fmt: skip
    records = measure(plan)
    model: LatencyRecord = records["model"]
    assert model.latency_vs_reference is not None
    return {
        **model.latency_vs_reference.to_json(),
        "p50_ms": [record.latency_ms.p50 for record in records.values()],
        "cpus": model.cpus,
        "sittings": len(model.raw_ns),
        "warnings": [warning.code for warning in model.warnings],
        "seconds": monotonic() - started,
    }


def summary(condition: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    good = sum(
        one["ci95"][0] > 1 if condition == "planted" else one["ci95"][0] <= 1 <= one["ci95"][1] for one in results
    )
    widths = sorted(one["ci95"][1] - one["ci95"][0] for one in results)
    ratios = sorted(one["ratio"] for one in results)
    return {
        "n": len(results),
        "good": good,
        "share": good / len(results),
        "share_ci95": list(wilson_interval(good, len(results))),
        "median_ratio": ratios[len(ratios) // 2],
        "ratios_from_to": [ratios[0], ratios[-1]],
        "median_width": widths[len(widths) // 2],
        "seconds": sum(one["seconds"] for one in results),
    }


def report(figures: dict[str, Any], counted: dict[str, float]) -> None:
    say(f"instructions of one inference: {counted['equal']:.4g} and {counted['more']:.4g}")
    for condition, one in figures.items():
        low, high = one["share_ci95"]
        say(
            f"{condition}: {one['good']} of {one['n']} ({low:.1%} to {high:.1%}), "
            f"median ratio {one['median_ratio']:.4f}, "
            f"median width {one['median_width']:.2%}, {one['seconds'] / one['n']:.1f} s each"
        )


if __name__ == "__main__":
    main()
