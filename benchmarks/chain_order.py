"""In which order to distil, prune and quantise: CIFAR-10, ResNet-56 teaches ResNet-20, half of its MACs go.

    python benchmarks/chain_order.py --json benchmarks/results/chain_order.json

Three orders: distil-prune-QAT; prune-distil-QAT; and prune-QAT-distil, whose last stage distils the fake-quantised
graph. Each is run with the teacher in the distil stage alone, labels only elsewhere, and with the teacher in every
stage. A stage takes equally many epochs in all orders. Accuracies are ONNX Runtime's on the int8 file, on all test
images, in pairs.

The training images are a fixed subset (``TRAIN_LIMIT``, a tenth of it held out to choose by), so accuracies stand
far below those of a full training. Teacher and student start from public checkpoints; the teacher is accustomed to
the JPEG files once, for one epoch of the same subset. Folded weights take other learning rates than BatchNorm's:
those of distilling the fake-quantised graph are tried on the first seed, and the best on the validation split is
kept. Finished stages are kept under --out, and a run that was killed goes on.
"""

from typing import Any, ClassVar

import numpy as np
from cifar10 import BATCH_SIZE, ROOT, TEACHER_LR, Study, answers, exported, prepare_study
from common import finish, goal, options, say
from numpy.typing import NDArray
from paired import accuracy, difference, packed
from rich.console import Console
from rich.table import Table

from edgekd.errors import TrainingError
from edgekd.pipeline.stage_result import StageResult
from edgekd.quantize import freeze_ranges, observe
from edgekd.recipe import Distill, Prune, Quantize, Stage
from edgekd.stages.job import Job, Result
from edgekd.stages.stage import Surroundings
from edgekd.train.history import history_to_json

TRAIN_LIMIT, SEEDS = 6000, 3
QUICK_TRAIN_LIMIT, QUICK_TEST_LIMIT, QUICK_SEEDS = 600, 500, 2
EPOCHS = {"distil": 2, "prune": 2, "QAT": 1}
LEARNING_RATES = {"teacher": TEACHER_LR, "distil": 0.005, "prune": 0.01, "QAT": 1e-4}
# Of distilling the fake-quantised graph.
RATES = (3e-4, 1e-3, 3e-3)
TAUGHT = "distil-prune-QAT"
ORDERS = (TAUGHT, "prune-distil-QAT", "prune-QAT-distil")
TEACHER = {False: "in distil", True: "in all"}


class DistillQuantized(Quantize):
    """More training of a fake-quantised graph."""

    name: ClassVar[str] = "distill_quantized"
    version: ClassVar[int] = 1

    def run(self, job: Job) -> Result:
        def before_step(step: int, total: int) -> None:
            observe(job.network, step < self.freeze_after * total)

        training = job.training.having(float32=True, to_train=observe, to_eval=freeze_ranges, before_step=before_step)
        history = job.fit(job.network, training=training)
        return Result(job.network, job.spec, {"history": history_to_json(history)})

    def needs(self, recipe: Surroundings) -> None:  # type: ignore[override]  # it quantises nothing
        return None


def stages_of(order: str, everywhere: bool, rate: float) -> tuple[Stage, ...]:
    names = order.split("-")
    made: dict[str, Stage] = {
        "distil": Distill(epochs=EPOCHS["distil"], lr=LEARNING_RATES["distil"]),
        "prune": Prune(macs=0.5, epochs=EPOCHS["prune"], lr=LEARNING_RATES["prune"], teacher=everywhere),
        "QAT": Quantize(
            rungs=("qat",), epochs=EPOCHS["QAT"], lr=LEARNING_RATES["QAT"], teacher=everywhere, freeze_after=0.5
        ),
    }
    if names[-1] == "distil":
        made["distil"] = DistillQuantized(epochs=EPOCHS["distil"], lr=rate)
    return tuple(made[name] for name in names)


