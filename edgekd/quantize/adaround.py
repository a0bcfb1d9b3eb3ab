"""Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (2020), section 3."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgekd.errors import ModelError
from edgekd.machine_lock import training
from edgekd.progress import track
from edgekd.quantize.calibration import checked_batches, float_copy, freeze_calibrated
from edgekd.quantize.fake_quant import WeightedLayer, weighted_layers
from edgekd.quantize.layerwise import LayerwiseForward
from edgekd.quantize.patches import MATRIX_PRODUCTS, MatrixProduct
from edgekd.quantize.quantizer import CLAMPS
from edgekd.quantize.rounding import RoundingProblem, RoundingSearch, learn_rounding
from edgekd.ranges import COUNT
from edgekd.tasks.tensors import Inputs

# 256 MiB of a layer's inputs
LARGEST_SAMPLE = 2**26


@dataclass(frozen=True)
class LayerRounding:
    """The rounding of one layer's weights, with its errors on the positions that it was learned from."""

    layer: str
    error: float
    """Mean squared difference from the float layer's output, after its activation function."""
    nearest_error: float
    """The error with each weight rounded to the nearest."""
    turned: int
    """The number of weights that are not rounded to the nearest."""


@dataclass(frozen=True)
class AdaRound:
    """The result of AdaRound on a graph."""

    layers: tuple[LayerRounding, ...]
    skipped: dict[str, str]
    """By layer, the reason for which its weights are not changed, and will be rounded to the nearest."""


