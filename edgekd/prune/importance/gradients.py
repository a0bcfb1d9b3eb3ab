"""Gradients that importances such as Taylor and Fisher need in the weights before they score."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from edgekd.errors import ModelError
from edgekd.machine_lock import give_way, training
from edgekd.prune.group_members import GroupMember
from edgekd.prune.registry import Gradients
from edgekd.tasks.tensors import Inputs, arguments_of

# Inputs and labels, which may be any nesting of tensors.
Batches = Iterable[tuple[Inputs, Any]]
# Of the network's output and the labels.
Loss = Callable[[Any, Any], Tensor]
# As BackPACK keeps what autograd does not.
SQUARED = "squared_grad"


@contextmanager
def collect_gradients(network: nn.Module, batches: Batches | None, loss: Loss, kind: Gradients) -> Iterator[None]:
    """Store in the weights the gradients that an importance needs; on leaving, restore ``network``.

    Gradients are those of the network in evaluation mode, for all parameters, frozen ones too. They stay with these
    very parameters: a deep copy has none.

    >>> with collect_gradients(network, batches, F.cross_entropy, importance.gradients):  # doctest: +SKIP
    ...     scores = [importance(group) for group in groups]

    Args:
        batches: (inputs, labels), samples along the first dimension of all their tensors; read only where ``kind``
            asks for them.
        loss: ``loss(outputs, labels)``, a scalar, the mean over the samples.
        kind: an importance's ``gradients``. ``batch`` stores the gradient of the mean loss over all samples in
            ``.grad``. ``sample`` stores the mean over the samples of each one's squared gradient in
            ``.squared_grad``, at one forward and backward pass for each. ``none`` does nothing.

    Raises:
        ModelError: no batches, a loss that is not a scalar of the weights, or a gradient that is not finite.
    """
    if kind not in get_args(Gradients):
        raise ModelError(f"unknown kind of gradients {kind!r}; known: {', '.join(get_args(Gradients))}")
    if kind == "none":
        yield
        return
    if batches is None:
        raise ModelError("this importance needs gradients: give batches of inputs and labels, or choose another one")
    with restoring(network):
        network.eval()
        for parameter in network.parameters():
            parameter.grad = None
            parameter.requires_grad_(parameter.is_floating_point())
        with training():
            means = _means(network, batches, loss, kind)
        for parameter, mean in means.items():
            if kind == "batch":
                parameter.grad = mean
            else:
                setattr(parameter, SQUARED, mean)
        yield


@contextmanager
def restoring(network: nn.Module) -> Iterator[None]:
    """Restore training modes, gradients and ``requires_grad`` on leaving; parameters cut meanwhile have no gradient."""
    modes = {module: module.training for module in network.modules()}
    before = {
        name: (each, each.grad, getattr(each, SQUARED, None), each.requires_grad)
        for name, each in network.named_parameters()
    }
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for name, parameter in network.named_parameters():
            same, grad, squared, requires_grad = before.get(name, (None, None, None, parameter.requires_grad))
            parameter.grad = grad if parameter is same else None
            parameter.__dict__.pop(SQUARED, None)
            if parameter is same and squared is not None:
                setattr(parameter, SQUARED, squared)
            parameter.requires_grad_(requires_grad)


def gradient_of(member: GroupMember) -> Tensor:
    """Return the loss's gradient for the member's weight, stored by ``collect_gradients``.

    Raises:
        ModelError: it is not there.
    """
    return _found(member, member.weight.grad, "batch")


def squared_gradient_of(member: GroupMember) -> Tensor:
    """Return the mean square of the samples' gradients for the member's weight, stored by ``collect_gradients``.

    Raises:
        ModelError: it is not there.
    """
    return _found(member, getattr(member.weight, SQUARED, None), "sample")


def _found(member: GroupMember, gradient: Tensor | None, kind: Gradients) -> Tensor:
    if gradient is None:
        raise ModelError(
            f"{member.name} has no gradients to rank channels by: score the network itself, not a copy of it, inside "
            f"collect_gradients(network, batches, loss, {kind!r})"
        )
    return gradient


def _means(network: nn.Module, batches: Batches, loss: Loss, kind: Gradients) -> dict[nn.Parameter, Tensor]:
    sums = {each: torch.zeros_like(each) for each in network.parameters() if each.requires_grad}
    if not sums:
        raise ModelError(f"{type(network).__name__} has no weights to take gradients for: choose another importance")
    device = next(iter(sums)).device
    samples = 0
    for inputs, labels in batches:
        arguments = arguments_of(inputs)
        count = len(arguments[0])
        size = 1 if kind == "sample" else count
        batch = tree_map(lambda tensor: tensor.to(device), (arguments, labels))
        for start in range(0, count, size):
            some, some_labels = tree_map(itemgetter(slice(start, start + size)), batch)
            gradients = _gradients(network, some, some_labels, loss, list(sums))
            give_way()
            for total, gradient in zip(sums.values(), gradients, strict=True):
                if gradient is not None:
                    total += gradient.square() if kind == "sample" else size * gradient
        samples += count
    if not samples:
        raise ModelError("no batch to take gradients from: give at least one")
    names = {each: name for name, each in network.named_parameters()}
    for parameter, total in sums.items():
        if not torch.isfinite(total).all():
            raise ModelError(
                f"the gradient of {names[parameter]!r} is infinite or not a number: look at the loss on the batches "
                "given, or prune the network as it was before it diverged"
            )
    return {parameter: total / samples for parameter, total in sums.items()}


def _gradients(
    network: nn.Module, inputs: Sequence[Tensor], labels: Any, loss: Loss, parameters: list[nn.Parameter]
) -> tuple[Tensor | None, ...]:
    with torch.enable_grad():
        value = loss(network(*inputs), labels)
    if value.numel() != 1 or not value.requires_grad:
        raise ModelError(
            f"the loss must be one number that depends on the weights, got {tuple(value.shape)}: reduce it to the mean "
            "over the samples, and do not detach it"
        )
    return torch.autograd.grad(value, parameters, allow_unused=True)
