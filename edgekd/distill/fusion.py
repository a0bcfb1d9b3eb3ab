"""Fusion of a teacher for inference: BatchNorm folded into convolutions, and ReLU in place."""

import operator
from collections import Counter
from functools import cache

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node, symbolic_trace
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgekd.distill.ensemble import Ensemble
from edgekd.errors import first_line
from edgekd.log import get_logger
from edgekd.models.copies import copied
from edgekd.precision import ieee_float32
from edgekd.tasks.signature import Shape, Signature
from edgekd.tasks.tensors import output_tensors

logger = get_logger(__name__)

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
RELU = {nn.ReLU, nn.ReLU6, F.relu, torch.relu}
# Their results are tensors of their own, which nothing else reads where they have one user.
NEW = {*CONVOLUTIONS, *NORMS, nn.Linear, operator.add, torch.add}
# Outputs that differ by more than this share of the largest are not those of the same network.
TOLERANCE = 1e-4


def fuse_teacher(teacher: nn.Module, input_shape: Shape | Signature) -> nn.Module:
    """Return a copy of ``teacher`` for inference that gives the same outputs, up to rounding, in less time.

    BatchNorm is folded into the convolution before it, and ReLU writes in place. Of an ensemble each member is fused.
    Layers keep their paths, but what they give changes: a loss that compares features takes ``teacher`` itself.
    Where nothing can be fused, or ``torch.fx`` cannot trace the network, ``teacher`` itself is returned, and the log
    says why.

    >>> distillation = Distillation(fuse_teacher(teacher, (3, 32, 32)), KD())  # doctest: +SKIP
    """
    if isinstance(teacher, Ensemble):
        return Ensemble([fuse_teacher(each, input_shape) for each in teacher.teachers], **teacher.options)
    plain = copied(teacher).eval()
    try:
        fused = symbolic_trace(copied(plain))
        folded = _fold(fused)
        if folded and _difference(plain, fused, input_shape) <= TOLERANCE:
            return fused
        why = "its outputs change" if folded else "no BatchNorm follows a convolution"
    except Exception as error:  # the forward pass is the user's code
        why = f"torch.fx cannot trace it ({first_line(error)})"
    _say_unfused(type(teacher).__name__, why)
    return teacher


@cache
def _say_unfused(name: str, why: str) -> None:
    logger.info(f"the teacher {name} runs as it is, not fused: {why}")


def _fold(network: GraphModule) -> int:
    """Fuse ``network``, in evaluation mode, in place; return how many BatchNorms it no longer has."""
    calls, folded = Counter(node.target for node in network.graph.nodes), 0
    for node in list(network.graph.nodes):
        kind, before = _kind(network, node), next(iter(node.all_input_nodes), None)
        if before is None or len(before.users) > 1:
            continue
        alone = calls[node.target] == calls[before.target] == 1
        if kind in NORMS and _kind(network, before) in CONVOLUTIONS and alone and _can_fold(network, node, before):
            convolution, norm = (network.get_submodule(str(each.target)) for each in (before, node))
            assert isinstance(convolution, CONVOLUTIONS)
            assert isinstance(norm, NORMS)
            network.set_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
            node.replace_all_uses_with(before)
            network.graph.erase_node(node)
            folded += 1
        elif kind in RELU and _kind(network, before) in NEW:
            _write_in_place(network, node, calls[node.target] == 1)
    network.delete_all_unused_submodules()
    network.recompile()
    return folded


def _kind(network: GraphModule, node: Node) -> object:
    """Return the class of the module that ``node`` calls, or the function."""
    return type(network.get_submodule(str(node.target))) if node.op == "call_module" else node.target


def _can_fold(network: GraphModule, *nodes: Node) -> bool:
    modules = [network.get_submodule(str(node.target)) for node in nodes]
    hooked = any(each._forward_hooks or each._forward_pre_hooks for each in modules)
    return not hooked and all(getattr(each, "running_mean", each) is not None for each in modules)


def _write_in_place(network: GraphModule, node: Node, alone: bool) -> None:
    if node.op != "call_module":
        node.target, node.kwargs = torch.relu_, {}
        node.args = tuple(node.all_input_nodes)
    elif alone:
        network.get_submodule(str(node.target)).inplace = True  # type: ignore[assignment]


@torch.no_grad()
def _difference(plain: nn.Module, fused: nn.Module, input_shape: Shape | Signature) -> float:
    """Return by how much outputs on two random samples differ, as a share of the largest value of an output."""
    weight = next(plain.parameters())
    example = Signature.of(input_shape).example(2, like=weight, generator=torch.Generator().manual_seed(0))
    with ieee_float32():
        expected, found = (output_tensors(network(*(each.clone() for each in example))) for network in (plain, fused))
    return max(_relative(expected[name], found[name]) for name in expected)


def _relative(expected: Tensor, found: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
