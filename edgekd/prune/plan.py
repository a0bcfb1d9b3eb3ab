"""The plan of a cut, as plain JSON: which channels and which blocks to take out of a newly built network.

An entry is ``[layer, is_output, channels]``, as torch-pruning writes its history, ``[block, "identity"]``, or
``[layer, "halves"]`` for a convolution that becomes two (:mod:`edgekd.prune.halves`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from torch import nn

from edgekd.errors import ModelError
from edgekd.models.fold import fold
from edgekd.models.modes import in_evaluation
from edgekd.prune.graph import channel_graph
from edgekd.prune.halves import HALVES, halve
from edgekd.tasks.signature import Shape, Signature

Plan = list[list[Any]]
IDENTITY = "identity"


def apply_plan(network: nn.Module, plan: Plan, input_shape: Shape | Signature) -> nn.Module:
    """Cut the channels and drop the blocks of ``plan`` out of a newly built network, in place and in order.

    Computed weights, such as weight norm's, are made plain ones first. Modes, and what is frozen, stay as they are.

    Raises:
        ModelError: the plan names layers that the network does not have, or holds an invalid entry. The network is
            then as it was.
    """
    _must_fit(network, plan)
    fold(network)
    for change, entries in groupby(plan, _word_of):
        if change is None:
            with in_evaluation(network), _frozen_as_before(network):
                channel_graph(network, input_shape).load_pruning_history(list(entries))
            continue
        for path, _ in entries:
            CHANGES[change](network, path)
    return network


def cut_channels(network: nn.Module, input_shape: Shape | Signature, cuts: Sequence[tuple[str, Sequence[int]]]) -> Plan:
    """Cut channels out of ``network``, in place, and return the plan of it.

    Args:
        input_shape: shape of one input, without the batch; or a signature.
        cuts: the path of each group's root, with the output channels to cut; all that depends on these goes too.
    """
    graph, layers = channel_graph(network, input_shape), dict(network.named_modules())
    with _frozen_as_before(network):
        for root, channels in cuts:
            layer = layers[root]
            graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, channels).prune()
    plan: Plan = graph.pruning_history()
    return plan


def to_identity(network: nn.Module, path: str) -> None:
    """Replace the module at ``path`` by ``nn.Identity``, under each of its names."""
    block = network.get_submodule(path)
    paths = [name for name, module in network.named_modules(remove_duplicate=False) if module is block]
    identity = nn.Identity().train(block.training)
    for each in paths:
        parent, _, name = each.rpartition(".")
        setattr(network.get_submodule(parent), name, identity)


def widths(network: nn.Module) -> dict[str, int]:
    """Return the number of output channels of each convolution and linear layer, by path."""
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            found[name] = module.out_channels
        elif isinstance(module, nn.Linear):
            found[name] = module.out_features
    return found


@contextmanager
def _frozen_as_before(network: nn.Module) -> Iterator[None]:
    """Freeze again what was frozen: torch-pruning replaces parameters by new ones, which all ask for gradients."""
    before = {name: each.requires_grad for name, each in network.named_parameters(remove_duplicate=False)}
    yield
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(before[name])


CHANGES = {IDENTITY: to_identity, HALVES: halve}


def _word_of(entry: list[Any]) -> str | None:
    return entry[1] if isinstance(entry[1], str) else None


def _must_fit(network: nn.Module, plan: Plan) -> None:
    names = {name for name, _ in network.named_modules()} - {""}
    for entry in plan:
        match entry:
            case [str(path), str(word)] if word == IDENTITY:
                gone = {path} | {name for name in names if name.startswith(f"{path}.")}
            case [str(path), str(word)] if word == HALVES:
                gone = {name for name in names if name.startswith(f"{path}.")}
                names |= {f"{path}.{half}{name.removeprefix(path)}" for half in ("first", "second") for name in gone}
                names |= {f"{path}.first", f"{path}.second"}
            case [str(path), bool(), [*_]]:
                gone = set()
            case _:
                raise ModelError(
                    f"the channel plan holds {str(entry)[:60]}, which is neither [layer, is_output, channels] nor "
                    f'[block, "{IDENTITY}"]; prune again, or bring back the file as it was saved'
                )
        if path not in names:
            raise ModelError(f"the channel plan names {path!r}, which {type(network).__name__} does not have")
        names -= gone
