"""A whole recipe as one frozen object, and its forms as YAML and as JSON Schema."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, PrivateAttr, field_validator, model_validator
from typing_extensions import Self

from edgekd.data.augment import joining
from edgekd.data.options import Data
from edgekd.distill.combination import COMBINATIONS
from edgekd.errors import ModelError
from edgekd.files import canonical_json, sha256
from edgekd.nearest import nearest
from edgekd.options import Budget, Mistake, Registered, Section, Target, Text
from edgekd.recipe.dialect import RecipeDumper
from edgekd.recipe.sections import Student, Teacher
from edgekd.recipe.stages import AnyStage
from edgekd.recipe.tree import Loc, Tree, dotted
from edgekd.stages import STAGES, Stage, first_misplaced
from edgekd.stages.distill.options import Distill
from edgekd.tasks.registry import DEFAULT, TASKS
from edgekd.tasks.task import Task

PATHS: tuple[Loc, ...] = (
    ("data", "path"),
    ("data", "source"),
    ("data", "unlabelled"),
    ("teacher", "checkpoint"),
    ("teacher", "model"),
    ("student", "checkpoint"),
    ("student", "model"),
)
OTHERS = ("teacher", "others")
# An open field in the JSON Schema of a recipe.
OPEN = {
    "type": "object",
    "properties": {"search": {"type": "array"}, "choice": {"type": ["array", "object"]}, "log": {"type": "boolean"}},
    "anyOf": [{"required": ["search"]}, {"required": ["choice"]}],
    "additionalProperties": False,
}
# Besides the metrics of the task.
OBJECTIVES = ("latency", "size", "energy")
EVERY_KEY = "'edgekd recipe schema' lists all"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


@dataclass(frozen=True)
class Places:
    """The places that the values of a recipe were written at, by location; any two are equal, as no recipe's part."""

    by_loc: Mapping[Loc, str] = field(default_factory=dict, compare=False)


