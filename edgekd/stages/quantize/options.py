"""The options of quantisation."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from edgekd.options import Registered, Target
from edgekd.profiles import PROFILES
from edgekd.quantize.registry import CALIBRATIONS
from edgekd.stages.quantize.steps import NAMES, describe
from edgekd.stages.stage import Form, Stage

# Every calibration is tried, and the best taken.
AUTO: Final = "auto"


class Quantize(Stage):
    """Lower the precision: by half precision, post-training or quantisation-aware training, as the budget needs."""

    name: ClassVar[str] = "quantize"
    product: ClassVar[str] = "quantized"
    version: ClassVar[int] = 9
    # A fake-quantised graph takes no cut and no further float training.
    gives: ClassVar[Form] = "quantized"
    compares_with_teacher: ClassVar[bool] = True
    described: ClassVar[frozenset[str]] = frozenset(
        {"rungs", "floor", "why_floor", "further_floors", "stopped", "float_layers", "weights"}
    )

    rungs: tuple[Annotated[str, Registered(NAMES)], ...] = Field(
        default=("half", "ptq", "qat", "mixed"),
        strict=False,
        min_length=1,
        description="what is tried, in this order, until the bounds on metrics are kept",
    )
    profile: Annotated[str, Registered(PROFILES)] | None = Field(
        default=None, description="the runtime to quantise for; the targets' own when left out"
    )
    epochs: int = Field(default=2, ge=0, description="passes over the training samples in quantisation-aware training")
    lr: float = Field(default=1e-4, gt=0, description="highest learning rate")
    # Without BatchNorm to rescale them, folded weights diverge at the rates that a float network trains at.
    clip_norm: float | None = Field(default=1.0, gt=0, description="clip the gradient to this norm")
    calibration: Annotated[str, Registered(CALIBRATIONS, AUTO)] = Field(
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

    def quantizes_for(self, targets: Sequence[Target]) -> str | None:
        """Return the profile that networks are trained for, or None where half precision alone is tried."""
        from edgekd.stages.targets import training_profile

        return None if set(self.rungs) == {"half"} else self.profile or training_profile(targets)

    describe = staticmethod(describe)
