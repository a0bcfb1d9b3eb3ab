"""Which layers of a network can be factorised, at how many positions each is computed, and why the others are left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgekd.errors import ModelError, first_line
from edgekd.factorize.decomposition import Layer, Positions
from edgekd.factorize.plan import replace
from edgekd.models.modes import in_evaluation
from edgekd.nearest import nearest
from edgekd.tasks.signature import Shape, Signature
from edgekd.tasks.tensors import shapes_of

WEIGHTED = (_ConvNd, nn.Linear, nn.Bilinear)


@dataclass(frozen=True)
class WholeLayer:
    """A layer that was not factorised, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Candidate:
    """A layer that can be factorised."""

    path: str
    layer: Layer
    positions: Positions

    @property
    def macs(self) -> int:
        return self.layer.weight.numel() * self.positions.output


def find_candidates(
    network: nn.Module, input_shape: Shape | Signature, ignore: Sequence[str] = ()
) -> tuple[list[Candidate], list[WholeLayer]]:
    """Return the layers that can be factorised, and those that cannot be; ``network`` is afterwards as it was.

    Raises:
        ModelError: a pattern of ``ignore`` matches no layer, a weight is not finite, or the network does not run on
            such an input.
    """
    layers = {path: layer for path, layer in network.named_modules() if path and isinstance(layer, WEIGHTED)}
    ignored = _matching(list(layers), ignore)
    shared = _tied(network)
    found, left = [], []
    for path, layer in layers.items():
        if path not in ignored:
            reason = "its weight is shared with another layer" if layer in shared else _obstacle(layer)
            if reason:
                left.append(WholeLayer(path, reason))
            else:
                found.append(path)
    _must_be_finite({path: layers[path] for path in found})
    probes = _probed(network, input_shape, found) if found else {}
    for path, probe in probes.items():
        if probe is None:
            left.append(WholeLayer(path, "its weight is read without calling it"))
        elif not probe.calls:
            left.append(WholeLayer(path, "it is not called in evaluation mode"))
    candidates = [
        Candidate(path, probe.layer, probe.positions()) for path, probe in probes.items() if probe and probe.calls
    ]
    return candidates, left


class _Probe(nn.Sequential):
    """A layer by itself in a sequence, as factors will be; it keeps the sizes that it is called with.

    No hook does that here: modules of torch that read weights past their layers stop doing so where one is.
    """

    def __init__(self, layer: Layer):
        super().__init__(layer)
        self.calls: list[tuple[torch.Size, torch.Size]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = super().forward(inputs)
        self.calls.append((inputs.shape, outputs.shape))
        return outputs

    @property
    def layer(self) -> Layer:
        return cast(Layer, self[0])

    def positions(self) -> Positions:
        each = [_positions(self.layer, *call) for call in self.calls]
        return Positions(*(sum(getattr(one, name) for one in each) for name in ("input", "between", "output")))


def _positions(layer: Layer, inputs: torch.Size, outputs: torch.Size) -> Positions:
    if isinstance(layer, nn.Linear):
        count = prod(outputs[:-1])
        return Positions(count, count, count)
    axes = len(layer.kernel_size)
    samples = prod(inputs) // prod(inputs[-axes - 1 :])
    before, after = inputs[-axes:], outputs[-axes:]
    return Positions(samples * prod(before), samples * prod((*after[:1], *before[1:])), samples * prod(after))


def _probed(network: nn.Module, input_shape: Shape | Signature, paths: Sequence[str]) -> dict[str, _Probe | None]:
    """Run the network with a probe around each of ``paths``; None where it does not do with one what it did."""
    generator = torch.Generator().manual_seed(0)
    example = Signature.of(input_shape).example(1, next(network.parameters()), generator)

    def run() -> object:
        # A forward pass may draw.
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(0)
            return network(*example)

    with in_evaluation(network):
        try:
            expected = run()
        except Exception as error:  # the forward pass is the user's code
            raise ModelError(
                f"{type(network).__name__} does not run on inputs of {shapes_of(example)}: {first_line(error)}; "
                "give input_shape without the batch"
            ) from error
        probes = _around(network, paths, lambda: _same(run(), expected))
        if probes is not None:
            return dict(probes)
        alone = {path: _around(network, [path], lambda: _same(run(), expected)) for path in paths}
    return {path: probe[path] if probe else None for path, probe in alone.items()}


def _around(network: nn.Module, paths: Sequence[str], works: Callable[[], bool]) -> dict[str, _Probe] | None:
    layers = {path: network.get_submodule(path) for path in paths}
    probes = {path: _Probe(layer).eval() for path, layer in layers.items()}  # type: ignore[arg-type]
    for path in paths:
        replace(network, path, probes[path])
    try:
        return probes if works() else None
    except Exception:  # the forward pass is the user's code
        return None
    finally:
        for path in paths:
            replace(network, path, layers[path])


def _same(ours: object, theirs: object) -> bool:
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return ours.shape == theirs.shape and bool(torch.isclose(ours, theirs, equal_nan=True).all())
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return True


def _obstacle(layer: nn.Module) -> str | None:
    """Words for what keeps ``layer`` from being factorised."""
    if isinstance(layer, _ConvTransposeNd):
        return "a transposed convolution"
    if isinstance(layer, _ConvNd) and layer.groups > 1:
        depthwise = layer.groups == layer.in_channels
        return "a depthwise convolution" if depthwise else f"a convolution in {layer.groups} groups"
    if type(layer) not in (nn.Linear, nn.Conv1d, nn.Conv2d):
        return f"a {type(layer).__name__}, which is not a plain Linear, Conv1d or Conv2d"
    if layer._forward_hooks or layer._forward_pre_hooks:
        return "it has hooks, which its factors would not have"
    return None


def _tied(network: nn.Module) -> set[nn.Module]:
    owners: dict[nn.Parameter, set[nn.Module]] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(parameter, set()).add(module)
    return set().union(*(modules for modules in owners.values() if len(modules) > 1))


def _must_be_finite(layers: dict[str, nn.Module]) -> None:
    for path, layer in layers.items():
        if not all(bool(torch.isfinite(each).all()) for each in layer.parameters()):
            raise ModelError(
                f"the layer {path!r} holds values that are not finite, which have no factors: "
                "go back to a checkpoint from before the training diverged"
            )


def _matching(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise ModelError(f"factorize.ignore: {pattern!r} matches no layer{nearest(pattern, names)}")
        found.update(matching)
    return found
