"""report.json, schema version 2. A figure that was not measured is absent, never zero or guessed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgekd.errors import EdgekdError
from edgekd.records import shape
from edgekd.records.readers import Malformed
from edgekd.records.roles import roles_must_agree
from edgekd.records.rows import PLACE, place_of

SCHEMA_VERSION = 2

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class Part(BaseModel):
    """A frozen part of a report, without NaN, which keeps fields that a newer edgekd may have added."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


class Note(Part):
    """A warning: ``code`` for machines, ``message`` for people."""

    code: str
    message: str


class Latency(Part):
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


class Ratio(Part):
    """The student's time over the teacher's, interleaved."""

    ratio: Positive
    ci95: tuple[Positive, Positive] | None = None


class AgainstBaseline(Ratio):
    """The time over that of a baseline's file, interleaved."""

    baseline_sha256: str
    valid: bool = True


class ConfidenceBin(Part):
    """``n`` predictions of about one confidence: their mean confidence, and their accuracy."""

    n: Count
    confidence: Fraction
    accuracy: Fraction


class Row(Part):
    """The metrics of one network at one place.

    ``right`` has a bit for each test sample (:mod:`edgekd.stats.correct`), so that a report can be compared in pairs
    with another one by itself. ``built_for`` is the profile of a file whose runtime is not here.
    """

    model: str
    runtime: str
    precision: str
    role: Literal["teacher", "student", "ensemble"] | None = None
    device: str | None = None
    threads: Count | None = None
    built_for: str | None = None
    accuracy: Fraction | None = None
    accuracy_ci95: tuple[Fraction, Fraction] | None = None
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

    @property
    def place(self) -> str:
        """Return where it was measured, as ``cpu, onnxruntime, 1 thread``."""
        return place_of(self.model_dump(include=set(PLACE)))


class Check(Part):
    """One promise of the budget: ``value`` must not exceed ``bound``.

    ``ci95`` is the interval of ``value`` on ``n`` samples; the verdict is by ``value``.
    """

    name: str
    bound: float
    value: float | None = None
    unit: str
    met: bool
    ci95: tuple[float, float] | None = None
    n: Count | None = None


class BudgetRecord(Part):
    met: bool
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, checks: tuple[Check, ...] | list[Check]) -> "BudgetRecord":
        return cls(met=all(check.met for check in checks), checks=tuple(checks))


class DataRecord(Part):
    name: str
    fingerprint: str
    classes: tuple[str, ...]
    train: Count
    validation: Count
    test: Count
    labels: str | None = None


class LayerWidth(Part):
    """The channels of a layer before and after pruning."""

    layer: str
    before: Count
    after: Count


class StageRecord(Part):
    """``metrics`` may hold ``history``, ``params``, ``macs`` and ``widths``, see :mod:`edgekd.report`."""

    name: str
    key: str
    seconds: float | None = None
    metrics: dict[str, Any] = {}


class ClassCounts(Part):
    """One class: how many of its ``n`` test samples were classified correctly before and after."""

    name: str
    n: Count
    right_before: Count
    right_after: Count


class Confusion(Part):
    """How many test samples of the class ``label`` were predicted as the class ``answered``, before and after."""

    label: str
    answered: str
    before: Count
    after: Count


class ByClass(Part):
    """The predictions of the models ``before`` and ``after`` in ``runtime``, class by class.

    ``confusions`` are those that grew by ``least_growth`` samples or more, the most grown first, not all of them.
    """

    before: str
    after: str
    runtime: str
    classes: tuple[ClassCounts, ...]
    confusions: tuple[Confusion, ...] = ()
    least_growth: Count = 1


class ParityRecord(Part):
    """How far a file's outputs are from the network's on ``n`` samples.

    A step is a 255th of the range of the network's logits. ``departs_at`` is the first layer at which the runtime
    departs from the file, searched for if predictions differ.
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


class ProfileRecord(Part):
    """Where the time of one inference of ``model`` goes, as ``edgekd profile --json`` gives it."""

    model: str
    runtime: str
    threads: Count
    batch: Count
    runs: Count
    roofs: dict[str, Any]
    summary: dict[str, Any]
    layers: tuple[dict[str, Any], ...]


class Deployed(Part):
    """Which row the budget is judged on: that of ``model`` at ``place``."""

    model: str
    place: str


class Report(Part):
    """The report of a run. In version 1 the teacher comes first, the deployed network last; nothing else says so."""

    schema_version: Annotated[int, Field(ge=0, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    name: str
    recipe_sha256: str
    environment: dict[str, Any] = {}
    data: DataRecord | None = None
    budget: BudgetRecord | None = None
    warnings: tuple[Note, ...] = ()
    rows: tuple[Row, ...] = ()
    deployed: Deployed | None = None
    stages: tuple[StageRecord, ...] = ()
    by_class: ByClass | None = None
    parity: tuple[ParityRecord, ...] = ()
    profiles: tuple[ProfileRecord, ...] = ()
    command: str | None = None

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
            return cls.model_validate({"schema_version": 1, **document})
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "document"
            raise EdgekdError(
                f"{source}: {key}: {first['msg']}; expected a report.json of schema version {SCHEMA_VERSION}"
            ) from error
