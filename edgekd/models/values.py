"""Checks of the tensors of a checkpoint."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.models.choice import shortened


def must_be_weights(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a ``state`` from ``path`` with tensors that ``network`` cannot compute with.

    Raises:
        ModelError: codes of a quantised network, values that are not finite in the network's own type, tensors
            without values, or only zeros; the message says which and where.
    """
    parameters = dict(network.named_parameters(remove_duplicate=False))
    own = network.state_dict()
    wrong = [f"{n} {why}" for n, value in state.items() if (why := _wrong(n, value, own[n], n in parameters))]
    if wrong:
        raise ModelError(f"{path} holds what cannot be weights of this {type(network).__name__}: {shortened(wrong)}")
    matrices = [value for name, value in state.items() if name in parameters and value.ndim > 1]
    if matrices and not any(value.any() for value in matrices):
        raise ModelError(f"{path} holds a network whose weights are all 0; was it saved before it was filled?")


def _wrong(name: str, value: Tensor, own: Tensor, is_parameter: bool) -> str:
    kind = str(value.dtype).removeprefix("torch.")
    if value.is_meta:
        return "has no values (it is on the meta device); save it from a network that is in memory"
    if value.is_quantized or value.layout != torch.strided or value.is_nested:
        form = "quantised" if value.is_quantized else "sparse" if not value.is_nested else "nested"
        return f"is {form}; save it dense, in floating point"
    if not own.is_floating_point():
        same = not value.is_complex() and torch.equal(value.to(own.dtype).double(), value.double())
        return "" if same else f"is {kind}, and counts or indices are expected"
    if not value.is_floating_point():
        return f"is {kind}, not floating point; codes need their scales: save the dequantised weights"
    unusable = ~value.to(own.dtype).isfinite()
    # A mask may hold -inf where the network puts it.
    if unusable.any() and (is_parameter or not torch.equal(unusable, ~own.isfinite())):
        count, all_of = int(unusable.sum()), unusable.numel()
        return f"has {count:,} of {all_of:,} values that are not finite as {str(own.dtype).removeprefix('torch.')}"
    if name.endswith("running_var") and (value < 0).any():
        return "has negative variances"
    return ""
