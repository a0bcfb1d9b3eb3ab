"""The options of quantisation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from edgekd.options import Registered, Target
from edgekd.profiles import PROFILES
from edgekd.stages.quantize.steps import describe
from edgekd.stages.stage import Form, Stage, Surroundings
from edgekd.strict_json import JsonObject

if TYPE_CHECKING:
    from torch import nn

    from edgekd.stages.deployment import Precisions
    from edgekd.stages.job import Job, Result, Trial

# Every calibration is tried, and the best taken.
AUTO: Final = "auto"


class Quantize(Stage):
    """Lower the precision: by half precision, post-training or quantisation-aware training, as the budget needs."""

    name: ClassVar[str] = "quantize"
    product: ClassVar[str] = "quantized"
    version: ClassVar[int] = 8
    # A fake-quantised graph takes no cut and no further float training.
    gives: ClassVar[Form] = "quantized"
    compares_with_teacher: ClassVar[bool] = True
    described: ClassVar[frozenset[str]] = frozenset(
        {"rungs", "floor", "why_floor", "stopped", "float_layers", "weights"}
    )

    rungs: tuple[Literal["half", "ptq", "qat", "mixed"], ...] = Field(
        default=("half", "ptq", "qat", "mixed"),
        strict=False,
        min_length=1,
        description="what is tried, in this order, until the accuracy budget is met",
    )
    profile: Annotated[str, Registered(PROFILES)] | None = Field(
        default=None, description="the runtime to quantise for; the targets' own when left out"
    )
    epochs: int = Field(default=2, ge=0, description="passes over the training samples in quantisation-aware training")
    lr: float = Field(default=1e-4, gt=0, description="highest learning rate")
    # Without BatchNorm to rescale them, folded weights diverge at the rates that a float network trains at.
    clip_norm: float | None = Field(default=1.0, gt=0, description="clip the gradient to this norm")
    calibration: Literal["auto", "minmax", "percentile", "mse", "entropy"] = Field(
        default=AUTO, description="how first ranges are found; auto takes the best on the validation samples"
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

    @property
    def learns_from_teacher(self) -> bool:
        """Return whether the teacher's logits are learned from."""
        return self.teacher

    def needs(self, recipe: Surroundings) -> "Precisions":
        """Return what the targets compute in, and the accuracy that the budget asks for."""
        from edgekd.stages.deployment import precisions

        return precisions(recipe)

    def quantizes_for(self, targets: Sequence[Target]) -> str | None:
        """Return the profile that networks are trained for, or None where half precision alone is tried."""
        from edgekd.stages.targets import training_profile

        return None if set(self.rungs) == {"half"} else self.profile or training_profile(targets)

    def check(self, trial: "Trial") -> tuple[str, ...]:
        """Find the calibration, and trace the network with simulated quantisation."""
        from edgekd.quantize import CALIBRATIONS, prepare

        if self.calibration != AUTO:
            CALIBRATIONS.find(self.calibration)
        prepare(trial.network(), trial.input_shape)
        return ()

    def run(self, job: "Job") -> "Result":
        """Try the steps ``rungs`` in order until the validation accuracy of the budget is kept."""
        from edgekd.stages.quantize.work import quantize

        return quantize(job)

    @staticmethod
    def apply(network: "nn.Module", change: Any, input_shape: tuple[int, ...]) -> "nn.Module":
        """Give ``network`` its simulated quantisation; in half precision only its file is another."""
        from edgekd.quantize import prepare

        if not isinstance(change, dict):
            raise TypeError(f"a quantisation is a mapping, not a {type(change).__name__}")
        return prepare(network, input_shape, change["profile"]) if "profile" in change else network

    @staticmethod
    def describe(metrics: JsonObject) -> list[tuple[str, str]]:
        """Return what each step gave, and why the next was tried."""
        return describe(metrics)
