"""A traced forward pass, and the layers of a network whose features can be compared."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from edgekd.distill.probe import SAMPLES, Snapshot, as_map, run_example, snapshot, unwrapped
from edgekd.tasks.signature import Shape, Signature

INPUT = ":input"
Size = tuple[int, ...]


@dataclass(frozen=True)
class LayerCandidate:
    """A layer with features.

    Attributes:
        path: its path for :class:`edgekd.distill.feature_hooks.FeatureHooks`.
        shape: the shape of its features, without the batch.
        depth: the share of the network's innermost modules that have run when it is done, in [0, 1].
    """

    path: str
    shape: Shape
    depth: float


def candidate_layers(network: nn.Module, input_shape: Shape | Signature) -> list[LayerCandidate]:
    """Return the layers of ``network`` whose features can be compared, in the order in which they are done.

    They are called once and give one map (N, C, H, W), vectors (N, C) or tokens (N, T, C) that nothing overwrites. Of
    layers that give the same features the outermost is returned. Layers that only reshape or drop are left out, and so
    are the network's outputs. The input of the classifier is returned as ``path:input``, since few networks have a
    module that gives it. Maps with channels last, such as Swin's, cannot be distinguished and are taken for (C, H, W).

    Raises:
        TrainingError: the network does not run on such an input.
    """
    return TracedForward(network, input_shape).candidates


@dataclass(frozen=True)
class ModuleCall:
    """A call of a module, with its input and output.

    Attributes:
        begun, done: the number of innermost modules that had run before and after the call.
    """

    path: str
    module: nn.Module
    taken: Snapshot
    given: Snapshot
    begun: int
    done: int

    @property
    def passes_on(self) -> bool:
        """Tell whether the output is the input, at most in another shape."""
        return self.given.version == self.taken.version and _same(self.given.value, self.taken.value)

    @property
    def has_features(self) -> bool:
        """Tell whether the output is a map, vectors or tokens that nothing overwrites."""
        value = self.given.value
        if not isinstance(value, Tensor) or not value.is_floating_point() or self.given.overwritten:
            return False
        # These layers work on the last axis, which then holds the channels.
        channels_last = value.ndim == 4 and type(self.module) in (nn.Linear, nn.LayerNorm)
        return 2 <= value.ndim <= 4 and len(value) == SAMPLES and not channels_last and not self.passes_on

    def steps_down(self, size: Size, sizes: set[Size]) -> bool:
        """Tell whether the input has maps of ``size`` and the output maps of the next smaller one of ``sizes``."""
        before, after = _size(self.taken.value), _size(self.given.value)
        if before != size or prod(after) >= prod(size):
            return False
        return not any(prod(after) < prod(each) < prod(size) for each in sizes)


class TracedForward:
    """One forward pass of ``network``, with the inputs and outputs of its modules.

    Attributes:
        calls: the modules that were called once, in the order in which they were done.
        output: the call of the network itself.
        embedding: the input of the classifier, if it was found.
        candidates: the layers whose features can be compared, in order of depth.
    """

    def __init__(self, network: nn.Module, input_shape: Shape | Signature):
        network = unwrapped(network)
        self.leaves = 0
        self.calls: list[ModuleCall] = []
        self._open: list[tuple[Snapshot, int]] = []
        handles = []
        for path, module in network.named_modules():
            handles.append(module.register_forward_pre_hook(self._begin))
            handles.append(module.register_forward_hook(partial(self._end, path)))
        try:
            run_example(network, input_shape)
        finally:
            for handle in handles:
                handle.remove()
        often = Counter(call.path for call in self.calls)
        self.output = self.calls.pop()
        self.calls = [call for call in self.calls if often[call.path] == 1]
        self.embedding = self._embedding()
        self.candidates = self._candidates()

    def ends(self) -> dict[Size, LayerCandidate]:
        """Return the last layer of each size of maps, in order of depth."""
        maps = [each for each in self.candidates if len(each.shape) == 3 and each.shape[1:] != (1, 1)]
        sizes = {each.shape[1:] for each in maps}
        ends = {}
        for size in sizes:
            alike = [each for each in maps if each.shape[1:] == size]
            outside = [each for each in alike if not self._begins_a_step(each, size, sizes)]
            ends[size] = (outside or alike)[-1]
        return dict(sorted(ends.items(), key=lambda item: item[1].depth))

    def _begin(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._open.append((snapshot(inputs[0] if inputs else None), self.leaves))

    def _end(self, path: str, module: nn.Module, inputs: object, output: Any) -> None:
        taken, begun = self._open.pop()
        self.leaves += next(module.children(), None) is None
        self.calls.append(ModuleCall(path, module, taken, snapshot(output), begun, self.leaves))

    def _candidates(self) -> list[LayerCandidate]:
        kept: dict[tuple[int, int, int], ModuleCall] = {}
        for call in self.calls:
            if call.has_features and not self._is_output(call.given.value):
                # The outer of two modules with the same output is done later.
                key = _memory(call.given.value)
                kept.pop(key, None)
                kept[key] = call
        found = [self._candidate(call.path, call.given.value, call.done) for call in kept.values()]
        return sorted([*found, *filter(None, [self.embedding])], key=lambda each: each.depth)

    def _embedding(self) -> LayerCandidate | None:
        """Find the input of the last linear layer, looking through dropout."""
        classifier = [call for call in self.calls if type(call.module) is nn.Linear]
        if not classifier or not self._is_output(classifier[-1].given.value):
            return None
        features, logits = classifier[-1].taken, classifier[-1].given.value
        if _same(features.value, self.output.taken.value):
            return None
        readers = [
            call
            for call in self.calls
            if (_same(call.given.value, logits) or call.passes_on)
            and _same(call.taken.value, features.value)
            and call.taken.value.ndim == 2
            and not call.taken.overwritten
        ]
        # Of modules that begin together the outermost is done last.
        first = min(reversed(readers), key=lambda call: call.begun)
        return self._candidate(first.path + INPUT, features.value, first.begun)

    def _is_output(self, value: Any) -> bool:
        return any(_same(value, output) for output in tree_leaves(self.output.given.value))

    def _candidate(self, path: str, features: Tensor, leaves: int) -> LayerCandidate:
        return LayerCandidate(path, tuple(as_map(features).shape[1:]), leaves / self.leaves)

    def _begins_a_step(self, layer: LayerCandidate, size: Size, sizes: set[Size]) -> bool:
        """Tell whether ``layer`` is in the first half of a block that shrinks maps, as expanding convolutions are."""
        done = round(layer.depth * self.leaves)
        return any(
            layer.path.startswith(call.path + ".")
            and call.steps_down(size, sizes)
            and 2 * (done - call.begun) < call.done - call.begun
            for call in self.calls
        )


def _size(value: Any) -> Size:
    return tuple(as_map(value).shape[2:]) if isinstance(value, Tensor) else ()


def _same(one: Any, other: Any) -> bool:
    """Tell whether two tensors are the same numbers in memory."""
    return isinstance(one, Tensor) and isinstance(other, Tensor) and _memory(one) == _memory(other)


def _memory(tensor: Tensor) -> tuple[int, int, int]:
    return tensor.untyped_storage().data_ptr(), int(tensor.storage_offset()), tensor.numel()
