"""Compare what a student detector learns boxes from: distributions of their sides (LD), their overlap, labels alone.

    python benchmarks/distill_boxes.py --json benchmarks/results/distill_boxes.json

Detectors on the images of ``recipes/scenes_boxes.yaml``, whose sides are distributions over 16 bins. One teacher is
trained; a student of half its width is trained from random weights with each seed in three ways, for equally many
epochs. The two that have the teacher differ in the loss of boxes alone. Box mAP is PyTorch's on the test images, in
pairs. What is trained stays under --out, and a run that was killed goes on. It takes some 10 minutes on two cores.
Needs ``pip install scikit-image``.
"""

from typing import Any

from common import finish, goal, options, say
from paired import gain
from rich.console import Console
from rich.table import Table
from task_runs import ROOT
from task_teacher import evidence_in_pytorch, trained

from edgekd.artifact import WEIGHTS
from edgekd.data import load_data
from edgekd.files import make_folder
from edgekd.recipe import Distill, Recipe, Student, Teacher, load_recipe
from edgekd.tasks.detection import Detection
from edgekd.tasks.metric import Evidence

RECIPE = ROOT / "recipes/scenes_boxes.yaml"
BINS, WIDTH, EPOCHS, SEEDS = 16, 8, 16, 3
QUICK_EPOCHS, QUICK_SEEDS = 1, 2
LABELS, OVERLAP, DISTRIBUTIONS = "labels", "overlap (kd)", "distributions (ld)"
# The weight of the labels where there is a teacher.
HARD = 0.5
METRIC = Detection.metrics[0]


def recipe_of(quick: bool) -> Recipe:
    """Return the recipe whose teacher has bins, with a student and without stages."""
    few = ["data.args.train=300", "data.args.test=100", f"teacher.train.epochs={QUICK_EPOCHS}"] if quick else []
    recipe = load_recipe(RECIPE, [f"teacher.args.bins={BINS}", "budget={}", *few])
    student = Student(model=recipe.teacher.model, args={**recipe.teacher.args, "width": WIDTH})
    return recipe.model_copy(update={"student": student, "stages": ()})


def stage_of(way: str, epochs: int) -> Distill:
    """Return the training of the student in one of the three ways."""
    return Distill(
        method="ld" if way == DISTRIBUTIONS else "kd",
        hard_weight=1.0 if way == LABELS else HARD,
        epochs=epochs,
        lr=0.004,
        optimizer="adamw",
    )


def figures_of(teacher: Evidence, students: dict[str, list[Evidence]]) -> dict[str, Any]:
    """Return the metric of each training, and what one way has over another in points, with intervals."""
    pairs = ((DISTRIBUTIONS, OVERLAP), (DISTRIBUTIONS, LABELS), (OVERLAP, LABELS))
    return {
        "teacher": teacher.value(),
        "students": {way: [each.value() for each in own] for way, own in students.items()},
        "gained": {f"{way} over {other}": gain(METRIC, students[way], students[other]) for way, other in pairs},
    }


def show(figures: dict[str, Any]) -> None:
    table = Table("Boxes learned from", "box mAP", "of each seed")
    table.add_row("teacher itself", METRIC.shown(figures["teacher"]), "")
    for way, values in figures["students"].items():
        table.add_row(way, METRIC.shown(sum(values) / len(values)), ", ".join(map(METRIC.shown, values)))
    gained = Table("Points of box mAP", "mean over seeds", "95 %", "of samples alone")
    for pair, found in figures["gained"].items():
        ends = [f"{low:+.2f} to {high:+.2f}" for low, high in (found["ci95"], found["samples_ci95"])]
        gained.add_row(pair, f"{found['value']:+.2f}", *ends)
    Console(width=120).print(table, gained)


def main() -> None:
    arguments = options(__doc__, seeds={"type": int, "metavar": "N", "help": f"{SEEDS}, with --quick {QUICK_SEEDS}"})
    work = make_folder(arguments.out or ROOT / "runs/distill_boxes")
    recipe = recipe_of(arguments.quick)
    data = load_data(recipe.data, recipe.seed, recipe.kind, recipe.decoding)
    teacher = trained(recipe, data, work)
    # Taught by one network, whatever the seed.
    known = Teacher(model=recipe.teacher.model, args=recipe.teacher.args, checkpoint=teacher.folder / WEIGHTS)
    epochs = QUICK_EPOCHS if arguments.quick else EPOCHS
    students: dict[str, list[Evidence]] = {way: [] for way in (LABELS, OVERLAP, DISTRIBUTIONS)}
    for seed in range(arguments.seeds or (QUICK_SEEDS if arguments.quick else SEEDS)):
        for way, kept in students.items():
            changes = {"teacher": known, "seed": seed, "stages": (stage_of(way, epochs),)}
            kept.append(evidence_in_pytorch(trained(recipe.model_copy(update=changes), data, work), data))
            say(f"seed {seed}, {way}: {METRIC.shown(kept[-1].value())}")
    figures = figures_of(evidence_in_pytorch(teacher, data), students)
    show(figures)
    about = {"bins": BINS, "student_width": WIDTH, "epochs": epochs, "hard_weight": HARD, "n": len(data.test)}
    gained = figures["gained"][f"{DISTRIBUTIONS} over {OVERLAP}"]
    goals = [goal("points of box mAP that distributions surely gain over the overlap", 0, gained["ci95"][0])]
    finish(arguments, {**about, **figures}, goals)


if __name__ == "__main__":
    main()
