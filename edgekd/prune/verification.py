"""Verification that channel groups can be cut, by a trial cut of a copy with random weights.

The dependency graph holds what is known about operations; the trial finds out what they do. Some channels of all groups
are cut, and the outputs are compared with those of an uncut copy whose layers do not read these channels. They are
equal unless an operation was taken for another one. Normalisation over channels alone may change them, and is replaced
in both. Only where the trial fails are groups tried in halves.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from edgekd.errors import ModelError, first_line
from edgekd.models.copies import copied
from edgekd.prune.call_trace import CallTrace, FunctionCall, failing_operation
from edgekd.prune.graph import ChannelGraph
from edgekd.prune.groups import ChannelGroup, unscored
from edgekd.prune.plan import Plan, cut_channels
from edgekd.tasks.signature import Shape, Signature

# Tolerance relative to the change that the cut makes: rounding is below it, a wrong channel above.
SINGLE, DOUBLE = 1e-4, 1e-7
# The most layers that a message names.
SHOWN = 3


@dataclass(frozen=True)
class Unpruned:
    """Layers that must keep their width, the operation that requires it, and the reason in words."""

    layers: tuple[str, ...]
    operation: str
    reason: str

    def __str__(self) -> str:
        more = f" and {len(self.layers) - SHOWN} more" if len(self.layers) > SHOWN else ""
        return f"{', '.join(self.layers[:SHOWN])}{more}: {self.reason}"


@dataclass(frozen=True)
class _Traced:
    outputs: tuple[Tensor, ...]
    calls: Sequence[FunctionCall]
    error: Exception | None = None


class UnreachableShare(ModelError):
    """No cut reaches the share that was asked for."""


def describe_unpruned(unpruned: Sequence[Unpruned]) -> str:
    """Return a sentence for the end of a message about a target out of reach; empty if there are no such layers."""
    if not unpruned:
        return ""
    more = f"; and {len(unpruned) - SHOWN} more" if len(unpruned) > SHOWN else ""
    return (
        f". Unpruned: {'; '.join(map(str, unpruned[:SHOWN]))}{more}. Write an operation so that it takes any width, as "
        "flatten(1) in place of view(-1, 512), or name its layers in prune.ignore"
    )


@dataclass(frozen=True)
class Unprunable:
    """The groups that keep all of their channels.

    Attributes:
        layers: layers of groups whose trial cut failed.
        reasons: these groups, and those whose channels are all coupled or reach a barrier.
    """

    layers: tuple[nn.Module, ...]
    reasons: tuple[Unpruned, ...]


def find_unprunable(
    network: nn.Module, input_shape: Shape | Signature, graph: ChannelGraph, ignored: Sequence[nn.Module] = ()
) -> Unprunable:
    """Find the groups of ``graph`` that cannot be cut, each with the reason.

    ``network`` itself is left as it is; ``graph`` must be its own.
    """
    paths = {module: path for path, module in network.named_modules()}
    groups: dict[str, ChannelGroup] = {}
    layers: dict[str, tuple[str, ...]] = {}
    failed: dict[str, tuple[str, str]] = {}
    rigid: list[Unpruned] = []
    for group in graph.get_all_groups(ignored):
        root = paths[group[0].dep.target.module]
        layers[root] = tuple(paths[layer] for layer in graph.layers_that_write(group))
        try:
            groups[root] = unscored(group)
            graph.must_fit(group)
        except Exception as error:  # torch-pruning meets what it does not know
            alone = {root: groups.pop(root)} if root in groups else {}
            unknown = {root: ("", f"channels cannot be followed ({first_line(error)})")}
            failed |= unknown | _TrialCuts(network, input_shape, graph, alone).run()
            continue
        if groups[root].is_fixed and groups[root].width > 1:
            together = len(groups[root].scores) == 1
            why = "channels can only go all together" if together else "a norm would be left with single values"
            rigid.append(Unpruned(layers[root], "", why))
    failed |= _TrialCuts(network, input_shape, graph, groups).run()
    barred = [
        Unpruned(tuple(paths[layer] for layer in (root, *others)), operation, f"meets {operation}")
        for root, (others, operation) in graph.barred.items()
    ]
    tried = [Unpruned(layers[root], *reason) for root, reason in failed.items()]
    # All layers of a group: without its root the others may look like one of their own.
    kept = dict.fromkeys(layer for root in failed for layer in layers[root])
    return Unprunable(tuple(map(network.get_submodule, kept)), (*barred, *rigid, *tried))


class _TrialCuts:
    def __init__(
        self,
        network: nn.Module,
        input_shape: Shape | Signature,
        graph: ChannelGraph,
        groups: Mapping[str, ChannelGroup],
    ):
        generator = torch.Generator().manual_seed(0)
        self.shape, self.graph = input_shape, graph
        self.paths = {module: path for path, module in network.named_modules()}
        self.roots = {path: group.root for path, group in groups.items()}
        cuts = {path: _trial_channels(group, number, generator) for number, (path, group) in enumerate(groups.items())}
        self.cuts = {path: channels for path, channels in cuts.items() if channels}
        self.specimen = _with_random_weights(network, generator)
        self.inputs = Signature.of(input_shape).example(2, next(network.parameters()), generator)
        self.failed: dict[str, tuple[str, str]] = {}

    def run(self) -> dict[str, tuple[str, str]]:
        """Return the operation and the reason for each group that cannot be cut."""
        if self.cuts:
            self._verified(list(self.cuts))
        return self.failed

    def _verified(self, paths: list[str]) -> list[str]:
        """Return those of ``paths`` that can be cut together."""
        reason = self._try(paths)
        if reason is None:
            return paths
        if len(paths) == 1:
            self.failed[paths[0]] = reason
            return []
        middle = len(paths) // 2
        first, second = self._verified(paths[:middle]), self._verified(paths[middle:])
        if not first or not second or self._try(first + second) is None:
            return first + second
        for path in second:
            reason = self._try([*first, path])
            if reason is None:
                first.append(path)
            else:
                self.failed[path] = reason
        return first

    def _try(self, paths: Sequence[str]) -> tuple[str, str] | None:
        """Return the operation and the reason for which these cannot be cut, or None if they can."""
        masked, pruned = copy.deepcopy(self.specimen), copy.deepcopy(self.specimen)
        try:
            with torch.no_grad():
                self._mask(masked, paths)
            self._cut(pruned, paths)
        except Exception as error:  # torch-pruning meets a network that it does not understand
            return "", f"channels cannot be followed ({first_line(error)})"
        expected, found = _traced(masked, self.inputs), _traced(pruned, self.inputs)
        if _same(self.uncut, expected, found, SINGLE):
            return None
        # A difference in single precision may be rounding.
        networks = (copy.deepcopy(self.specimen), masked, pruned)
        doubled = [each.double() if each.is_floating_point() else each for each in self.inputs]
        uncut, reference, cut = (_traced(each.double(), doubled) for each in networks)
        if found.error is None and _same(uncut, reference, cut, DOUBLE):
            return None
        return failing_operation(expected.calls, found.calls, found.error)

    @cached_property
    def uncut(self) -> _Traced:
        return _traced(self.specimen, self.inputs)

    def _cut(self, network: nn.Module, paths: Sequence[str]) -> Plan:
        return cut_channels(network, self.shape, [(path, self.cuts[path]) for path in paths])

    def _mask(self, network: nn.Module, paths: Sequence[str]) -> None:
        """Set the weights to zero with which layers read the channels that are cut."""
        for path in paths:
            root = self.roots[path]
            function = self.graph.get_pruner_of_module(root).prune_out_channels
            for dependency, channels in self.graph.get_pruning_group(root, function, self.cuts[path]):
                node = dependency.target
                if node.module in self.paths and self.graph.is_in_channel_pruning_fn(dependency.handler):
                    _zero_inputs(network.get_submodule(self.paths[node.module]), list(channels))


def _trial_channels(group: ChannelGroup, number: int, generator: torch.Generator) -> list[int]:
    """Choose channels to cut: the first, the last and others at random, up to half of them, and at least one.

    Neighbouring groups lose different numbers, which reveals an operation that requires the same of both.
    """
    count = len(group.scores)
    gone = min(2 + number % max(1, count // 2 - 1), count // 2)
    scores = torch.rand(count, generator=generator)
    # An operation that counts channels from one end or the other shows where these go.
    scores[0], scores[-1] = -2, -1
    random = replace(group, scores=scores)
    return random.cut(random.keep(count - gone, 1, 1.0))


def _with_random_weights(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return a copy without zero weights, so that every channel affects the outputs."""
    specimen = copied(network).eval().requires_grad_(False)
    for module in specimen.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
    for parameter in specimen.parameters():
        if parameter.is_floating_point() and parameter.ndim < 2:
            parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
        elif parameter.is_floating_point():
            scale = (2 * len(parameter) / max(1, parameter.numel())) ** 0.5
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return specimen