class Recipe(Section):
    """What to compress, with which data, by which stages, for which devices, within which budget.

    >>> recipe = load_recipe(Path("recipes/quickstart.yaml"))
    >>> [stage.name for stage in recipe.stages]
    ['distill', 'prune', 'quantize']
    """

    name: str = Field(description="a name for the run and its folder", json_schema_extra={"pattern": f"^{NAME}$"})
    # NumPy takes no seed beyond 32 bits.
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="start of all random numbers")
    task: Annotated[str, Registered(TASKS)] | None = Field(
        default=None, description="what the network is for; classification when left out"
    )
    decoder: dict[Text, float] | None = Field(
        default=None, description="options of the task's decoder by name, such as the threshold of detection"
    )
    data: Data = Field(description="where samples come from")
    teacher: Teacher = Field(description="the network to compress")
    student: Student | None = Field(
        default=None, description="the smaller network; the teacher's own network when left out"
    )
    stages: tuple[Annotated[Stage, AnyStage], ...] = Field(
        strict=False, min_length=1, description=f"a list of {', '.join(STAGES)}"
    )
    targets: tuple[Target, ...] = Field(
        default=(Target(),), strict=False, min_length=1, description="where the student must run"
    )
    budget: Budget = Field(default=Budget(), description="what the student must keep to")
    objective: Text | None = Field(
        default=None, description="what 'edgekd fit' makes best within the budget: latency, size, energy or a metric"
    )

    _written: dict[str, str] = PrivateAttr({})
    _places: Places = PrivateAttr(Places())

    @field_validator("name")
    @classmethod
    def names_a_folder(cls, name: str) -> str:
        """Refuse a name that a folder cannot have."""
        if not re.fullmatch(NAME, name):
            raise Mistake(
                f"{name!r} cannot name a folder; use at most 100 letters, digits, '.', '_' and '-', "
                "and a letter or a digit in front"
            )
        return name

    @field_validator("targets")
    @classmethod
    def different_targets(cls, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        """Refuse a target that is there twice."""
        places = [target.place for target in targets]
        for index, place in enumerate(places):
            if place in places[:index]:
                raise Mistake("it is the same place as a target before it; leave one of them out", index)
        return targets

    @field_validator("stages")
    @classmethod
    def in_order(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """Refuse stages in an order that cannot be."""
        misplaced = first_misplaced(stages)
        if misplaced:
            index, reason = misplaced
            raise Mistake(reason, index)
        return stages

    @model_validator(mode="after")
    def student_learns_first(self) -> Self:
        """Refuse to compress a student with random weights."""
        first, student = self.stages[0], self.student
        if student is not None and self.student_is_random and not first.starts_from_random_weights:
            which = "with new_head its last layer is" if student.new_head else "without a checkpoint its weights are"
            raise Mistake(
                f"{which} random, and {first.name} comes first; start with distill, "
                "give student.checkpoint, or leave student out to compress the teacher's own network",
                "student",
            )
        return self

    @model_validator(mode="after")
    def bounds_metrics_of_the_task(self) -> Self:
        """Refuse a budget for metrics that the task does not have."""
        known = [metric.name for metric in self.kind.metrics]
        wrong = next((name for name in self.budget.drops if name not in known), None)
        if wrong is not None:
            at = ("drop", wrong) if wrong in (self.budget.drop or {}) else ("accuracy_drop",)
            raise Mistake(
                f"{wrong!r} is no metric of the task {self.kind.name}{nearest(wrong, known)}; give drop with "
                f"{' or '.join(known)}",
                *("budget", *at),
            )
        return self

    @model_validator(mode="after")
    def sets_options_of_the_task(self) -> Self:
        """Refuse options that the task's decoder does not have, and values that they cannot have."""
        options = self.kind.decoder_options
        for name, value in self.decoding.items():
            if name not in options:
                way = f"give {' or '.join(options)}" if options else "leave decoder out"
                raise Mistake(
                    f"{name!r} is no option of the decoder of {self.kind.name}{nearest(name, options)}; {way}",
                    *("decoder", name),
                )
            if value not in options[name].values:
                raise Mistake(f"expected {options[name].values}, got {value:g}", "decoder", name)
        if self.decoding:
            try:
                self.kind(("a",), **self.decoding)
            except ModelError as error:
                raise Mistake(str(error), "decoder") from error
        return self

    @model_validator(mode="after")
    def objective_is_known(self) -> Self:
        """Refuse an objective that no student is measured by."""
        known = [*OBJECTIVES, *(metric.name for metric in self.kind.metrics)]
        if self.objective is not None and self.objective not in known:
            hint = nearest(self.objective, known)
            raise Mistake(f"{self.objective!r} is no objective{hint}; give {' or '.join(known)}", "objective")
        return self

    @model_validator(mode="after")
    def confident_of_one_class(self) -> Self:
        """Refuse to choose among teachers by their most likely class where there is none."""
        combine = self.teacher.combine
        if COMBINATIONS[combine].of_classes and self.kind.outputs != "classes":
            raise Mistake(
                f"{combine} is that of the most likely class, and the task is {self.kind.name}; leave combine out",
                "teacher",
                "combine",
            )
        return self

    @model_validator(mode="after")
    def views_are_of_single_images(self) -> Self:
        """Refuse fixed views of what is put together of images of a batch, which differ from epoch to epoch."""
        together = joining(self.data.augment)
        for index, stage in enumerate(self.stages):
            if together and isinstance(stage, Distill) and stage.views is not None:
                raise Mistake(
                    f"{together[0]} of data.augment puts images of one batch together, and fixed views are the same in "
                    "any; leave out one of them",
                    *("stages", index, stage.name, "views"),
                )
        return self

    @property
    def student_is_random(self) -> bool:
        """Return whether the student, if it is no copy of the teacher, begins with random weights, at least in part."""
        return self.student is not None and (self.student.checkpoint is None or self.student.new_head)

    @property
    def kind(self) -> type[Task]:
        """Return the task's class, which is called with the names of classes or labels."""
        return TASKS[self.task or DEFAULT]

    @property
    def decoding(self) -> dict[str, float]:
        """Return the options of the task's decoder that the recipe sets."""
        whole = {name for name, option in self.kind.decoder_options.items() if option.values.whole}
        given = (self.decoder or {}).items()
        return {name: int(value) if name in whole and value.is_integer() else value for name, value in given}

    def trained_for(self, steps_per_epoch: int) -> Self:
        """Return this recipe with what each stage's training takes, where it leaves that to the data and the task."""
        stages = tuple(stage.trained_for(steps_per_epoch, self.kind.hard_weight) for stage in self.stages)
        return self.model_copy(update={"stages": stages})

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values in the form of the YAML, with defaults, without what is None."""
        return plain(self)

    def to_yaml(self) -> str:
        """Write the recipe as YAML that loads as the same recipe."""
        return yaml.dump(self.to_json(), Dumper=RecipeDumper, sort_keys=False, allow_unicode=True, width=110)

    @property
    def sha256(self) -> str:
        """Return the hash of :meth:`to_json` with paths as they were written: it is the same on every machine."""
        tree = Tree(self.to_json())
        for loc in paths_of(tree):
            path = tree.at(loc)
            if path is not None:
                tree.at(loc[:-1])[loc[-1]] = self._written.get(path, path)
        return sha256(canonical_json(tree.value))

    @property
    def written(self) -> Mapping[str, str]:
        """Return how each of its absolute paths was written."""
        return dict(self._written)

    def written_with(self, paths: dict[str, str], places: Mapping[Loc, str] | None = None) -> Self:
        """Return this recipe, knowing how each of its absolute ``paths`` was written, and where all its values were."""
        copy = self.model_copy()
        copy._written = paths
        copy._places = self._places if places is None else Places(places)
        return copy

    def place(self, *loc: str | int) -> str:
        """Return where the value at ``loc`` was written, for messages: ``recipe.yaml:7: stages.1.prune``."""
        around = (loc[:end] for end in range(len(loc), -1, -1))
        place = next((found for each in around if (found := self._places.by_loc.get(each))), None)
        return ": ".join([*([place] if place else []), dotted(loc)])


def paths_of(tree: Tree) -> list[Loc]:
    """Locate the paths in ``tree``, a recipe or what may become one."""
    others = tree.at(OTHERS)
    count = len(others) if isinstance(others, list) else 0
    return [*PATHS, *((*OTHERS, index, key) for index in range(count) for key in ("checkpoint", "model"))]


def plain(value: Any) -> Any:
    if isinstance(value, Section):
        settings = {key: plain(setting) for key, setting in value if setting is not None}
        return {value.name: settings} if isinstance(value, Stage) else settings
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def json_schema() -> dict[str, Any]:
    """Make the JSON Schema of a recipe's YAML, for editors. A recipe that extends another may leave keys out."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["extends"] = {"type": "string", "description": "a recipe that this one changes"}
    schema["properties"]["decoder"]["anyOf"][0] = _decoder_in_json()
    sections = {"data": "Data", "teacher": "Teacher", "student": "Student"}
    required = {key: {"required": schema["$defs"][name].pop("required")} for key, name in sections.items()}
    _open_in_json(schema)
    schema["if"] = {"not": {"required": ["extends"]}}
    schema["then"] = {"required": schema.pop("required"), "properties": required}
    # 'edgekd fit' finds them.
    schema["then"]["required"].remove("stages")
    del required["student"]
    return schema


def _decoder_in_json() -> dict[str, Any]:
    properties = {}
    for name, option in ((name, each) for task in TASKS.values() for name, each in task.decoder_options.items()):
        low, high = option.values.low, option.values.high
        properties[name] = {
            "type": "integer" if option.values.whole else "number",
            "exclusiveMinimum" if option.values.open_low else "minimum": low,
            "exclusiveMaximum" if option.values.open_high else "maximum": high,
            "description": option.description,
        }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _open_in_json(schema: dict[str, Any]) -> None:
    """Allow an open field, as :mod:`edgekd.recipe.open_fields` reads it, in the place of what a search may find."""
    sections = [schema["$defs"][name] for name in ("Student", "Loss", *(stage.__name__ for stage in STAGES.values()))]
    places = [*((section["properties"], key) for section in sections for key in section["properties"])]
    forms = schema["properties"]["stages"]["items"]["anyOf"][1:]
    places += [(form["properties"], key) for form in forms for key in form["properties"]]
    for properties, key in (*places, (schema["properties"], "student"), (schema["properties"], "stages")):
        kind = properties[key]
        kept = {word: kind.pop(word) for word in ("description", "title", "default") if word in kind}
        properties[key] = {**kept, "anyOf": [*(kind["anyOf"] if list(kind) == ["anyOf"] else [kind]), OPEN]}
