"""The layers of a network that have features to compare."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from torch import Tensor, nn

from edgekd.distill.probe import SAMPLES, Seen, as_map, run, see, unwrapped
from edgekd.distill.registry import Shape

INPUT = ":input"
Size = tuple[int, ...]


@dataclass(frozen=True)
class LayerCandidate:
    """A layer to tap.

    Attributes:
        path: for :class:`edgekd.distill.taps.Taps`.
        shape: of its features without their batch.
        depth: the share of the network's innermost modules that have run when it is done, in [0, 1].
    """

    path: str
    shape: Shape
    depth: float


def candidates(network: nn.Module, input_shape: tuple[int, ...]) -> list[LayerCandidate]:
    """The layers of ``network`` that can be tapped, in the order in which they are done.

    These are called once and give one map (N, C, H, W), vectors (N, C) or tokens (N, T, C) that nothing overwrites. Of
    those that give the same features the outermost is here; what only reshapes or drops is not, nor are the logits.
    What the classifier takes is, as ``path:input``: few networks have a module that gives it. Maps with channels last,
    such as Swin's, cannot be told from others and are taken for (C, H, W).

    Raises:
        TrainingError: the network does not run on such an input.
    """
    return Pass(network, input_shape).candidates


@dataclass(frozen=True)
class ModuleCall:
    """A module was called: what it took and gave, and how many innermost modules were done before and after."""

    path: str
    module: nn.Module
    taken: Seen
    given: Seen
    begun: int
    done: int

    @property
    def passes_on(self) -> bool:
        """Whether it gives what it took, in another shape at most."""
        return self.given.version == self.taken.version and _same(self.given.value, self.taken.value)

    @property
    def has_features(self) -> bool:
        value = self.given.value
        if not isinstance(value, Tensor) or not value.is_floating_point() or self.given.overwritten:
            return False
        # These work on the last axis: it is that of the channels.
        channels_last = value.ndim == 4 and type(self.module) in (nn.Linear, nn.LayerNorm)
        return 2 <= value.ndim <= 4 and len(value) == SAMPLES and not channels_last and not self.passes_on

    def steps_down(self, size: Size, sizes: set[Size]) -> bool:
        """Whether it takes maps of ``size`` and gives them in the next smaller one of ``sizes``."""
        before, after = _size(self.taken.value), _size(self.given.value)
        if before != size or prod(after) >= prod(size):
            return False
        return not any(prod(after) < prod(each) < prod(size) for each in sizes)


class Pass:
    """One pass of ``network``, with all that its modules took and gave."""

    def __init__(self, network: nn.Module, input_shape: tuple[int, ...]):
        network = unwrapped(network)
        self.leaves = 0
        self.calls: list[ModuleCall] = []
        self._open: list[tuple[Seen, int]] = []
        handles = []
        for path, module in network.named_modules():
            handles.append(module.register_forward_pre_hook(self._begin))
            handles.append(module.register_forward_hook(partial(self._end, path)))
        try:
            run(network, input_shape)
        finally:
            for handle in handles:
                handle.remove()
        often = Counter(call.path for call in self.calls)
        self.answer = self.calls.pop()
        self.calls = [call for call in self.calls if often[call.path] == 1]
        self.embedding = self._embedding()
        self.candidates = self._candidates()

    def ends(self) -> dict[Size, LayerCandidate]:
        """The last layer of each size of maps, in order of depth."""
        maps = [each for each in self.candidates if len(each.shape) == 3 and each.shape[1:] != (1, 1)]
        sizes = {each.shape[1:] for each in maps}
        ends = {}
        for size in sizes:
            here = [each for each in maps if each.shape[1:] == size]
            outside = [each for each in here if not self._begins_a_step(each, size, sizes)]
            ends[size] = (outside or here)[-1]
        return dict(sorted(ends.items(), key=lambda item: item[1].depth))

    def _begin(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._open.append((see(inputs[0] if inputs else None), self.leaves))

    def _end(self, path: str, module: nn.Module, inputs: object, output: Any) -> None:
        taken, begun = self._open.pop()
        self.leaves += next(module.children(), None) is None
        self.calls.append(ModuleCall(path, module, taken, see(output), begun, self.leaves))

    def _candidates(self) -> list[LayerCandidate]:
        kept: dict[tuple[int, int, int], ModuleCall] = {}
        for call in self.calls:
            if call.has_features and not _same(call.given.value, self.answer.given.value):
                # The outer of two that give the same is done later.
                key = _memory(call.given.value)
                kept.pop(key, None)
                kept[key] = call
        found = [self._candidate(call.path, call.given.value, call.done) for call in kept.values()]
        return sorted([*found, *filter(None, [self.embedding])], key=lambda each: each.depth)

    def _embedding(self) -> LayerCandidate | None:
        """What the classifier takes, as the first of the modules before it that only drop takes it."""
        answer, classifier = self.answer.given.value, [call for call in self.calls if type(call.module) is nn.Linear]
        if not classifier or not _same(classifier[-1].given.value, answer):
            return None
        features = classifier[-1].taken
        if _same(features.value, self.answer.taken.value):
            return None
        takers = [
            call
            for call in self.calls
            if (_same(call.given.value, answer) or call.passes_on)
            and _same(call.taken.value, features.value)
            and call.taken.value.ndim == 2
            and not call.taken.overwritten
        ]
        # Of those that begin together the outermost is done last.
        first = min(reversed(takers), key=lambda call: call.begun)
        return self._candidate(first.path + INPUT, features.value, first.begun)

    def _candidate(self, path: str, features: Tensor, leaves: int) -> LayerCandidate:
        return LayerCandidate(path, tuple(as_map(features).shape[1:]), leaves / self.leaves)

    def _begins_a_step(self, layer: LayerCandidate, size: Size, sizes: set[Size]) -> bool:
        """Whether it lies in the first half of a block that shrinks maps by one step, as expanding convolutions do."""
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
    """Whether two are the same numbers in memory."""
    return isinstance(one, Tensor) and isinstance(other, Tensor) and _memory(one) == _memory(other)


def _memory(tensor: Tensor) -> tuple[int, int, int]:
    return tensor.untyped_storage().data_ptr(), int(tensor.storage_offset()), tensor.numel()
