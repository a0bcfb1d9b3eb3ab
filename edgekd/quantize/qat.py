"""Quantisation-aware training: from a float network to a fake-quantised graph, and on to int8."""

import copy
from collections import Counter
from collections.abc import Collection
from operator import attrgetter

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node
from torchao.quantization.pt2e import disable_observer, enable_observer
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from edgekd.errors import ModelError, first_line
from edgekd.log import quiet
from edgekd.models.copies import copied
from edgekd.models.fold import fold
from edgekd.profiles import DEFAULT_PROFILE
from edgekd.quantize.fake_quant import PROFILE, TRANSPOSED, WEIGHTED, fake_quants, groups_of, weighted_layers
from edgekd.quantize.quantizer import PLACES, RuntimeQuantizer
from edgekd.tasks.limits import asked_limits
from edgekd.tasks.signature import Shape, Signature

aten = torch.ops.aten

NORMS = (aten.batch_norm.default, aten._native_batch_norm_legit_no_training.default)


def prepare(
    network: nn.Module,
    input_shape: Shape | Signature,
    profile: str = DEFAULT_PROFILE,
    keep_float: Collection[str] = (),
    places: int = PLACES,
) -> GraphModule:
    """Return a fake-quantised graph of ``network``, to calibrate or to train in the network's place.

    BatchNorm is folded into the convolutions first, as in deployment; quantisation noise would disturb the training of
    its statistics. One whose layer has weights that others read too stays by itself. Computed weights, such as weight
    norm's, become plain ones. Frozen weights stay frozen, unless all are: then the graph is trained as a whole.

    The graph is called as the network is, with the inputs of the signature one by one. Integer inputs and embeddings
    of them stay as they are; what is computed from these in floats is quantised. It takes ``train()`` and ``eval()`` as
    the network does, and computes the same in both: BatchNorm is folded, and dropout is left out.

    Args:
        input_shape: shape of one input, without the batch; or a signature.
        profile: an entry of :data:`PROFILES`, for the runtime of the graph.
        keep_float: paths of layers that stay in float, each with all layers under it.
        places: the version of where activations are quantised, for a graph that an earlier one made.

    Raises:
        ModelError: the network cannot be exported, holds a weight that is not finite, or has no layer to quantise.
    """
    network = fold(copied(network)).eval().cpu()
    _must_be_finite(network)
    signature = Signature.of(input_shape)
    quantizer = RuntimeQuantizer(profile, keep_float, places)
    try:
        with quiet():
            program = torch.export.export(network, signature.example(), dynamic_shapes=signature.dynamic_shapes())
            if any(map(_writes_into_others, program.graph.nodes)):
                program = program.run_decompositions({})  # without operators in place
            exported = program.module()
            _drop_copies(exported.graph)
            _drop_concatenations_of_one(exported.graph)
            _keep_other_norms(exported)
            graph = prepare_pt2e(exported, quantizer)
            _remove_aliases(graph)
    except Exception as error:  # tracing runs the user's code, which may raise anything
        advice = "avoid branches on the input's values and Python numbers taken from tensors"
        reason = asked_limits(error) or f"{first_line(error)}; {advice}"
        raise ModelError(f"{type(network).__name__} cannot be exported for quantisation: {reason}") from error
    _train_as_before(graph, network)
    _must_quantise(graph, type(network).__name__, keep_float)
    graph.meta[PROFILE] = profile
    return _with_modes(graph)


def _with_modes(graph: GraphModule) -> GraphModule:
    """Give back ``train()`` and ``eval()``, which exported graphs refuse since theirs may depend on the mode."""
    for method in ("train", "eval"):
        vars(graph).pop(method, None)
    return graph


def _writes_into_others(node: Node) -> bool:
    """Tell whether ``node`` writes in place into a part of a tensor, or into one of which others read a part.

    A fake-quant between the tensor and its part would make the part a tensor of its own, and the write be lost.
    """
    if not isinstance(node.target, OpOverload) or not node.target._schema.is_mutable:
        return False
    written = node.args[0] if node.args else None
    return isinstance(written, Node) and any(map(_is_view, (written, *written.users)))


def _is_view(node: Node) -> bool:
    returns = node.target._schema.returns if isinstance(node.target, OpOverload) else ()
    return any(each.alias_info is not None and not each.alias_info.is_write for each in returns)


def _drop_copies(graph: Graph) -> None:
    """Read what is copied over a whole tensor in place of the copy, lest what it is copied over be quantised."""
    for node in graph.find_nodes(op="call_function", target=aten.copy.default):
        over, source = (each.meta["val"].shape for each in node.all_input_nodes[:2])
        if list(map(str, over)) == list(map(str, source)):
            node.replace_all_uses_with(node.args[1])
            graph.erase_node(node)
    graph.eliminate_dead_code()


