"""A teacher run as it is run beside a student in training, so that what it answers has the same bits."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from edgekd.data import DataSet
from edgekd.data.views import Views
from edgekd.distill.taps import Taps
from edgekd.train.device import channels_first, channels_last, lay_out, make_fabric

# A network's own path: what it gives.
LOGITS = ""


class Live:
    """A copy of ``teacher`` in evaluation mode on the training's device; the teacher itself stays as it is.

    Kernels of a CPU are chosen by the size of the batch, and the last bits with them. In batches of one size a sample
    has the same bits whichever samples are with it, so all have :attr:`batch_size` here, also the last one.

    Args:
        layers: to be tapped, as of :class:`~edgekd.distill.taps.Taps`.
        last: whether the student trains in the channels-last layout.
        float32: as of :func:`edgekd.train.fit`.
    """

    def __init__(
        self, teacher: nn.Module, data: DataSet, views: Views, layers: Sequence[str], last: bool, float32: bool
    ):
        self.data, self.views, self.layers, self.last = data, views, tuple(dict.fromkeys(layers)), last
        self.fabric = make_fabric(float32)
        self.network = lay_out(deepcopy(teacher).to(self.fabric.device).eval(), last)
        # Training drops a last batch that is not full, unless it is the only one.
        self.batch_size = min(data.batch_size, len(data.train))

    def batches(self, start: int, stop: int) -> list[Tensor]:
        """The indices of samples in order; the last batch is filled with its own once more."""
        parts = torch.arange(start, stop).split(self.batch_size)
        return [part[torch.arange(self.batch_size) % len(part)] for part in parts]

    def answers(self, raw: Tensor, indices: Tensor, view: int) -> dict[str, Tensor]:
        """The logits and the tapped layers' features, (N, \\*shape) float32 on the CPU, by path."""
        inputs = self.data.to_input(self.views.augment(raw, self.data.augment, view, indices))
        inputs = (channels_last(inputs) if self.last else channels_first(inputs)).to(self.fabric.device)
        with torch.no_grad(), self.fabric.autocast(), Taps(self.network, self.layers) as taps:
            logits = self.network(inputs)
        return {path: x.float().cpu() for path, x in {LOGITS: logits, **taps.read()}.items()}
