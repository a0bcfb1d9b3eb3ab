"""BatchNorm's running statistics over the first steps of a training from random weights.

They begin at 0 and 1, which ``momentum`` forgets: after n steps (1 − momentum)^n of it is left. torchvision's mobile
networks take 0.03 to 0.0003, for trainings of 100,000 steps. After 300 steps at 0.01 such a network still
divides small activations by a twentieth of 1, and is silent in evaluation whatever it has learned. So the first steps
take the polynomial-decay averaging of Shamir and Zhang (2013, section 4): over about the last tenth of the batches.
It goes on from statistics that were estimated from few batches, as behind a cut; there a batch counts for no more than
torch's usual momentum, since the mean of 16 batches is better than that of the last two or three.
"""

from torch import nn

from edgekd.models.batchnorm import NORMS

# torch's own, which has forgotten the start after 50 steps.
USUAL_MOMENTUM = 0.1
# η of the averaging.
DECAY = 9


class FirstStatistics:
    """The slow BatchNorms of ``network``, as long as they have seen few batches."""

    def __init__(self, network: nn.Module):
        norms = [module for module in network.modules() if isinstance(module, NORMS) and _has_known_start(module)]
        self.momenta = {norm: norm.momentum for norm in norms if norm.momentum and norm.momentum < USUAL_MOMENTUM}
        self.most = {norm: USUAL_MOMENTUM if norm.num_batches_tracked else 1.0 for norm in self.momenta}
        self.unsettled = list(self.momenta)
        self.seen: dict[nn.Module, int] = {}

    def before_step(self) -> None:
        """Let the next batch, the n-th, count (η + 1) / (n + η), until that is less than the momentum."""
        if not self.seen:
            # A checkpoint may have been loaded since. Each reading waits for the device, so later batches are counted.
            self.seen = {norm: int(norm.num_batches_tracked or 0) for norm in self.unsettled}
        for norm in self.unsettled:
            counts = min(self.most[norm], (DECAY + 1) / (self.seen[norm] + 1 + DECAY))
            norm.momentum = max(self.momenta[norm], counts)
            self.seen[norm] += norm.training
        self.unsettled = [norm for norm in self.unsettled if norm.momentum != self.momenta[norm]]

    def leave(self) -> None:
        """Give each layer its own momentum back."""
        for norm, momentum in self.momenta.items():
            norm.momentum = momentum


def _has_known_start(norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) -> bool:
    mean, variance, seen = norm.running_mean, norm.running_var, norm.num_batches_tracked
    if mean is None or variance is None or seen is None:
        return False
    # Old checkpoints have no count of the batches behind their statistics.
    return bool(seen) or (not mean.any() and bool((variance == 1).all()))