def _drop_concatenations_of_one(graph: Graph) -> None:
    """Remove concatenations of one tensor, as in DenseNet's first layers: it would be quantised twice."""
    for node in graph.find_nodes(op="call_function", target=aten.cat.default):
        parts = node.args[0]
        if isinstance(parts, (list, tuple)) and len(parts) == 1 and isinstance(parts[0], Node):
            node.replace_all_uses_with(parts[0])
            graph.erase_node(node)


def _keep_other_norms(exported: GraphModule) -> None:
    """Insert an alias before each BatchNorm that torchao would fold wrongly, or would fail to fold.

    It folds into a layer also where others read what that gives, and into shared weights: of two BatchNorms it then
    leaves out the second.
    """
    graph = exported.graph
    values = {node: attrgetter(str(node.target))(exported) for node in graph.find_nodes(op="get_attr")}
    readers: Counter[int] = Counter()
    for node, value in values.items():
        if isinstance(value, Tensor):
            readers[value.data_ptr()] += len(node.users)

    def is_own(argument: object) -> bool:
        value = values.get(argument) if isinstance(argument, Node) else None
        return isinstance(value, nn.Parameter) and readers[value.data_ptr()] == 1

    for node in [each for norm in NORMS for each in graph.find_nodes(op="call_function", target=norm)]:
        source, mean = node.args[0], node.args[3]
        if not isinstance(source, Node):
            continue
        if mean is None or not _takes_norm(source) or not all(map(is_own, _parameters(source))):
            with graph.inserting_before(node):
                between = graph.call_function(aten.alias.default, (source,))
            between.meta = dict(source.meta)
            node.replace_input_with(source, between)


def _takes_norm(layer: Node) -> bool:
    """Tell whether only one node reads ``layer``, and its weights have one axis of output channels."""
    return len(layer.users) == 1 and not (layer.target in TRANSPOSED and groups_of(layer) > 1)


def _parameters(layer: Node) -> list[object]:
    """Return the arguments of ``layer`` that are its weight and its bias, if it has one."""
    return [each for each in layer.args[1:3] if each is not None] if layer.target in WEIGHTED else []


def _remove_aliases(graph: GraphModule) -> None:
    for node in graph.graph.find_nodes(op="call_function", target=aten.alias.default):
        node.replace_all_uses_with(node.args[0])
        graph.graph.erase_node(node)
    graph.recompile()


def _train_as_before(graph: GraphModule, network: nn.Module) -> None:
    """Let train in ``graph`` what trains in ``network``; biases that folding made go with their layers' weights."""
    trains = {name: each.requires_grad for name, each in network.named_parameters(remove_duplicate=False)}
    all_frozen = not any(trains.values())
    for name, parameter in graph.named_parameters():
        as_before = trains.get(name, trains.get(name.removesuffix("_bias"), True))
        parameter.requires_grad_(parameter.is_floating_point() and (all_frozen or as_before))


def _must_be_finite(network: nn.Module) -> None:
    broken = [name for name, value in network.named_parameters() if not torch.isfinite(value).all()]
    # A mask among the buffers may be infinite.
    broken += [name for name, value in network.named_buffers() if torch.isnan(value).any()]
    if broken:
        raise ModelError(
            f"the weight {broken[0]!r} holds values that are not finite; they have no 8-bit range: "
            "go back to a checkpoint from before the training diverged"
        )


def _must_quantise(graph: GraphModule, name: str, keep_float: Collection[str]) -> None:
    layers = weighted_layers(graph)
    unknown = [kept for kept in keep_float if not any(_under(layer.layer, kept) for layer in layers)]
    if unknown:
        known = ", ".join(layer.layer for layer in layers)
        raise ModelError(f"{name} has no layer {unknown[0]!r} to keep in float; its layers: {known}")
    if not fake_quants(graph):
        reason = "no convolution or linear layer to quantise" if not layers else "nothing left to quantise"
        raise ModelError(f"{name} has {reason}")


def _under(layer: str, path: str) -> bool:
    return layer == path or layer.startswith(f"{path}.")


def observe(graph: nn.Module, on: bool = True) -> None:
    """Let the ranges of fake-quants follow the data, or freeze them."""
    graph.apply(enable_observer if on else disable_observer)


def freeze_ranges(graph: nn.Module) -> None:
    """Freeze the ranges of fake-quants, as for evaluation."""
    observe(graph, False)


def convert(graph: GraphModule) -> GraphModule:
    """Convert a trained graph to int8, with quantise and dequantise operators for its fake-quants; a copy.

    Disabled fake-quants become float, as in layers that mixed precision keeps in float.
    """
    graph = copy.deepcopy(graph)
    for name, module in fake_quants(graph).items():
        if not module.fake_quant_enabled[0]:
            _remove(graph, name)
    with quiet():
        return _with_modes(convert_pt2e(graph))


def _remove(graph: GraphModule, name: str) -> None:
    for node in graph.graph.find_nodes(op="call_module", target=name):
        node.replace_all_uses_with(node.args[0])
        graph.graph.erase_node(node)
    graph.delete_submodule(name)
    graph.recompile()
