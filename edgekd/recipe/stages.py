"""The forms of a stage in YAML: a word (``distill``) or a mapping of one key (``distill: {epochs: 3}``)."""

from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edgekd.nearest import among
from edgekd.options import Mistake
from edgekd.stages import STAGES, Stage


def as_mapping(stage: Any) -> Any:
    """Return ``stage``, in any of its forms, as a mapping of its name to its settings."""
    if isinstance(stage, Stage):
        return {stage.name: stage}
    if isinstance(stage, str):
        stage = {stage: {}}
    if not isinstance(stage, dict) or len(stage) != 1:
        raise Mistake(f"expected one stage: {', '.join(STAGES)}; as a word, or as a mapping of that one key")
    [(name, settings)] = stage.items()
    if name not in STAGES:
        raise Mistake(f"unknown stage {name!r}{among(str(name), STAGES)}")
    return {name: {} if settings is None else settings}


class AnyStage:
    """Validation of a stage in any of its forms; mistakes are located at ``stages.0.distill.epochs``."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices: dict[Any, Any] = {
            name: core_schema.no_info_before_validator_function(
                lambda mapping: next(iter(mapping.values())), handler.generate_schema(stage)
            )
            for name, stage in STAGES.items()
        }
        tagged = core_schema.tagged_union_schema(choices, lambda mapping: next(iter(mapping)))
        return core_schema.no_info_before_validator_function(as_mapping, tagged)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        choices = schema["schema"]["choices"]  # type: ignore[typeddict-item]
        mappings = [
            {
                "type": "object",
                "properties": {name: {"anyOf": [handler(choice), {"type": "null"}]}},
                "required": [name],
                "additionalProperties": False,
            }
            for name, choice in choices.items()
        ]
        return {"anyOf": [{"enum": list(choices)}, *mappings]}
