"""Proof that channel groups can be cut: a network without some channels gives what the whole one gives unread.

The dependency graph holds what is known about operations; this finds out what they do. Some channels of all groups are
cut from a copy with random weights, and its outputs are compared with those of the uncut copy whose layers do not read
these channels. They are equal unless an operation was taken for another one. Normalisation over channels is the one
thing that may change them, and stands aside in both. Only where this fails are groups tried in halves.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from edgekd.errors import first_line
from edgekd.prune.graph import ChannelGraph
from edgekd.prune.groups import ChannelGroup, unscored
from edgekd.prune.plan import Plan, cut_channels
from edgekd.prune.watch import FunctionCall, Watch, culprit

# Of the change that the cut makes: rounding in single precision is below it, a wrong channel above.
SINGLE, DOUBLE = 1e-4, 1e-7
# Layers that a line names.
SHOWN = 3


@dataclass(frozen=True)
class LeftWhole:
    """Layers that keep their one width, the operation that wants it, and the words for it."""

    layers: tuple[str, ...]
    operation: str
    reason: str

    def __str__(self) -> str:
        more = f" and {len(self.layers) - SHOWN} more" if len(self.layers) > SHOWN else ""
        return f"{', '.join(self.layers[:SHOWN])}{more}: {self.reason}"


@dataclass(frozen=True)
class _Ran:
    outputs: tuple[Tensor, ...]
    calls: Sequence[FunctionCall]
    error: Exception | None = None


def in_words(left: Sequence[LeftWhole]) -> str:
    """Return a sentence for the end of a message that asks for more than can be cut; empty where nothing is left."""
    if not left:
        return ""
    more = f"; and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
    return (
        f". Left whole: {'; '.join(map(str, left[:SHOWN]))}{more}. Write an operation so that it takes any width, as "
        "flatten(1) in place of view(-1, 512), or name its layers in prune.ignore"
    )


@dataclass(frozen=True)
class Withheld:
    """Groups that keep all of their channels.

    Attributes:
        failed: the layers of those that must not be cut.
        left: all, with those that cannot be, since their channels only go together or reach a barrier.
    """

    failed: tuple[nn.Module, ...]
    left: tuple[LeftWhole, ...]


def withheld(
    network: nn.Module, input_shape: tuple[int, ...], graph: ChannelGraph, ignored: Sequence[nn.Module] = ()
) -> Withheld:
    """Return which groups of ``graph`` cannot be cut, each with the reason.

    ``network`` itself is left as it is; ``graph`` is its own.
    """
    paths = {module: path for path, module in network.named_modules()}
    groups: dict[str, ChannelGroup] = {}
    layers: dict[str, tuple[str, ...]] = {}
    failed: dict[str, tuple[str, str]] = {}
    rigid: list[LeftWhole] = []
    for group in graph.get_all_groups(ignored):
        root = paths[group[0].dep.target.module]
        layers[root] = tuple(paths[layer] for layer in graph.layers_that_write(group))
        try:
            groups[root] = unscored(group)
            graph.must_fit(group)
        except Exception as error:  # torch-pruning meets what it does not know
            alone = {root: groups.pop(root)} if root in groups else {}
            unknown = {root: ("", f"channels cannot be followed ({first_line(error)})")}
            failed |= unknown | _Trials(network, input_shape, graph, alone).run()
            continue
        if len(groups[root].scores) == 1 < groups[root].width:
            rigid.append(LeftWhole(layers[root], "", "channels can only go all together"))
    failed |= _Trials(network, input_shape, graph, groups).run()
    barred = [
        LeftWhole(tuple(paths[layer] for layer in (root, *others)), operation, f"meets {operation}")
        for root, (others, operation) in graph.barred.items()
    ]
    tried = [LeftWhole(layers[root], *reason) for root, reason in failed.items()]
    # All layers of a group: without its root the others may look like one of their own.
    kept = dict.fromkeys(layer for root in failed for layer in layers[root])
    return Withheld(tuple(map(network.get_submodule, kept)), (*barred, *rigid, *tried))


class _Trials:
    def __init__(
        self,
        network: nn.Module,
        input_shape: tuple[int, ...],
        graph: ChannelGraph,
        groups: Mapping[str, ChannelGroup],
    ):
        generator = torch.Generator().manual_seed(0)
        self.shape, self.graph = input_shape, graph
        self.paths = {module: path for path, module in network.named_modules()}
        self.roots = {path: group.root for path, group in groups.items()}
        cuts = {path: _some(group, number, generator) for number, (path, group) in enumerate(groups.items())}
        self.cuts = {path: channels for path, channels in cuts.items() if channels}
        self.specimen = _with_random_weights(network, generator)
        self.inputs = torch.randn(2, *input_shape, generator=generator).to(next(network.parameters()).device)
        self.left: dict[str, tuple[str, str]] = {}

    def run(self) -> dict[str, tuple[str, str]]:
        """The operation and the words for each that cannot be cut."""
        if self.cuts:
            self._proven(list(self.cuts))
        return self.left

    def _proven(self, paths: list[str]) -> list[str]:
        """Those of ``paths`` that can be cut together."""
        reason = self._try(paths)
        if reason is None:
            return paths
        if len(paths) == 1:
            self.left[paths[0]] = reason
            return []
        middle = len(paths) // 2
        first, second = self._proven(paths[:middle]), self._proven(paths[middle:])
        if not first or not second or self._try(first + second) is None:
            return first + second
        for path in second:
            reason = self._try([*first, path])
            if reason is None:
                first.append(path)
            else:
                self.left[path] = reason
        return first

    def _try(self, paths: Sequence[str]) -> tuple[str, str] | None:
        """Why these cannot be cut: the operation and the words; None where they can."""
        masked, pruned = copy.deepcopy(self.specimen), copy.deepcopy(self.specimen)
        try:
            with torch.no_grad():
                self._mask(masked, paths)
            self._cut(pruned, paths)
        except Exception as error:  # torch-pruning meets a network that it does not understand
            return "", f"channels cannot be followed ({first_line(error)})"
        expected, found = _ran(masked, self.inputs), _ran(pruned, self.inputs)
        if _same(self.whole, expected, found, SINGLE):
            return None
        # What is left of single precision may be rounding.
        networks = (copy.deepcopy(self.specimen), masked, pruned)
        whole, unread, cut = (_ran(each.double(), self.inputs.double()) for each in networks)
        if found.error is None and _same(whole, unread, cut, DOUBLE):
            return None
        return culprit(expected.calls, found.calls, found.error)

    @cached_property
    def whole(self) -> _Ran:
        return _ran(self.specimen, self.inputs)

    def _cut(self, network: nn.Module, paths: Sequence[str]) -> Plan:
        return cut_channels(network, self.shape, [(path, self.cuts[path]) for path in paths])

    def _mask(self, network: nn.Module, paths: Sequence[str]) -> None:
        """Sets to zero what layers read of the channels that are cut."""
        for path in paths:
            root = self.roots[path]
            function = self.graph.get_pruner_of_module(root).prune_out_channels
            for dependency, channels in self.graph.get_pruning_group(root, function, self.cuts[path]):
                node = dependency.target
                if node.module in self.paths and self.graph.is_in_channel_pruning_fn(dependency.handler):
                    _read_no_more(network.get_submodule(self.paths[node.module]), list(channels))


def _some(group: ChannelGroup, number: int, generator: torch.Generator) -> list[int]:
    """The first channels, the last and others at random, up to half of them; where one can go, at least one.

    Neighbours lose different numbers: where an operation wants the same of both, that shows.
    """
    count = len(group.scores)
    gone = min(2 + number % max(1, count // 2 - 1), count // 2)
    scores = torch.rand(count, generator=generator)
    # An operation that counts channels from one end or the other shows where these go.
    scores[0], scores[-1] = -2, -1
    random = replace(group, scores=scores)
    return random.cut(random.keep(count - gone, 1, 1.0))


def _with_random_weights(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """A copy none of whose weights is zero, so that no channel is without a say."""
    specimen = copy.deepcopy(network).eval().requires_grad_(False)
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


def _read_no_more(layer: nn.Module, channels: list[int]) -> None:
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
            group, place = divmod(channel, inputs)
            layer.weight[group * outputs : (group + 1) * outputs, place] = 0


def _ran(network: nn.Module, inputs: Tensor) -> _Ran:
    with Watch(network) as watch, torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        try:
            return _Ran(tuple(_tensors(network(inputs))), watch.calls)
        except Exception as error:  # the user's code, with other widths than it was written for
            return _Ran((), watch.calls, error)


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from _tensors(list(output.values()))
    elif isinstance(output, Sequence) and not isinstance(output, str):
        for each in output:
            yield from _tensors(each)


def _same(whole: _Ran, expected: _Ran, found: _Ran, tolerance: float) -> bool:
    """Whether ``found`` differs from ``expected`` by little of what these differ from ``whole``."""
    if found.error is not None or len(found.outputs) != len(expected.outputs):
        return False
    pairs = list(zip(whole.outputs, expected.outputs, found.outputs, strict=True))
    if any(other.shape != exact.shape for _, exact, other in pairs):
        return False
    return all(_near(full, exact, other, tolerance) for full, exact, other in pairs)


def _near(whole: Tensor, expected: Tensor, found: Tensor, tolerance: float) -> bool:
    if not expected.isfinite().all():
        # Nothing can be seen through infinities; they are those of random weights.
        return True
    effect = float((expected - whole).abs().max()) if expected.numel() else 0.0
    error = float((found - expected).abs().max()) if expected.numel() else 0.0
    noise = torch.finfo(expected.dtype).eps * float(expected.abs().max()) if expected.is_floating_point() else 0.0
    return error <= max(tolerance * effect, noise)
