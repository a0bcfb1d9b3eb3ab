"""Feature hooks on layers named by their paths, and the pairing of two networks' layers."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import log2, prod
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from edgekd.distill.probe import Snapshot, as_map, run_example, snapshot, unwrapped
from edgekd.distill.traced_forward import INPUT, LayerCandidate, Size, TracedForward, candidate_layers
from edgekd.errors import TrainingError
from edgekd.nearest import nearest
from edgekd.ranges import COUNT
from edgekd.tasks.signature import Shape, Signature

__all__ = ["FeatureHooks", "LayerCandidate", "as_map", "candidate_layers", "feature_shapes", "pair_layers"]

# Layers of one size are not paired if they lie farther apart than this share of the depth.
FAR = 1 / 3


class FeatureHooks:
    """Forward hooks that record features of ``network`` in its last forward pass.

    >>> with FeatureHooks(network, ["layer2", "linear:input"]) as hooks:  # doctest: +SKIP
    ...     logits = network(inputs)
    >>> features = hooks.read()["layer2"]  # doctest: +SKIP

    Maps are (N, C, H, W) and vectors (N, C), as the layers give them; tokens (N, T, C) become maps (:func:`as_map`).
    Gradients flow through features where they flow through the network.

    Args:
        network: the network, possibly wrapped by Fabric or DistributedDataParallel; paths are those of the network
            inside. A wrapper around it may be called in its place.
        paths: paths of modules that are called once in a forward pass, or ``path:input`` for the input of such a
            module, such as an embedding that no module gives.

    Raises:
        TrainingError: a path names no module.
    """

    def __init__(self, network: nn.Module, paths: Sequence[str]):
        self.network = unwrapped(network)
        self.modules = {path: _module(self.network, path) for path in paths}
        self._handles: list[RemovableHandle] = []
        self._found: dict[str, list[Snapshot]] | None = None
        self._passing = False

    def __enter__(self) -> "FeatureHooks":
        self.attach()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.detach()
        if error is not None:
            self._found = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy of a hooked network has no features yet, and tensors with gradients cannot be copied.
        return {**self.__dict__, "_found": None}

    def attach(self) -> None:
        """Record each forward pass from now on; features of the one before are dropped if they were not read."""
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
        """Remove all hooks from the network; recorded features can still be read."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def read(self) -> dict[str, Tensor]:
        """Return the recorded features by path, and drop them here.

        Raises:
            TrainingError: the network was not called since features were last read; a module was not called in the last
                pass, or several times; its output is not one floating-point tensor, or is overwritten later.
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
        # Dropout in place overwrites its input.
        self._record(path, first.clone() if isinstance(first, Tensor) else first)

    def _give(self, path: str, _module: nn.Module, _inputs: object, output: Any) -> None:
        self._record(path, output)

    def _record(self, path: str, value: Any) -> None:
        # Checkpointed modules run again in the backward pass.
        if self._passing and self._found is not None:
            self._found[path].append(snapshot(value))


def feature_shapes(network: nn.Module, paths: Sequence[str], input_shape: Shape | Signature) -> list[Shape]:
    """Return the shapes of the features at ``paths``, without the batch, in evaluation mode.

    The network's modes and buffers and the random state are left as they are.

    Raises:
        TrainingError: as for :class:`FeatureHooks`; or the network does not run on such an input.
    """
    with FeatureHooks(network, paths) as hooks:
        run_example(hooks.network, input_shape)
    features = hooks.read()
    return [tuple(features[path].shape[1:]) for path in paths]


def pair_layers(
    student: nn.Module, teacher: nn.Module, input_shape: Shape | Signature, count: int | None = None
) -> list[tuple[str, str]]:
    """Pair layers of the student and the teacher: the ends of stages, then the inputs of the classifiers.

    A stage is all layers with maps of one size, without those at the beginning of a block that shrinks the maps. Stages
    with maps of one size are paired. If there are none, or a pair is more than a third of the depth apart, sizes are
    compared relative to each network's smallest, to the nearest power of two. Maps of one pixel are no stage.

    Args:
        count: the number of pairs to return, the deepest; all if left out.

    Raises:
        TrainingError: no layers can be paired; and as for :func:`candidate_layers`.
    """
    if count is not None and count not in COUNT:
        raise TrainingError(f"{count} pairs of layers cannot be had: give 1 or more, or leave count out for all")
    own, reference = (TracedForward(network, input_shape) for network in (student, teacher))
    pairs = _paired(own.ends(), reference.ends())
    if own.embedding and reference.embedding:
        pairs.append((own.embedding, reference.embedding))
    if not pairs:
        raise TrainingError(
            f"no layers of {type(student).__name__} and {type(teacher).__name__} go together by depth and resolution: "
            "name them in pairs, student and teacher"
        )
    return [(one.path, other.path) for one, other in pairs][-(count or 0) :]


def _paired(
    student: Mapping[Size, LayerCandidate], teacher: Mapping[Size, LayerCandidate]
) -> list[tuple[LayerCandidate, LayerCandidate]]:
    pairs = [(student[size], teacher[size]) for size in student if size in teacher]
    if pairs and all(abs(one.depth - other.depth) <= FAR for one, other in pairs):
        return pairs
    first, second = _by_octave(student), _by_octave(teacher)
    return [(first[octave], second[octave]) for octave in first if octave in second]


def _by_octave(ends: Mapping[Size, LayerCandidate]) -> dict[int, LayerCandidate]:
    """Key layers by how often the sides are halved from there to the smallest map."""
    smallest = min(map(prod, ends), default=1)
    return {round(log2(prod(size) / smallest) / 2): end for size, end in ends.items()}


def _features(path: str, calls: Sequence[Snapshot]) -> Tensor:
    if len(calls) != 1:
        often = f"called {len(calls)} times" if calls else "not called"
        raise TrainingError(f"layer {path!r} was {often} in this pass: choose one that is called once")
    value = calls[0].value
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
        raise TrainingError(f"{path!r} is a {kind} and no tensor of features: choose a layer inside or around it")
    if calls[0].overwritten:
        raise TrainingError(
            f"what layer {path!r} gives is overwritten in place by a later one: choose that one, or build the network "
            "without operations in place"
        )
    return value


def _module(network: nn.Module, path: str) -> nn.Module:
    known = dict(network.named_modules(remove_duplicate=False))
    name = path.removesuffix(INPUT)
    if not name or name not in known:
        raise TrainingError(
            f"{type(network).__name__} has no layer {name!r}{nearest(name, filter(None, known))}; "
            "edgekd.distill.feature_hooks.candidate_layers(network, input_shape) lists those that can be used"
        )
    return known[name]
