"""report.json, schema version 2. A figure that was not measured is absent, never zero or guessed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from typing_extensions import Self

from edgekd.errors import EdgekdError
from edgekd.formatting import place_text
from edgekd.records import shape
from edgekd.records.evidence import WITH_REPORT, kept_evidence
from edgekd.records.readers import Malformed
from edgekd.records.roles import roles_must_agree
from edgekd.records.rows import PLACE, place_of, task_of
from edgekd.tasks.breakdown import Breakdown, ReportPart
from edgekd.tasks.evidence_file import EvidenceFile
from edgekd.tasks.metric import Evidence, Metric
from edgekd.tasks.task import Task

SCHEMA_VERSION = 2

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class Note(ReportPart):
    """A warning: ``code`` for machines, ``message`` for people."""

    code: str
    message: str


class Latency(ReportPart):
    """Milliseconds of one inference; ``n`` is the number of timed runs."""

    p50: Positive
    p90: Positive | None = None
    p95: Positive | None = None
    p99: Positive | None = None
    ci95_p50: tuple[Positive, Positive] | None = None
    ci95_p90: tuple[Positive, Positive] | None = None
    ci95_p95: tuple[Positive, Positive] | None = None
    ci95_p99: tuple[Positive, Positive] | None = None
    n: Count


class Cost(ReportPart):
    """Milliseconds that one inference takes without what other processes took of it.

    ``rounds`` of the rounds in ``of`` count; others ran in its place in the share ``taken`` of the time.
    """

    p50: Positive
    ci95_p50: tuple[Positive, Positive] | None = None
    rounds: Count
    of: Count
    taken: Annotated[float, Field(ge=0)]
    real_time: bool = False


class Ratio(ReportPart):
    """The student's cost over the teacher's, interleaved."""

    ratio: Positive
    ci95: tuple[Positive, Positive] | None = None


class AgainstBaseline(Ratio):
    """The cost over that of a baseline's file, interleaved."""

    baseline_sha256: str
    valid: bool = True


class ConfidenceBin(ReportPart):
    """``n`` predictions of about one confidence: their mean confidence, and their accuracy."""

    n: Count
    confidence: Fraction
    accuracy: Fraction


class Row(ReportPart):
    """The figures of one network at one place; the task's metrics are those of :meth:`figure` and :meth:`interval`.

    So that a report can be compared in pairs with another one by itself, ``right`` has a bit for each test sample
    (:mod:`edgekd.stats.correct`), and ``evidence`` names a file for metrics of which samples are not right or wrong.
    ``built_for`` is the profile of a file whose runtime is not here, and ``built_for_device`` the
    devices of its targets. ``emulates`` is that profile where the file's figures are by emulation.
    """

    model: str
    runtime: str
    precision: str
    role: Literal["teacher", "student", "ensemble"] | None = None
    device: str | None = None
    threads: Count | None = None
    built_for: str | None = None
    built_for_device: str | None = None
    emulates: str | None = None
    n: Count | None = None
    expected_calibration_error: Fraction | None = None
    reliability: tuple[ConfidenceBin, ...] | None = None
    negative_log_likelihood: float | None = None
    size_bytes: Count | None = None
    params: Count | None = None
    macs: Count | None = None
    operators: dict[str, Count] | None = None
    int8_coverage: Fraction | None = None
    latency_ms: Latency | None = None
    cost_ms: Cost | None = None
    latency_vs_teacher: Ratio | None = None
    latency_vs_baseline: AgainstBaseline | None = None
    peak_rss_bytes: Count | None = None
    energy_mj: float | None = None
    valid: bool = True
    warnings: tuple[Note, ...] = ()
    file: str | None = None
    file_sha256: str | None = None
    predictions: str | None = None
    right: str | None = None
    evidence: EvidenceFile | None = None

    @model_validator(mode="after")
    def has_finite_figures(self) -> Self:
        """Refuse NaN and infinity also where a metric's name is no field."""
        for name, value in (self.model_extra or {}).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value}, no finite number")
        return self

    def figure(self, metric: Metric) -> float | None:
        """Return the value of a metric, or None if it was not measured."""
        return (self.model_extra or {}).get(metric.name)

    def interval(self, metric: Metric) -> tuple[float, float] | None:
        """Return the 95 % interval of a metric, or None if it was not measured."""
        found = (self.model_extra or {}).get(metric.interval_key)
        return (found[0], found[1]) if found else None

    def kept_evidence(self, metrics: Iterable[Metric], folder: Path | None = None) -> dict[str, Evidence]:
        """Return what the row keeps of each sample, by metric; what lies in files only from a report's ``folder``.

        Raises:
            DataError: the file is missing, or not the one that was written with the report.
        """
        row = self.model_dump(include={"right", "n", "evidence"})
        return kept_evidence(row, metrics, folder, WITH_REPORT)

    @property
    def own_ms(self) -> Cost | Latency | None:
        """Return what the network itself takes: its cost, or its latency where no cost was told apart."""
        return self.cost_ms or self.latency_ms

    @property
    def place(self) -> str:
        """Return what tells where it was measured from other places, for files."""
        return place_of(self.model_dump(include=set(PLACE)))

    @property
    def place_text(self) -> str:
        """Return where it was measured, for people: ``cpu, onnxruntime, 1 thread``."""
        return place_text(self.model_dump(include={*PLACE, "built_for_device", "emulates"}))


