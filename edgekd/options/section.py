"""What all options have in common."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

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
