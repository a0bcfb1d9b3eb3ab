"""Between a network on disk and one in memory: build, change as the stages did, fill, in that order."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from edgekd.artifact import Artifact, fill
from edgekd.data import DataSet
from edgekd.errors import ModelError, first_line
from edgekd.models import Checkpoint, build, code_of, load_checkpoint
from edgekd.models.fold import fold
from edgekd.models.signature import find_signature
from edgekd.spec import MODEL, Spec, Transform
from edgekd.stages.factorize.options import Factorize
from edgekd.stages.prune.options import Prune
from edgekd.stages.quantize.options import Quantize
from edgekd.stages.registry import STAGES
from edgekd.strict_json import build_record
from edgekd.tasks.logits import fits
from edgekd.tasks.signature import INPUT, LOGITS, Shape, Signature
from edgekd.tasks.tensors import arguments_of, output_tensors
from edgekd.train.device import lay_out

if TYPE_CHECKING:
    from edgekd.tasks.task import OutputShape


def spec_for(model: str, args: Mapping[str, object], data: DataSet) -> Spec:
    """Describe the network ``model`` for the inputs and classes of ``data``; of several tensors, by running it once.

    Raises:
        ModelError: there is no such network, or it takes the inputs in another order.
    """
    shape, classes, signature = data.input_shape, _width(model, args, data), None
    if not shape or list(data.task.output_shapes) != [LOGITS]:
        example = data.example()
        network = build(model, shape, classes, **args)
        signature = find_signature(network, example, open=data.open, limits=data.open_sizes)
        if shape:
            signature = replace(signature, inputs=Signature.of(shape).inputs)
        own, given = [each.name for each in signature.inputs], [INPUT] if shape else list(example)
        if own != given:
            raise ModelError(
                f"{model} takes {', '.join(own)}, and the data give {', '.join(given)}: give the arrays in the "
                "order of forward's parameters"
            )
    code = code_of(model, shape, classes, dict(args), signature)
    return Spec(model, shape, classes, dict(args), code=code, signature=signature)


def _width(model: str, args: Mapping[str, object], data: DataSet) -> int:
    """Return the size of the network's last layer: that of its logits, if the task fixes it, else one for each name.

    Where the task decodes logits of several shapes, it is that of the first shape that the network gives with it.
    """
    shapes = data.task.output_shapes.get(LOGITS) or ((None,),)
    widths = [shape[0] or len(data.classes) for shape in shapes]
    if len(shapes) == 1:
        return widths[0]
    tried = (width for width, shape in zip(widths, shapes, strict=True) if _gives(model, args, data, width, shape))
    return next(tried, widths[0])


def _gives(model: str, args: Mapping[str, object], data: DataSet, width: int, shape: "OutputShape") -> bool:
    with suppress(Exception), torch.random.fork_rng(devices=[]), torch.no_grad():  # what fails is refused later
        network = build(model, data.input_shape, width, **args).eval()
        found = output_tensors(network(*arguments_of(data.example())))
        return LOGITS in found and fits(tuple(found[LOGITS].shape[1:]), [shape])
    return False


def build_spec(spec: Spec, checkpoint: Checkpoint | None = None) -> nn.Module:
    """Build the network that ``spec`` describes, with random weights, ready to be filled.

    Args:
        checkpoint: the weights of the network as its builder makes it, before computed ones are folded into plain ones.
    """
    if spec.code != code_of(spec.builder, spec.input_shape, spec.num_classes, spec.args, spec.signature):
        raise ModelError(
            f"{spec.builder} has changed since this network was saved: bring the old file back, or run again"
        )
    network = build(spec.builder, spec.input_shape, spec.num_classes, **spec.args)
    if checkpoint is not None:
        load_checkpoint(network, checkpoint.path, checkpoint.new_head, checkpoint.key)
    fold(network)
    for transform in spec.transforms:
        network = _changed(network, transform, spec)
    return network


def _changed(network: nn.Module, transform: Transform, spec: Spec) -> nn.Module:
    if transform.stage not in STAGES:
        raise ModelError(
            f"this network of {spec.builder_name} was changed by a stage {transform.stage!r} that this edgekd does "
            f"not have; it has {', '.join(STAGES)}: bring edgekd up to date, or run again"
        )
    if transform.stage not in TRANSFORMS:
        raise ModelError(f"{transform.stage} changes no network's structure: the file is damaged; run again")
    try:
        return TRANSFORMS[transform.stage](network, transform.change, spec.inputs)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"the change by {transform.stage} in {MODEL} does not fit {spec.builder_name}: {first_line(error)}; "
            "run again"
        ) from error


def _cut(network: nn.Module, plan: Any, input_shape: Shape | Signature) -> nn.Module:
    from edgekd.prune import apply_plan

    if not isinstance(plan, list):
        raise TypeError(f"a channel plan is a list, not a {type(plan).__name__}")
    apply_plan(network, plan, input_shape)
    return network


def _factorized(network: nn.Module, plan: Any, input_shape: Shape | Signature) -> nn.Module:
    from edgekd.factorize import apply_plan

    if not isinstance(plan, list):
        raise TypeError(f"a factorisation's plan is a list, not a {type(plan).__name__}")
    return apply_plan(network, plan)


def _quantized(network: nn.Module, change: Any, input_shape: Shape | Signature) -> nn.Module:
    """Simulate the quantisation; in half precision only the file is another."""
    from edgekd.quantize import prepare

    if not isinstance(change, dict):
        raise TypeError(f"a quantisation is a mapping, not a {type(change).__name__}")
    if "profile" not in change:
        return network
    return prepare(network, input_shape, change["profile"], places=change.get("places", 1))


# The structure that stages give a network, from their transforms in its spec. A network of floats needs none of the
# imports.
TRANSFORMS: dict[str, Callable[[nn.Module, Any, Shape | Signature], nn.Module]] = {
    Prune.name: _cut,
    Factorize.name: _factorized,
    Quantize.name: _quantized,
}


def restore(artifact: Artifact) -> nn.Module:
    """Build the network of ``artifact`` in evaluation mode, giving the same outputs to the bit as when it was saved."""
    network = build_spec(artifact.spec)
    fill(network, artifact.tensors)
    # Training leaves convolutions in this layout, and the layout decides the order of sums.
    lay_out(network)
    return network if is_simulated(artifact.spec) else network.eval()


def is_simulated(spec: Spec) -> bool:
    """Return whether the network is a graph that simulates 8 bits; in half precision only its file is another."""
    return quantization_of(spec).profile is not None


@dataclass(frozen=True)
class Quantization:
    """How a network is quantised; all None if it is not.

    Attributes:
        profile: what its simulated 8 bits are trained for.
        placement: how the int8 layers of its file are chosen.
        precision: float16 where only the file is another.
    """

    profile: str | None = None
    placement: str | None = None
    precision: str | None = None


def quantization_of(spec: Spec) -> Quantization:
    """Return how the network is quantised."""
    return build_record(Quantization, spec.change_by(Quantize.name) or {})


def load(folder: Path | str) -> nn.Module:
    """Load the network in a stage's folder.

    >>> network = edgekd.load("runs/quickstart/stages/02-prune-0123456789ab")  # doctest: +SKIP
    """
    return restore(Artifact.load(Path(folder)))


def float_twin(spec: Spec) -> Spec:
    """Return the same network before quantisation; its parameters and MACs are the quantised one's."""
    return spec.before(Quantize.name)
