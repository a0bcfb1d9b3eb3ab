"""The options of factorisation."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from typing_extensions import Self

from edgekd.factorize.registry import DECOMPOSITIONS
from edgekd.formatting import percent
from edgekd.options import Mistake, Registered, Text
from edgekd.stages.stage import Stage
from edgekd.strict_json import JsonObject


class Factorize(Stage):
    """Replace layers by low-rank factors, then train them."""

    name: ClassVar[str] = "factorize"
    product: ClassVar[str] = "factorized"
    shrinks: ClassVar[bool] = True
    reshapes: ClassVar[frozenset[str]] = frozenset({"methods", "round_to", "ignore"})
    described: ClassVar[frozenset[str]] = frozenset({"factorized", "left_whole", "kept", "energy"})

    epochs: int = Field(default=5, ge=0, description="passes over the training samples after the factorisation")
    lr: float = Field(default=0.02, gt=0, description="highest learning rate")
    macs: float | None = Field(default=None, gt=0, lt=1, description="share of the multiply-accumulates to keep")
    energy: float | None = Field(
        default=None, gt=0, lt=1, description="share of its squared singular values that each layer keeps"
    )
    methods: tuple[Annotated[str, Registered(DECOMPOSITIONS)], ...] = Field(
        default=("svd", "tucker", "spatial"),
        strict=False,
        min_length=1,
        description="decompositions to choose from; each layer gets the cheapest",
    )
    round_to: int = Field(default=8, ge=1, description="ranks are multiples of this")
    ignore: tuple[Text, ...] = Field(default=(), strict=False, description="layers left as they are, by name")
    batchnorm_batches: int = Field(
        default=16, ge=0, description="batches to estimate BatchNorm's statistics from after it; 0 leaves them"
    )
    teacher: bool = Field(default=True, description="keep the teacher while training")

    @model_validator(mode="after")
    def one_goal(self) -> Self:
        if self.macs is None and self.energy is None:
            raise Mistake("nothing says how far to factorise; give macs or energy, e.g. macs: 0.5, the share to keep")
        if self.macs is not None and self.energy is not None:
            raise Mistake("macs and energy exclude each other; give one of the two", "energy")
        return self

    @property
    def learns_from_teacher(self) -> bool:
        """Return whether the teacher's logits are learned from."""
        return self.teacher

    @staticmethod
    def describe(metrics: JsonObject) -> list[tuple[str, str]]:
        """Return how much was kept, and by which factors."""
        if "factorized" not in metrics:
            return []
        layers = [f"{each['path']} ({each['method']}, {_ranks(each['ranks'])})" for each in metrics["factorized"]]
        kept = f"{percent(metrics['kept']['macs'])} of the MACs, {percent(metrics['energy'])} of each layer's energy"
        left = [f"{each['path']} ({each['reason']})" for each in metrics["left_whole"]]
        return [
            ("Kept", kept),
            ("Factorised", ", ".join(layers)),
            *([("Not factorised", ", ".join(left))] if left else []),
        ]


def _ranks(ranks: list[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {' and '.join(map(str, ranks))}"