def adaround(
    graph: GraphModule,
    batches: Iterable[Inputs],
    search: RoundingSearch | None = None,
    positions: int = 16384,
) -> AdaRound:
    """Round each weight up or down so that the layers' outputs stay close to the float network's.

    Layers are fitted one by one in order of execution. The inputs of each come from the quantised layers before it,
    the target from the float network, both through the activation function that follows (eq. 25). A layer for which
    rounding to the nearest has a smaller error, on the same positions, is rounded to the nearest.

    The weights are then on the grid of their scales, which must not be observed again: equalise before, calibrate
    before, correct biases after.

    Args:
        graph: a prepared and calibrated graph; its weights are changed.
        batches: (N, ...) inputs on the graph's device, or tuples of several, 1,000 samples or so; all are held in
            memory, with their activations at one layer.
        positions: the number of output positions (samples times pixels) to draw at random for fitting a layer; fewer
            where their inputs would take more than 256 MiB.

    Raises:
        ModelError: there is no batch, or one of another shape, or the graph was not calibrated.
    """
    if positions not in COUNT:
        raise ModelError(f"AdaRound needs positions to fit layers to: at least 1, got {positions}")
    search = search or RoundingSearch()
    samples = list(checked_batches(graph, batches))
    freeze_calibrated(graph)
    skipped = _skipped(graph)
    layers = [layer for layer in weighted_layers(graph) if layer.layer not in skipped]
    quantised, reference = LayerwiseForward(graph, samples), LayerwiseForward(float_copy(graph), samples)
    done, total = [], sum(len(each[0]) for each in samples)
    with training():
        for layer in track(layers, "rounding weights", len(layers)):
            name, weight = layer.node.name, graph.get_parameter(layer.weight_name).detach()
            pairs = zip(quantised.inputs(name), reference.outputs(name, keep=True), strict=True)
            product = MatrixProduct.of(layer.node, weight)
            wanted = min(positions, LARGEST_SAMPLE // product.rows(weight)[:, 0].numel())
            counts = [math.ceil(wanted / total * len(each[0])) for each in samples]
            columns, targets = _sample(product, pairs, counts, search.seed)
            done.append(_round(layer, graph, columns, targets, search))
    return AdaRound(tuple(done), skipped)


def _skipped(graph: GraphModule) -> dict[str, str]:
    parameters = {name for name, _ in graph.named_parameters()}
    uses = Counter(layer.weight_name for layer in weighted_layers(graph))
    reasons = {}
    for layer in weighted_layers(graph):
        if layer.weight_fake_quant is None or not layer.weight_fake_quant.fake_quant_enabled[0]:
            reasons[layer.layer] = "it stays in float"
        elif layer.node.target not in MATRIX_PRODUCTS:
            reasons[layer.layer] = "it is a transposed or three-dimensional convolution"
        elif layer.weight_name not in parameters:
            reasons[layer.layer] = "its weight is computed from others"
        elif uses[layer.weight_name] > 1:
            reasons[layer.layer] = f"its weight is used {uses[layer.weight_name]} times"
        elif layer.bias_name is not None and layer.bias_name not in parameters:
            reasons[layer.layer] = "its bias is no weight of its own"
    return reasons


def _sample(
    product: MatrixProduct, pairs: Iterable[tuple[Tensor, Tensor]], counts: Iterable[int], seed: int
) -> tuple[Tensor, Tensor]:
    """Draw inputs (groups, positions, columns) and outputs (groups, positions, outputs) at random positions.

    A layer may be computed on parts of samples, such as windows: ``counts`` are of positions, batch by batch.
    """
    generator = torch.Generator().manual_seed(seed)
    columns, targets = [], []
    for (read, output), count in zip(pairs, counts, strict=True):
        order = torch.randperm(product.positions(output), generator=generator)
        chosen = order[:count].to(output.device)
        columns.append(product.columns(read, output, chosen))
        targets.append(product.outputs(output, chosen))
    return torch.cat(columns, 1), torch.cat(targets, 1)


def _round(
    layer: WeightedLayer, graph: GraphModule, columns: Tensor, targets: Tensor, search: RoundingSearch
) -> LayerRounding:
    weight = graph.get_parameter(layer.weight_name)
    problem = _problem(layer, graph, columns, targets)
    nearest = problem.nearest()
    codes = learn_rounding(problem, search)
    error, nearest_error = problem.error(codes), problem.error(nearest)
    if error > nearest_error:
        codes, error = nearest, nearest_error
    with torch.no_grad():
        weight.copy_((codes * problem.scale).reshape(weight.shape))
    return LayerRounding(layer.layer, error, nearest_error, int((codes != nearest).sum()))


def _problem(layer: WeightedLayer, graph: GraphModule, columns: Tensor, targets: Tensor) -> RoundingProblem:
    weight, fake_quant = graph.get_parameter(layer.weight_name).detach(), layer.weight_fake_quant
    assert fake_quant is not None
    product, activation = MatrixProduct.of(layer.node, weight), _activation(layer.node)
    per_channel = [-1] + [1] * (weight.ndim - 1) if fake_quant.is_per_channel else [1] * weight.ndim
    scale = fake_quant.scale.detach().reshape(per_channel).expand(len(weight), *[1] * (weight.ndim - 1))
    zero_point = int(fake_quant.zero_point.flatten()[0])
    bias = weight.new_zeros(len(weight)) if layer.bias_name is None else graph.get_parameter(layer.bias_name).detach()
    return RoundingProblem(
        # as torch's fake-quantisation computes it, which decides ties: a channel's largest weight is a tie
        steps=product.rows(weight * scale.reciprocal()),
        scale=product.rows(scale),
        lowest=fake_quant.quant_min - zero_point,
        highest=fake_quant.quant_max - zero_point,
        columns=columns,
        targets=activation(targets),
        bias=bias.reshape(product.groups, 1, -1),
        activation=activation,
    )


def _activation(node: Node) -> Callable[[Tensor], Tensor]:
    """Return the clamp that is the only reader of ``node``, or the identity."""
    users = list(node.users)
    if len(users) == 1 and users[0].target in CLAMPS:
        clamp = users[0]
        function = cast(Callable[..., Tensor], clamp.target)
        return lambda outputs: function(outputs, *clamp.args[1:], **clamp.kwargs)
    return lambda outputs: outputs
