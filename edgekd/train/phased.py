"""One objective for the first steps, another for the rest."""

from torch import Tensor, nn

from edgekd.train.objective import Objective


class Phased(Objective):
    """``first`` until a share ``until`` of the steps is done, then ``then``.

    With :class:`CrossEntropy` and a distillation it is training that the teacher joins later.
    """

    def __init__(self, first: Objective, then: Objective, until: float):
        super().__init__()
        self.first, self.then, self.until = first, then, until
        self.progress = 0.0

    def at(self, step: int, total: int) -> None:
        """Called before each step."""
        self.progress = step / max(total, 1)

    def forward(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        chosen = self.first if self.progress < self.until else self.then
        loss: Tensor = chosen(network, inputs, labels)
        return loss
