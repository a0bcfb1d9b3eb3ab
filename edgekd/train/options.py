"""The options of a training."""

from typing import Annotated

from pydantic import Field

from edgekd.options import Registered, Section, Text
from edgekd.train.optimizers import OPTIMIZERS
from edgekd.train.schedule import SCHEDULES


class Train(Section):
    """How a network is trained."""

    epochs: int = Field(default=10, ge=0, description="passes over the training samples")
    lr: float = Field(default=0.1, gt=0, description="highest learning rate")
    optimizer: Annotated[str, Registered(OPTIMIZERS)] = Field(default="sgd", description="what takes the steps")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of sgd")
    weight_decay: float = Field(default=5e-4, ge=0, description="weight decay")
    schedule: Annotated[str, Registered(SCHEDULES)] = Field(
        default="one_cycle", description="learning rate over the steps"
    )
    clip_norm: float | None = Field(default=None, gt=0, description="clip the gradient to this norm")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of each label spread over all classes")
    ema: float | None = Field(default=None, gt=0, lt=1, description="decay of the moving average of the weights")
    freeze: tuple[Text, ...] = Field(
        default=(), strict=False, description="layers that are not trained, by path patterns such as layer1.*"
    )
    train_only: tuple[Text, ...] = Field(
        default=(), strict=False, description="layers that are trained, by path patterns; all others are not"
    )
    unfreeze_every: int | None = Field(
        default=None, ge=1, description="train the last part alone at first, and after each so many epochs one more"
    )
    lr_decay: float = Field(
        default=1.0, gt=0, le=1, description="learning rate of each part of the network, over that of the next one"
    )
    l2_sp: float | None = Field(
        default=None,
        gt=0,
        description="strength of the pull to the first weights, in place of weight decay but in the last layer (L2-SP)",
    )
