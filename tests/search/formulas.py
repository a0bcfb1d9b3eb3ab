"""A worker that computes formulas in the place of trainings, and a recipe with open fields for it."""

from pathlib import Path
from typing import Any, ClassVar

from edgekd.recipe import load_recipe
from edgekd.records.candidate_figures import Figures
from edgekd.search.launch import KILLED

RECIPE = """\
name: small
data: {source: digits}
teacher: {model: resnet20, train: {epochs: 1}}
student: {choice: [teacher, resnet8, small_cnn]}
stages:
  - distill: {epochs: {search: [1, 8]}}
  - prune: {macs: {search: [0.1, 0.9]}, check_latency: false}
objective: latency
"""
SLOPES = {"resnet8": 0.004, "small_cnn": 0.02, None: 0.01}


class FormulaWorker:
    """Gives figures by formulas; ``dies_at`` is the number of the trial that ends its process."""

    slots = 1
    dies_at: int | None = None
    # Of the times that are measured, over those that are predicted.
    slower = 1.0
    jobs: ClassVar[list[str]] = []

    def __init__(self, log: Path):
        self.log = log

    def __enter__(self) -> "FormulaWorker":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stop(self) -> None:
        pass

    def run(self, job: str, **fields: Any) -> dict[str, Any]:
        self.jobs.append(job)
        if job == "contents":
            return {"result": {"the data": "a", "the teacher": "b"}}
        if job == "step":
            steps = {"steps": 10, "teacher_step": 0.1, "student_step": 0.1, "validation": 400, "test": 400}
            return {"result": steps}
        if job == "run":
            return {"result": {}}
        if job == "time":
            shares = {folder: load_recipe(Path(f"{folder}.yaml")).stages[1].macs for folder in fields["folders"]}
            return {"result": {name: {"ratio": self.slower * each, "valid": True} for name, each in shares.items()}}
        if Path(fields["recipe"]).parent.name == "trials" and int(Path(fields["recipe"]).stem) == self.dies_at:
            why = "its process was ended by SIGKILL, as the system does where memory runs out"
            return {"error": why, "kind": KILLED}
        recipe = load_recipe(Path(fields["recipe"]))
        share, slope = recipe.stages[1].macs, SLOPES[recipe.student and recipe.student.model]
        drop = slope * (1 / share - 1) + 0.02 / (1 + recipe.stages[0].epochs)
        sizes, macs = (round(1e6 * share), 10**6), (round(1000 * share), 1000)
        return {"result": Figures(0.9 - drop, drop, 0.001, 400, *sizes, *macs, share, 1.0).to_json()}
