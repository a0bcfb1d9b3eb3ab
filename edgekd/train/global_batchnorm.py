"""BatchNorm over the samples of all ranks, so that several ranks train as one with larger batches."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules._functions import SyncBatchNorm
from torch.overrides import TorchFunctionMode

from edgekd.train import distributed


class GlobalBatchNorm(TorchFunctionMode):
    """Context manager in which ``F.batch_norm`` computes the statistics of a training batch over all ranks.

    Modules stay what they are: torch's ``convert_sync_batchnorm`` would replace them, knows no BatchNorm with an
    activation of its own, and needs GPUs. All ranks have equally many samples.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        called = {**dict(zip(NAMES, args, strict=False)), **(kwargs or {})}
        if func is F.batch_norm and called.get("training"):
            return _batch_norm(**called)
        return func(*args, **(kwargs or {}))


NAMES = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


class _Mean(torch.autograd.Function):
    """The mean over the ranks. Each one's loss depends on the others' inputs, so gradients are means too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return distributed.mean(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return distributed.mean(gradients[0])


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if input.device.type == "cuda":
        group, running = torch.distributed.group.WORLD, (running_mean, running_var)
        return SyncBatchNorm.apply(input, weight, bias, *running, eps, momentum, group, distributed.world_size())
    x, dims = input.float(), (0, *range(2, input.ndim))
    shape = (1, -1, *(1,) * (input.ndim - 2))
    mean = _Mean.apply(x.mean(dims))
    centred = x - mean.view(shape)
    variance = _Mean.apply(centred.square().mean(dims))
    if running_mean is not None and running_var is not None:
        count = distributed.world_size() * input.numel() // input.shape[1]
        running_mean.lerp_(mean.detach(), momentum)
        running_var.lerp_(variance.detach() * (count / max(1, count - 1)), momentum)
    result = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        result = result * weight.view(shape)
    return (result if bias is None else result + bias.view(shape)).to(input.dtype)
