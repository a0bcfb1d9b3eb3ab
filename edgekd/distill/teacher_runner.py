"""Runs a teacher exactly as in a student's training, so that its outputs have the same bits."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgekd.data import DataSet
from edgekd.data.views import Views
from edgekd.distill.feature_hooks import FeatureHooks
from edgekd.models.copies import copied
from edgekd.precision import ieee_float32
from edgekd.tasks.logits import must_have_outputs
from edgekd.tasks.signature import LOGITS as NAME
from edgekd.tasks.signature import call
from edgekd.tasks.tensors import Named
from edgekd.train.device import laid_out, lay_out, make_fabric

# The path of a network itself, whose output is the logits; other outputs have it before their names.
LOGITS, OUTPUT = "", "output "


class TeacherRunner:
    """A copy of ``teacher`` in evaluation mode on the training's device; the teacher itself stays as it is.

    CPU kernels, and so the last bits of outputs, depend on the size of the batch. In batches of one size a sample has
    the same bits whatever the other samples, so all batches have :attr:`batch_size` here, also the last one.

    Args:
        layers: paths of layers whose features are returned, as for
            :class:`~edgekd.distill.feature_hooks.FeatureHooks`.
        last: whether the student trains in the channels-last layout.
        float32: as for :func:`edgekd.train.fit`.
    """

    def __init__(
        self, teacher: nn.Module, data: DataSet, views: Views, layers: Sequence[str], last: bool, float32: bool
    ):
        self.data, self.views, self.layers, self.last = data, views, tuple(dict.fromkeys(layers)), last
        self.float32, self.fabric = float32, make_fabric(float32)
        self.network = lay_out(copied(teacher).to(self.fabric.device).eval(), last)
        # Training drops a last batch that is not full, unless it is the only one.
        self.batch_size = min(data.batch_size, len(data.train))

    def batches(self, start: int, stop: int) -> list[Tensor]:
        """Return the indices of samples in order, by batch; the last batch is filled up with its own samples."""
        parts = torch.arange(start, stop).split(self.batch_size)
        return [part[torch.arange(self.batch_size) % len(part)] for part in parts]

    def outputs(self, raw: Named, indices: Tensor, view: int) -> dict[str, Tensor]:
        """Return the task's outputs and the layers' features, (N, \\*shape) float32 on the CPU, by path."""
        seen = self.views.augment(raw, self.data.augment, view, indices) if isinstance(raw, Tensor) else raw
        inputs = laid_out(self.data.to_input(seen), self.fabric.device, self.last)
        with (
            torch.no_grad(),
            self.fabric.autocast(),
            FeatureHooks(self.network, self.layers) as hooks,
            ieee_float32(self.float32),
        ):
            found, wanted = call(self.network, inputs), self.data.task.output_shapes
        must_have_outputs({name: tuple(x.shape) for name, x in found.items()}, wanted, type(self.network).__name__)
        outputs = {path_of(name): found[name] for name in wanted or found}
        return {path: x.float().cpu() for path, x in {**outputs, **hooks.read()}.items()}


def path_of(output: str) -> str:
    """Return the path that stands for the output of that name."""
    return LOGITS if output == NAME else f"{OUTPUT}{output}"


def output_at(path: str) -> str | None:
    """Return the name of the output that ``path`` stands for, or None for a layer."""
    if path == LOGITS:
        return NAME
    return path.removeprefix(OUTPUT) if path.startswith(OUTPUT) else None
