"""The stages of a recipe: in YAML a word (``distill``) or a mapping of one key (``distill: {epochs: 3}``)."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, Strict, model_validator
from pydantic_core import CoreSchema, core_schema
from typing_extensions import Self

from edgekd.options import Mistake, Section, Train
from edgekd.options.section import Text
from edgekd.registry import nearest

# A student's layer and the teacher's.
Pair = Annotated[tuple[Text, Text], Strict(False)]
GOALS = ("macs", "params", "size", "latency", "accuracy_drop")


class Stage(Train):
    """A step of the chain: training, with the teacher's logits beside the labels."""

    name: ClassVar[str]

    temperature: float = Field(default=4.0, gt=0, description="softens the logits of teacher and student")
    hard_weight: float = Field(
        default=0.1, ge=0, le=1, description="weight of the loss on the labels; the teacher's has the rest"
    )


class ScheduleOptions(Section):
    """A value that changes over the training."""

    form: Literal["linear", "cosine", "step"] = Field(default="linear", description="how it changes")
    start: float = Field(ge=0, description="the value at first")
    end: float = Field(ge=0, description="the value from `until` on")
    until: float = Field(default=1.0, gt=0, le=1, description="share of the training at which the end is reached")


class Loss(Section):
    """One loss of a distillation."""

    method: Text = Field(description="the distillation loss")
    weight: float | None = Field(default=None, ge=0, description="its weight; the method's usual one when left out")
    weight_schedule: ScheduleOptions | None = Field(default=None, description="in place of a fixed weight")
    options: dict[str, Any] = Field(default={}, description="of the loss, by the names of its arguments")
    standardize: bool = Field(default=False, description="compare logits of mean 0 and deviation 1")
    pairs: tuple[Pair, ...] | None = Field(
        default=None, strict=False, description="[student, teacher] layers that are compared; found when left out"
    )


class Distill(Stage, Loss):
    """Train the student to answer as the teacher does."""

    name: ClassVar[str] = "distill"

    method: Text = Field(default="kd", description="the distillation loss")
    also: tuple[Loss, ...] = Field(default=(), strict=False, description="losses beside the first, with their weights")
    balance: bool = Field(default=False, description="bring the gradients of all losses to the size of the first one's")
    views: int | None = Field(
        default=None, ge=1, description="train on so many fixed augmented views of each image, a new one in each epoch"
    )
    cache: bool = Field(
        default=True, description="with views, compute the teacher's answers once and keep them on disk"
    )
    temperature_schedule: ScheduleOptions | None = Field(default=None, description="in place of a fixed temperature")
    hard_weight_schedule: ScheduleOptions | None = Field(default=None, description="in place of a fixed hard_weight")
    generations: int = Field(
        default=1, ge=1, description="train so often from the same weights, each time with the last result as teacher"
    )

    @model_validator(mode="after")
    def schedules_stay_in_range(self) -> Self:
        softened, hard = self.temperature_schedule, self.hard_weight_schedule
        if softened is not None and not min(softened.start, softened.end) > 0:
            raise Mistake("a temperature is above 0; give start and end above 0", "temperature_schedule")
        if hard is not None and max(hard.start, hard.end) > 1:
            raise Mistake("a weight of the labels is in 0..1; give start and end of at most 1", "hard_weight_schedule")
        return self


class Prune(Stage):
    """Take whole channels out, then train what is left."""

    name: ClassVar[str] = "prune"

    epochs: int = Field(default=5, ge=0, description="passes over the training samples after the last cut")
    lr: float = Field(default=0.02, gt=0, description="highest learning rate")
    macs: float | None = Field(default=None, gt=0, lt=1, description="share of the multiply-accumulates to keep")
    params: float | None = Field(default=None, gt=0, lt=1, description="share of the parameters to keep")
    size: float | None = Field(default=None, gt=0, lt=1, description="share of the tensors' bytes to keep")
    latency: float | None = Field(
        default=None, gt=0, lt=1, description="share of the latency to keep, measured on the first target"
    )
    accuracy_drop: float | None = Field(
        default=None, ge=0, description="points of validation accuracy that may go, for a network as small as it gets"
    )
    depth: float | None = Field(
        default=None, gt=0, lt=1, description="share of the multiply-accumulates to keep by dropping residual blocks"
    )
    importance: Text = Field(default="group_magnitude", description="what ranks the channels")
    importance_batches: int = Field(default=8, ge=1, description="training batches for importances by gradients")
    reduction: Literal["mean", "sum", "max", "first", "product"] | None = Field(
        default=None, description="over the layers of channels that go together; the importance's own when left out"
    )
    scope: Literal["paths", "global", "layer", "isomorphic"] = Field(
        default="paths",
        description="what decides between layers: the paths that are left, or a threshold for the scores of the whole "
        "network, of each layer, or of groups of one topology",
    )
    sensitivity: float | None = Field(
        default=None, gt=0, description="seconds to measure what each group's cut costs, and to rank by that"
    )
    round_to: int | None = Field(
        default=None, ge=1, description="keep channel counts a multiple of this; the runtime's own when left out"
    )
    max_ratio: float = Field(default=0.9, gt=0, lt=1, description="largest share of a layer's channels that may go")
    ignore: tuple[str, ...] = Field(default=(), strict=False, description="layers left as they are, by name")
    steps: int | None = Field(
        default=None, ge=1, description="cuts on the way, 1 when left out; with accuracy_drop those tried at most, 8"
    )
    cut_schedule: Literal["linear", "cubic"] = Field(default="cubic", description="how far each of the steps goes")
    step_epochs: int = Field(default=1, ge=0, description="passes over the training samples between the steps")
    batchnorm_batches: int = Field(
        default=16, ge=0, description="batches to estimate BatchNorm's statistics from after each cut; 0 leaves them"
    )
    rewind: int | None = Field(
        default=None, ge=1, description="epochs of the training whose last learning rates are gone through again"
    )
    sparse: float | None = Field(
        default=None, gt=0, description="strength of the group norm in a training before the first cut"
    )
    sparse_epochs: int = Field(default=5, ge=1, description="passes of that training")
    check_latency: bool = Field(
        default=True, description="time the cut network where a target is here; widths that make it slower are changed"
    )
    teacher: bool = Field(default=True, description="keep the teacher while training")

    @property
    def goal(self) -> str | None:
        """The key that says how far channels are cut."""
        return next((name for name in GOALS if getattr(self, name) is not None), None)

    @model_validator(mode="after")
    def one_goal(self) -> Self:
        given = [name for name in GOALS if getattr(self, name) is not None]
        if not given and self.depth is None:
            raise Mistake(
                f"nothing says how far to prune; give {', '.join(GOALS[:-1])}, {GOALS[-1]} or depth, "
                "e.g. macs: 0.5, the share to keep"
            )
        if len(given) > 1:
            raise Mistake(f"{given[0]} and {given[1]} exclude each other; give one of the two", given[1])
        return self

    @model_validator(mode="after")
    def rewinds_far_enough(self) -> Self:
        longest = max(self.epochs, self.step_epochs)
        if self.rewind is not None and self.rewind < longest:
            raise Mistake(
                f"a training of {self.rewind} epochs has no last {longest}; give the epochs of the training that made "
                "the network, and its lr and schedule",
                "rewind",
            )
        return self