class Check(ReportPart):
    """One promise of the budget: ``value`` must not exceed ``bound``.

    ``ci95`` is the interval of ``value`` on ``n`` samples; the verdict is by ``value``. ``note`` says why nothing was
    measured, or how the value is to be read.
    """

    name: str
    bound: float
    value: float | None = None
    unit: str
    met: bool
    ci95: tuple[float, float] | None = None
    n: Count | None = None
    note: str | None = None


class BudgetRecord(ReportPart):
    met: bool
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, checks: tuple[Check, ...] | list[Check]) -> "BudgetRecord":
        return cls(met=all(check.met for check in checks), checks=tuple(checks))


class TargetRecord(ReportPart):
    """A target of the recipe: what its file in the bundle is written for, and whether it was timed there.

    ``measured`` is ``here`` or ``there``, and absent where it was not timed, for which ``not_measured`` has the reason.
    ``file`` is absent where the network's training serves the target none, for which ``no_file`` has the reason.
    """

    name: str
    device: str
    runtime: str
    processor: str
    profile: str
    precision: str
    threads: Count | None = None
    file: str | None = None
    measured: Literal["here", "there"] | None = None
    not_measured: str | None = None
    no_file: str | None = None


class DataRecord(ReportPart):
    name: str
    fingerprint: str
    classes: tuple[str, ...]
    train: Count
    validation: Count
    test: Count
    validation_of: Literal["test", "validation"] | None = None
    labels: str | None = None


class LayerWidth(ReportPart):
    """The channels of a layer before and after pruning."""

    layer: str
    before: Count
    after: Count


class StageRecord(ReportPart):
    """``metrics`` may hold ``history``, ``params``, ``macs`` and ``widths``, see :mod:`edgekd.report`.

    ``options`` are those that the recipe gives, without the defaults; teachers have none.
    """

    name: str
    key: str
    seconds: float | None = None
    options: dict[str, Any] | None = None
    metrics: dict[str, Any] = Field(default_factory=dict)


class ParityRecord(ReportPart):
    """How far a file's outputs are from the network's on ``n`` samples.

    A step is a 255th of the range of the network's logits. ``departs_at`` is the first layer at which the runtime
    departs from the file, searched for if predictions differ. ``not_finite`` samples have outputs that are no finite
    numbers, and count as predicted wrongly.
    """

    model: str
    runtime: str
    agreement: Fraction
    max_abs_difference: float
    n: Count
    profile: str | None = None
    max_steps: float | None = None
    mean_steps: float | None = None
    departs_at: str | None = None
    not_finite: Count | None = None


class ProfileRecord(ReportPart):
    """Where the time of one inference of ``model`` goes, as ``edgekd profile --json`` gives it."""

    model: str
    runtime: str
    threads: Count
    batch: Count
    runs: Count
    roofs: dict[str, Any]
    summary: dict[str, Any]
    layers: tuple[dict[str, Any], ...]


class Deployed(ReportPart):
    """Which row the budget is judged on: that of ``model`` at ``place``."""

    model: str
    place: str


class Report(ReportPart):
    """The report of a run; ``task`` is None for classification, ``decoder`` holds the options that the recipe sets.

    In version 1 the teacher comes first, the deployed network last; nothing else says so.
    """

    schema_version: Annotated[int, Field(ge=0, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    name: str
    task: str | None = None
    decoder: dict[str, float] | None = None
    recipe_sha256: str
    environment: dict[str, Any] = Field(default_factory=dict)
    data: DataRecord | None = None
    budget: BudgetRecord | None = None
    warnings: tuple[Note, ...] = ()
    targets: tuple[TargetRecord, ...] | None = None
    rows: tuple[Row, ...] = ()
    deployed: Deployed | None = None
    stages: tuple[StageRecord, ...] = ()
    parity: tuple[ParityRecord, ...] = ()
    profiles: tuple[ProfileRecord, ...] = ()
    command: str | None = None

    @property
    def kind(self) -> type[Task]:
        """Return the task's class."""
        return task_of({"task": self.task})

    @property
    def metrics(self) -> Sequence[Metric]:
        """Return the task's metrics; the first is the budget's."""
        return self.kind.metrics

    def breakdown(self) -> Breakdown | None:
        """Return the metric of each class or label of the teacher and the deployed network, or None if it has none."""
        kept = (self.model_extra or {}).get(self.kind.breakdown_key) if self.kind.breakdown_key else None
        return None if kept is None else self.kind.breakdown_from_json(kept)

    @classmethod
    def from_json(cls, document: Mapping[str, Any], source: str | Path = "report") -> "Report":
        """Read a report of this or an earlier schema version; ``source`` names it in messages.

        Raises:
            EdgekdError: a key is missing or wrong; the message names the first.
        """
        shape.must_have_shape(document, shape.report, SCHEMA_VERSION, source)
        try:
            roles_must_agree(document)
        except Malformed as found:
            raise Malformed(found.key, found.says, source) from None
        try:
            report = cls.model_validate({"schema_version": 1, **document})
            report.breakdown()
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "document"
            raise EdgekdError(
                f"{source}: {key}: {first['msg']}; expected a report.json of schema version {SCHEMA_VERSION}"
            ) from error
        return report


def broken_down(task: Task, breakdown: Breakdown) -> dict[str, Any]:
    """Return the entry of a report that keeps the breakdown of its task's metric."""
    return {task.breakdown_key: breakdown.to_json()} if task.breakdown_key else {}
