"""Features of a network at layers named by their paths, and which layers of two networks go together."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import log2, prod
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from edgekd.distill.layers import INPUT, LayerCandidate, Pass, Size, candidates
from edgekd.distill.probe import Seen, as_map, run, see, unwrapped
from edgekd.distill.registry import Shape
from edgekd.errors import TrainingError
from edgekd.registry import nearest

__all__ = ["LayerCandidate", "Taps", "as_map", "candidates", "pair", "shapes"]

# Layers of one size that lie farther apart than this share of the depth do not do the same work.
FAR = 1 / 3


class Taps:
    """Features of ``network`` in its last pass.

    >>> with Taps(network, ["layer2", "linear:input"]) as taps:  # doctest: +SKIP
    ...     logits = network(inputs)
    >>> features = taps.read()["layer2"]  # doctest: +SKIP

    Maps are (N, C, H, W) and vectors (N, C), as the layers give them; tokens (N, T, C) become maps, see :func:`as_map`.
    Gradients flow through features where they flow through the network.

    Args:
        network: a wrapper around it may be called in its place; one by Fabric or DistributedDataParallel may be given,
            and paths are those of the network inside.
        paths: of modules that are called once in a pass, or ``path:input`` for what such a module takes: so an
            embedding can be had that no module gives.

    Raises:
        TrainingError: a path that names no module.
    """

    def __init__(self, network: nn.Module, paths: Sequence[str]):
        self.network = unwrapped(network)
        self.modules = {path: _module(self.network, path) for path in paths}
        self._handles: list[RemovableHandle] = []
        self._found: dict[str, list[Seen]] | None = None
        self._passing = False

    def __enter__(self) -> "Taps":
        self.attach()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.detach()
        if error is not None:
            self._found = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy of a tapped network has no features yet, and tensors with gradients cannot be copied.
        return {**self.__dict__, "_found": None}

    def attach(self) -> None:
        """Records each pass from now on; what was not read of the one before is forgotten."""
        if self._handles:
            return
        self._handles.append(self.network.register_forward_pre_hook(self._begin))
        for path, module in self.modules.items():
            if path.endswith(INPUT):
                self._handles.append(module.register_forward_pre_hook(partial(self._take, path)))
            else:
                self._handles.append(module.register_forward_hook(partial(self._give, path)))
        self._handles.append(self.network.register_forward_hook(self._end, always_call=True))

    def detach(self) -> None:
        """Takes all hooks off the network; what they found can still be read."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def read(self) -> dict[str, Tensor]:
        """The features by path, which are forgotten here.

        Raises:
            TrainingError: the network was not called since the last reading; a module was not called in the last pass,
                or several times; what it gives is not one tensor of floating-point numbers, or is overwritten later.
        """
        found, self._found = self._found, None
        if found is None:
            raise TrainingError(f"{type(self.network).__name__} was not called since its features were last read")
        return {path: as_map(_features(path, calls)) for path, calls in found.items()}

    def _begin(self, *_: object) -> None:
        self._found, self._passing = {path: [] for path in self.modules}, True

    def _end(self, *_: object) -> None:
        self._passing = False

    def _take(self, path: str, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        first = inputs[0] if inputs else None
        # Dropout in place overwrites what it takes.
        self._record(path, first.clone() if isinstance(first, Tensor) else first)

    def _give(self, path: str, _module: nn.Module, _inputs: object, output: Any) -> None:
        self._record(path, output)

    def _record(self, path: str, value: Any) -> None:
        # Checkpointed modules run again in the backward pass.
        if self._passing and self._found is not None:
            self._found[path].append(see(value))


def shapes(network: nn.Module, paths: Sequence[str], input_shape: tuple[int, ...]) -> list[Shape]:
    """Those of the features at ``paths``, without their batch, in evaluation mode.

    The network's modes and buffers and the random state are left as they are.

    Raises:
        TrainingError: as of :class:`Taps`, or the network does not run on such an input.
    """
    with Taps(network, paths) as taps:
        run(taps.network, input_shape)
    features = taps.read()
    return [tuple(features[path].shape[1:]) for path in paths]


def pair(
    student: nn.Module, teacher: nn.Module, input_shape: tuple[int, ...], count: int | None = None
) -> list[tuple[str, str]]:
    """Layers (of the student, of the teacher) to be compared: the ends of stages, then what the classifiers take.

    A stage is all that has maps of one size, except for the layers in which a block that shrinks them begins. Stages
    go together that end in maps of one size. Where none do, or a pair of them is more than a third of the depth apart,
    sizes are taken relative to the smallest of each network instead, to the nearest power of two. Maps of one pixel are
    no stage.

    Args:
        count: the deepest so many pairs; all where it is left out.

    Raises:
        TrainingError: nothing goes together, or as of :func:`candidates`.
    """
    if count is not None and count < 1:
        raise TrainingError(f"{count} pairs of layers cannot be had: give 1 or more, or leave count out for all")
    ours, theirs = (Pass(network, input_shape) for network in (student, teacher))
    pairs = _together(ours.ends(), theirs.ends())
    if ours.embedding and theirs.embedding:
        pairs.append((ours.embedding, theirs.embedding))
    if not pairs:
        raise TrainingError(
            f"no layers of {type(student).__name__} and {type(teacher).__name__} go together by depth and resolution: "
            "name them in pairs, student and teacher"
        )
    return [(one.path, other.path) for one, other in pairs][-(count or 0) :]


def _together(
    ours: Mapping[Size, LayerCandidate], theirs: Mapping[Size, LayerCandidate]
) -> list[tuple[LayerCandidate, LayerCandidate]]:
    pairs = [(ours[size], theirs[size]) for size in ours if size in theirs]
    if pairs and all(abs(one.depth - other.depth) <= FAR for one, other in pairs):
        return pairs
    first, second = _by_octave(ours), _by_octave(theirs)
    return [(first[octave], second[octave]) for octave in first if octave in second]


def _by_octave(ends: Mapping[Size, LayerCandidate]) -> dict[int, LayerCandidate]:
    """By how often the sides are halved from there to the smallest map."""
    smallest = min(map(prod, ends), default=1)
    return {round(log2(prod(size) / smallest) / 2): end for size, end in ends.items()}


def _features(path: str, calls: Sequence[Seen]) -> Tensor:
    if len(calls) != 1:
        often = f"called {len(calls)} times" if calls else "not called"
        raise TrainingError(f"layer {path!r} was {often} in this pass: tap one that is called once")
    value = calls[0].value
    if not isinstance(value, Tensor) or not value.is_floating_point():
        what = str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
        raise TrainingError(f"{path!r} is a {what} and no tensor of features: tap a layer inside or around it")
    if calls[0].overwritten:
        raise TrainingError(
            f"what layer {path!r} gives is overwritten in place by a later one: tap that one, or build the network "
            "without operations in place"
        )
    return value


def _module(network: nn.Module, path: str) -> nn.Module:
    known = dict(network.named_modules(remove_duplicate=False))
    name = path.removesuffix(INPUT)
    if not name or name not in known:
        raise TrainingError(
            f"{type(network).__name__} has no layer {name!r}{nearest(name, filter(None, known))}; "
            "edgekd.distill.taps.candidates(network, input_shape) lists those that can be tapped"
        )
    return known[name]
