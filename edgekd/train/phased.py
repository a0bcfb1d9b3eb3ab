"""One objective for the first steps, another for the rest."""

from torch import Tensor, nn

from edgekd.train.objective import Batch, Objective


class Phased(Objective):
    """``first`` until a share ``until`` of the steps is done, then ``then``.

    With :class:`CrossEntropy` and a distillation it is training that the teacher joins later.
    """

    def __init__(self, first: Objective, then: Objective, until: float):
        super().__init__()
        self.first, self.then, self.until = first, then, until

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return self._at(batch.progress).terms(network, batch)

    def figures(self, progress: float) -> dict[str, float]:
        return self._at(progress).figures(progress)

    def learned(self) -> nn.Module | None:
        learned = [each.learned() for each in (self.first, self.then)]
        modules = [each for each in learned if each is not None]
        return nn.ModuleList(modules) if modules else None

    def _at(self, progress: float) -> Objective:
        return self.first if progress < self.until else self.then
