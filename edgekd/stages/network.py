"""Between a network on disk and one in memory: build, cut, quantise, fill, in that order."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from edgekd.artifact import Artifact, Spec, fill
from edgekd.errors import ModelError
from edgekd.models import build, code_of
from edgekd.models.fold import fold
from edgekd.prune import apply_plan
from edgekd.quantize import prepare
from edgekd.train.device import lay_out


def build_spec(spec: Spec, load: Callable[[nn.Module], Any] | None = None) -> nn.Module:
    """The network that ``spec`` describes, with random weights, ready to be filled.

    Args:
        load: gives the network as its builder made it other weights, before computed ones are folded into plain ones.
    """
    if spec.code != code_of(spec.builder, spec.input_shape, spec.num_classes, spec.args):
        raise ModelError(
            f"{spec.builder} has changed since this network was saved: bring the old file back, or run again"
        )
    network = build(spec.builder, spec.input_shape, spec.num_classes, **spec.args)
    if load is not None:
        load(network)
    fold(network)
    for plan in spec.pruning:
        apply_plan(network, plan, spec.input_shape)
    if is_simulated(spec):
        return prepare(network, spec.input_shape, (spec.quantization or {})["profile"])
    return network


def restore(artifact: Artifact) -> nn.Module:
    """The network of ``artifact`` in evaluation mode, giving the same outputs to the bit as when it was saved."""
    network = build_spec(artifact.spec)
    fill(network, artifact.tensors)
    # Training leaves convolutions in this layout, and the layout decides the order of sums.
    lay_out(network)
    return network if is_simulated(artifact.spec) else network.eval()


def is_simulated(spec: Spec) -> bool:
    """Whether the network is a graph that simulates 8 bits; in half precision only its file is another."""
    return spec.quantization is not None and "profile" in spec.quantization


def load(folder: Path | str) -> nn.Module:
    """The network in a stage's folder.

    >>> network = edgekd.load("runs/quickstart/stages/02-prune-0123456789ab")  # doctest: +SKIP
    """
    return restore(Artifact.load(Path(folder)))


def float_twin(spec: Spec) -> Spec:
    """The same network before quantisation; its parameters and MACs are the quantised one's."""
    return replace(spec, quantization=None)
