"""What all options have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, Strict
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

# Strict everywhere: YAML already has types, and `epochs: true` must not mean 1.
FilePath = Annotated[Path, Strict(False)]
Text = Annotated[str, Field(min_length=1)]


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
    """The names in ``registry`` as the values of an option, looked up each time that one is checked.

    >>> class Options(Section):
    ...     optimizer: Annotated[str, Registered(OPTIMIZERS)] = "sgd"
    """

    registry: Mapping[str, object]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names as they are registered now, in that order."""
        return tuple(self.registry)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": list(self.names), "type": "string"}

    def _check(self, name: str) -> str:
        if name not in self.registry:
            expected = " or ".join(map(repr, self.names))
            raise PydanticCustomError("registered", "Input should be {expected}", {"expected": expected})
        return name
