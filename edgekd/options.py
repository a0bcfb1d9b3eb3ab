"""Options: typed, frozen, checked as they are made.

Those of targets and budgets are here; rooms have their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from typing_extensions import Self

from edgekd.profiles import FILE_RUNTIMES
from edgekd.runtime import DEFAULT, RUNTIMES

# Strict everywhere: YAML already has types, and `epochs: true` must not mean 1.
FilePath = Annotated[Path, Strict(False)]
Text = Annotated[str, Field(min_length=1)]
# Runtimes have no files for processors of 32 bits.
SHORT_NAMES = {"x86": "x86_64", "arm": "aarch64"}


class Mistake(ValueError):
    """A rule that a section breaks, and ``at`` which key or item of the section."""

    def __init__(self, message: str, *at: str | int):
        super().__init__(message)
        self.at = at


class Section(BaseModel):
    """Options, or a mapping of a recipe: frozen, without unknown keys, types as written."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, eq=False)
class Registered:
    """The names in ``registry``, and the word ``other``, as the values of an option; looked up at each check.

    >>> class Options(Section):
    ...     optimizer: Annotated[str, Registered(OPTIMIZERS)] = "sgd"
    """

    registry: Mapping[str, object]
    other: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names as they are registered now, in that order, after the other word."""
        return (*([self.other] if self.other else []), *self.registry)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": list(self.names), "type": "string"}

    def _check(self, name: str) -> str:
        if name not in self.names:
            expected = " or ".join(map(repr, self.names))
            raise PydanticCustomError("registered", "Input should be {expected}", {"expected": expected})
        return name


class Target(Section):
    """A device and the runtime on it."""

    device: Text = Field(
        default="cpu", description="cpu, or a registered device; nothing is measured on one that is not there"
    )
    runtime: Annotated[str, Registered(FILE_RUNTIMES)] = Field(
        default=DEFAULT, description="what runs the network there"
    )
    threads: int = Field(default=1, ge=1, description="threads that the runtime may use")
    architecture: Literal["x86_64", "aarch64", "x86", "arm"] | None = Field(
        default=None,
        description="of the processor, where the device is not registered and the runtime's files differ by it",
    )

    @field_validator("architecture")
    @classmethod
    def spelled_out(cls, architecture: str | None) -> str | None:
        """Return the long name of ``x86`` or ``arm``, by which profiles know them."""
        return SHORT_NAMES.get(architecture or "", architecture)

    @property
    def place(self) -> tuple[str, str, int | None]:
        """Return what tells two targets apart: some runtimes have no threads, and a device has one architecture."""
        return self.device, self.runtime, self.threads_there

    @property
    def threads_there(self) -> int | None:
        """Return the threads of a runtime that takes a number of them, None of another."""
        return self.threads if RUNTIMES[self.runtime].takes_threads else None


class Budget(Section):
    """Bounds that the student must keep; one left out is not checked."""

    accuracy_drop: float | None = Field(
        default=None, description="points of accuracy that the student may lose to the teacher"
    )
    drop: dict[Text, float] | None = Field(
        default=None,
        description="by metric of the task, how much worse than the teacher it may be: points of shares",
    )
    latency_ratio: float | None = Field(default=None, gt=0, description="student latency over teacher latency, at most")
    size_ratio: float | None = Field(default=None, gt=0, description="student size over teacher size, at most")
    latency_ms: float | None = Field(default=None, gt=0, description="student latency in milliseconds, at most")
    size_mb: float | None = Field(default=None, gt=0, description="student size in megabytes, at most")
    energy_mj: float | None = Field(
        default=None, gt=0, description="energy of a student's inference in millijoules, at most"
    )

    @model_validator(mode="after")
    def said_once(self) -> Self:
        """Refuse a bound that is there in its short form too."""
        if self.accuracy_drop is not None and self.drop and "accuracy" in self.drop:
            raise Mistake("accuracy_drop says the same; leave one of them out", "drop", "accuracy")
        return self

    @property
    def drops(self) -> Mapping[str, float]:
        """Return how much worse each metric may get, in its unit of differences: points for shares."""
        short = {} if self.accuracy_drop is None else {"accuracy": self.accuracy_drop}
        return {**short, **(self.drop or {})}

    def largest_bytes(self, teacher_bytes: int) -> float | None:
        """Return the size that a student's file may have beside a teacher's of so many bytes; None for any."""
        bounds = [
            *([self.size_mb * 1e6] if self.size_mb else []),
            *([self.size_ratio * teacher_bytes] if self.size_ratio else []),
        ]
        return min(bounds, default=None)

    @property
    def promises(self) -> Mapping[str, float]:
        """Return the bounds by name, a metric's as ``accuracy_drop``, without those left out."""
        drops = {f"{metric}_drop": most for metric, most in self.drops.items()}
        return {**drops, **self.model_dump(exclude={"accuracy_drop", "drop"}, exclude_none=True)}