def best_rate(study: Study) -> tuple[float, dict[str, float]]:
    """The rate with the highest validation accuracy on the first seed."""
    found = {}
    for rate in RATES:
        try:
            last = study.run(0, stages_of("prune-QAT-distil", False, rate))[-1]
            found[rate] = last.metrics["history"][-1]["validation_accuracy"]
        except TrainingError as error:
            say(f"rate {rate:g}: {error}")
            found[rate] = 0.0
    return max(RATES, key=lambda rate: found[rate]), {f"{rate:g}": value for rate, value in found.items()}


def run_all(study: Study, seeds: int, rate: float) -> list[dict[str, Any]]:
    rows = []
    for seed in range(seeds):
        for everywhere in TEACHER:
            for order in ORDERS:
                *_, before, last = study.run(seed, stages_of(order, everywhere, rate))
                right = answers(study, exported(study, last)) == study.labels
                say(f"seed {seed}, {order}, teacher {TEACHER[everywhere]}: {right.mean():.2%}")
                rows.append(
                    {
                        **{"seed": seed, "order": order, "teacher": TEACHER[everywhere], "right": right},
                        "validation": [history(done) for done in (before, last)],
                    }
                )
    return rows


def history(done: StageResult) -> list[float]:
    return [entry["validation_accuracy"] for entry in done.metrics["history"]]


def right_of(rows: list[dict[str, Any]], order: str, teacher: str) -> list[NDArray[np.bool_]]:
    return [row["right"] for row in rows if (row["order"], row["teacher"]) == (order, teacher)]


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each chain's accuracy, what it has over the taught order, and over itself with the teacher in distil alone."""
    found = []
    for teacher in TEACHER.values():
        for order in ORDERS:
            own = right_of(rows, order, teacher)
            found.append(
                {
                    **{"order": order, "teacher": teacher, "accuracy": accuracy(own)},
                    "over_taught_order": difference(own, right_of(rows, TAUGHT, teacher)),
                    "over_teacher_in_distil": difference(own, right_of(rows, order, TEACHER[False])),
                }
            )
    return found


def show(chains: list[dict[str, Any]]) -> None:
    table = Table("Order", "Teacher", "Accuracy %", "sd of seeds", f"over {TAUGHT}", "95 %", "over in distil", "95 %")
    for chain in chains:
        spread = chain["accuracy"].get("sd")
        cells = []
        for key in ("over_taught_order", "over_teacher_in_distil"):
            low, high = chain[key]["ci95"]
            cells += [f"{chain[key]['points']:+.2f}", f"{low:+.2f} to {high:+.2f}"] if low < high else ["", ""]
        mean = f"{chain['accuracy']['percent']:.2f}"
        table.add_row(chain["order"], chain["teacher"], mean, f"{spread:.2f}" if spread else "", *cells)
    Console(width=140).print(table)


def goals(chains: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an order has over the taught one counts from where its interval begins."""
    return [
        goal(
            f"{TAUGHT}, teacher {teacher}: points that another order surely has more",
            0,
            max(chain["over_taught_order"]["ci95"][0] for chain in chains if chain["teacher"] == teacher),
            at_most=True,
        )
        for teacher in TEACHER.values()
    ]


def main() -> None:
    arguments = options(__doc__)
    folder, quick = arguments.out or ROOT / "runs/chain_order", arguments.quick
    limits = (QUICK_TRAIN_LIMIT, QUICK_TEST_LIMIT) if quick else (TRAIN_LIMIT,)
    study = prepare_study(folder, *limits)
    rate, tried = best_rate(study)
    rows = run_all(study, QUICK_SEEDS if quick else SEEDS, rate)
    chains = summary(rows)
    show(chains)
    figures = {
        **{"epochs": EPOCHS, "batch_size": BATCH_SIZE, "learning_rates": LEARNING_RATES, "samples": study.counts()},
        "validation_accuracy_of_rates": tried,
        "chains": chains,
        "runs": [{**row, "right": packed(row["right"])} for row in rows],
    }
    finish(arguments, figures, goals(chains))


if __name__ == "__main__":
    main()