class Quantize(Stage):
    """Climb from half precision over post-training to quantisation-aware training, as far as the budget needs."""

    name: ClassVar[str] = "quantize"

    rungs: tuple[Literal["half", "ptq", "qat", "mixed"], ...] = Field(
        default=("half", "ptq", "qat", "mixed"),
        strict=False,
        min_length=1,
        description="what is tried, in this order, until the accuracy budget is met",
    )
    profile: Literal["onnxruntime-x86", "onnxruntime-x86-vnni", "onnxruntime-arm", "tensorrt", "portable"] | None = (
        Field(default=None, description="the runtime to quantise for; the targets' own when left out")
    )
    epochs: int = Field(default=2, ge=0, description="passes over the training samples in quantisation-aware training")
    lr: float = Field(default=1e-4, gt=0, description="highest learning rate")
    # Without BatchNorm to rescale them, folded weights diverge at the rates that a float network trains at.
    clip_norm: float | None = Field(default=1.0, gt=0, description="clip the gradient to this norm")
    calibration: Literal["auto", "minmax", "percentile", "mse", "entropy"] = Field(
        default="auto", description="how first ranges are found; auto takes the best on the validation samples"
    )
    calibration_batches: int = Field(default=8, ge=1, description="batches that set the first ranges")
    batchnorm_batches: int = Field(
        default=0, ge=0, description="batches to estimate BatchNorm's statistics from again, before they are folded"
    )
    equalize: bool = Field(default=False, description="equal ranges of channels across layers, before calibration")
    bias_correction: bool = Field(
        default=True, description="take the shift of each layer's mean back, after calibration"
    )
    adaround: int = Field(
        default=0,
        ge=0,
        description="iterations for each layer of learning which weights to round up; 0 rounds to nearest",
    )
    learned_scales: bool = Field(default=False, description="train the scales with the weights (LSQ)")
    freeze_after: float = Field(
        default=0.0, ge=0, le=1, description="share of the steps in which ranges follow the batches, before they stay"
    )
    teacher: bool = Field(default=True, description="keep the teacher while training")
    teacher_after: float = Field(
        default=0.0, ge=0, le=1, description="share of the steps on labels alone, before the teacher's loss"
    )
    placement: Literal["measured", "int8"] = Field(
        default="measured", description="int8 where it is measured to be faster here, or wherever the runtime has it"
    )
    mixed_share: float = Field(
        default=0.5, gt=0, le=1, description="share of the layers that mixed precision may leave in float, at most"
    )


STAGES: dict[str, type[Stage]] = {stage.name: stage for stage in (Distill, Prune, Quantize)}


def as_mapping(stage: Any) -> Any:
    """``stage`` as a mapping of its name to its settings, from any form that it may have."""
    if isinstance(stage, Stage):
        return {stage.name: stage}
    if isinstance(stage, str):
        stage = {stage: {}}
    if not isinstance(stage, dict) or len(stage) != 1:
        raise Mistake(f"expected one stage: {', '.join(STAGES)}; as a word, or as a mapping of that one key")
    [(name, settings)] = stage.items()
    if name not in STAGES:
        raise Mistake(f"unknown stage {name!r}{nearest(str(name), STAGES)}; known: {', '.join(STAGES)}")
    return {name: {} if settings is None else settings}


class AnyStage:
    """Tells pydantic to read each form of a stage; mistakes are located at ``stages.0.distill.epochs``."""

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