def _zero_inputs(layer: nn.Module, channels: list[int]) -> None:
    if isinstance(layer, nn.Linear):
        layer.weight[:, channels] = 0
    elif isinstance(layer, nn.LSTM):
        for name in ("weight_ih_l0", "weight_ih_l0_reverse")[: 1 + layer.bidirectional]:
            getattr(layer, name)[:, channels] = 0
    elif isinstance(layer, _ConvNd) and layer.transposed:
        layer.weight[channels] = 0
    elif isinstance(layer, _ConvNd):
        inputs, outputs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        for channel in channels:
            group, offset = divmod(channel, inputs)
            layer.weight[group * outputs : (group + 1) * outputs, offset] = 0


def _traced(network: nn.Module, inputs: Sequence[Tensor]) -> _Traced:
    with CallTrace(network) as trace, torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        try:
            return _Traced(tuple(_tensors(network(*inputs))), trace.calls)
        except Exception as error:  # the user's code, with other widths than it was written for
            return _Traced((), trace.calls, error)


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from _tensors(list(output.values()))
    elif isinstance(output, Sequence) and not isinstance(output, str):
        for each in output:
            yield from _tensors(each)


def _same(uncut: _Traced, expected: _Traced, found: _Traced, tolerance: float) -> bool:
    """Tell whether ``found`` equals ``expected`` within a share of the difference of ``expected`` from ``uncut``."""
    if found.error is not None or len(found.outputs) != len(expected.outputs):
        return False
    outputs = list(zip(uncut.outputs, expected.outputs, found.outputs, strict=True))
    if any(cut.shape != reference.shape for _, reference, cut in outputs):
        return False
    return all(_near(before, reference, cut, tolerance) for before, reference, cut in outputs)


def _near(uncut: Tensor, expected: Tensor, found: Tensor, tolerance: float) -> bool:
    if not expected.is_floating_point():
        uncut, expected, found = uncut.double(), expected.double(), found.double()
    if not expected.isfinite().all():
        # Infinities hide all differences; they come from the random weights.
        return True
    effect = float((expected - uncut).abs().max()) if expected.numel() else 0.0
    error = float((found - expected).abs().max()) if expected.numel() else 0.0
    noise = torch.finfo(expected.dtype).eps * float(expected.abs().max()) if expected.numel() else 0.0
    return error <= max(tolerance * effect, noise)
