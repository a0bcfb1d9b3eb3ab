"""Checks by a few forward passes that a network can be trained, compressed and compared."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgekd.artifact import tensors_of
from edgekd.data import DataSet
from edgekd.errors import ModelError, first_line
from edgekd.spec import Spec
from edgekd.tasks.logits import fits, shown
from edgekd.tasks.task import Task
from edgekd.tasks.tensors import Named, arguments_of, map_inputs, output_tensors, shapes_of

SAMPLES, DRAWN = 2, 2
# Large inputs, so that logits that happen to lie between 0 and 1 don't pass for probabilities.
SPREAD = 30.0
CLOSE = 1e-3


@dataclass(frozen=True)
class CheckInputs:
    """Inputs that networks are checked with.

    Attributes:
        together: training samples, then some with drawn values in place of floats: (``SAMPLES`` + ``DRAWN``, ...).
        alone: the first of them: (1, ...).
    """

    together: Named
    alone: Named


def check_inputs(data: DataSet) -> CheckInputs:
    """Make the inputs that networks for ``data`` are checked with."""
    generator = torch.Generator().manual_seed(0)

    def extended(samples: Tensor) -> Tensor:
        drawn = samples[torch.arange(DRAWN) % len(samples)]
        if samples.is_floating_point():
            drawn = torch.randn(drawn.shape, generator=generator) * SPREAD
        return torch.cat([samples, drawn.to(samples.dtype)])

    together = map_inputs(data.example(SAMPLES), extended)
    return CheckInputs(together, map_inputs(together, lambda samples: samples[:1]))


def check_network(network: nn.Module, spec: Spec, inputs: CheckInputs, task: Task, trained: bool = True) -> None:
    """Refuse a network that cannot take the data's input, give one logit per class, or learn.

    Args:
        inputs: as :func:`check_inputs` gives them.
        task: what the network is for.
        trained: a stage will train it, so that it must do in training what it does in evaluation.

    Raises:
        ModelError: it fails, gives another shape or no logits, gives values that are not finite, depends on what
            else is in the batch, on chance or on how often it ran, or gives something else in training.
    """
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ModelError(f"{spec.builder} has no parameter that can be trained")
    before = {name: value.detach().clone() for name, value in tensors_of(network).items()}
    network.eval()
    with torch.no_grad():
        passes = (inputs.together, inputs.alone, inputs.alone)
        together, alone, again = (_outputs(network, spec, each, task) for each in passes)
    if not all(each[:-DRAWN].isfinite().all() for each in together.values()):
        raise ModelError(f"{spec.builder} gives values that are not finite (NaN or infinite) on the training samples")
    if not all(torch.equal(each, again[name]) for name, each in alone.items()):
        raise ModelError(
            f"{spec.builder} gives another output each time in evaluation mode: make what is random in it depend on "
            "self.training, as nn.Dropout does"
        )
    if any(_differ(each, together[name][:1]) for name, each in alone.items()):
        raise ModelError(
            f"{spec.builder} gives a sample other logits alone than in a batch, in evaluation mode: let each sample's "
            "depend on itself only (normalise over a sample's own dimensions, or use running statistics)"
        )
    if name := _changed(network, before):
        raise ModelError(
            f"{spec.builder} changes its {name} in evaluation mode, so that its output depends on how often it ran: "
            "change it in training only (if self.training)"
        )
    task.check_outputs(together, spec.builder)
    if trained:
        _must_learn(network, spec, inputs.together, task)


def _must_learn(network: nn.Module, spec: Spec, inputs: Named, task: Task) -> None:
    outputs = _outputs(network.train(), spec, inputs, task, " in training mode")
    if not any(each.requires_grad for each in outputs.values()):
        raise ModelError(
            f"{spec.builder} gives logits in training mode that no gradient comes from: leave out no_grad and detach"
        )


def _outputs(network: nn.Module, spec: Spec, inputs: Named, task: Task, mode: str = "") -> dict[str, Tensor]:
    """The outputs that the task decodes, floats as float32."""
    n, shapes = len(arguments_of(inputs)[0]), task.output_shapes
    expected = " and ".join(f"{name} of shape {shown(each, n)}" for name, each in shapes.items()) or "outputs"
    expected = f"expected {expected} for input of shape {shapes_of(inputs)}"
    try:
        output = network(*arguments_of(inputs))
    except Exception as error:  # the forward pass is the user's code
        raise ModelError(
            f"{spec.builder} does not take this data{mode}: {expected}; it fails: {first_line(error)}"
        ) from error
    advice = "; return in training what evaluation gives (aux_logits: false, or a wrapper)" if mode else ""
    if not isinstance(output, Tensor) and not (isinstance(output, Mapping) and shapes.keys() <= output.keys()):
        raise ModelError(f"{spec.builder} gives a {type(output).__name__}{mode}; {expected}{advice}")
    given = output_tensors(output)
    found = {name: given[name] for name in shapes or given}
    for name, each in found.items():
        if not len(each.shape) or len(each) != n or (name in shapes and not fits(tuple(each.shape[1:]), shapes[name])):
            which = f" of {name}" if len(found) > 1 else ""
            raise ModelError(f"{spec.builder} gives shape {tuple(each.shape)}{which}{mode}; {expected}{advice}")
        if not each.is_floating_point():
            kind = str(each.dtype).removeprefix("torch.")
            raise ModelError(f"{spec.builder} gives {kind} values{mode}; {name} are floating-point numbers")
    return {name: each.float() for name, each in found.items()}


def _differ(alone: Tensor, together: Tensor) -> bool:
    return bool((alone - together).abs().max() > CLOSE * (1 + together.abs().max()))


def _changed(network: nn.Module, before: Mapping[str, Tensor]) -> str:
    now = tensors_of(network)
    same = {name for name, value in before.items() if name in now and _same(value, now[name].detach())}
    return next((name for name in [*before, *now] if name not in same), "")


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())
