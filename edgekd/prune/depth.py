"""Depth pruning: whole residual blocks go, the ones that the network is least sensitive to first.

A network survives the loss of a residual block because the block's input reaches the next one without it: Veit et
al., "Residual Networks Behave Like Ensembles of Relatively Shallow Networks" (2016).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from edgekd.errors import ModelError, first_line
from edgekd.log import get_logger
from edgekd.models.copies import copied
from edgekd.models.inputs import must_take
from edgekd.nearest import nearest
from edgekd.prune.graph import example_inputs
from edgekd.prune.plan import IDENTITY, Plan, apply_plan, widths
from edgekd.ranges import SHARE
from edgekd.tasks.signature import Shape, Signature

logger = get_logger(__name__)

Degradation = Callable[[nn.Module], float]


@dataclass(frozen=True)
class DepthPruned:
    """A network with fewer blocks.

    Attributes:
        dropped: the blocks in the order in which they went, each with the degradation that was measured.
        before, after: the network's cost.
    """

    network: nn.Module
    plan: Plan
    dropped: tuple[tuple[str, float], ...]
    before: float
    after: float

    @property
    def share(self) -> float:
        return self.after / self.before


def residual_blocks(network: nn.Module, input_shape: Shape | Signature) -> list[str]:
    """Return the paths of the residual blocks that ``nn.Identity`` can replace, in the network's order.

    A block is a module with convolutions or linear layers that is called once, with one tensor, gives one of the same
    shape, and hands on what it is given when all its weights are zero. So a closing ReLU may belong to it, as in
    ResNet, but no closing normalisation, as in a post-norm transformer. Of nested blocks the innermost count, never
    the stage that they make up.

    Args:
        input_shape: shape of one input, without the batch; or a signature.

    Raises:
        ModelError: the network does not run on such an input.
    """
    original = copied(network).eval()
    found: list[str] = []
    children_first = reversed(_shape_keepers(original, input_shape).items())
    for path, given in children_first:
        holds_block = any(block.startswith(f"{path}.") for block in found)
        if not holds_block and _is_residual(original.get_submodule(path), given):
            found.append(path)
    return found[::-1]


def drop_blocks(network: nn.Module, paths: Iterable[str]) -> Plan:
    """Replace the modules at ``paths`` by ``nn.Identity``, in place, and return the plan of it.

    Raises:
        ModelError: the network has no such module, and is left as it was.
    """
    plan: Plan = [[path, IDENTITY] for path in paths]
    known = {name for name, _ in network.named_modules()} - {""}
    for path, _ in plan:
        if path not in known:
            raise ModelError(f"cannot drop {path!r}: {type(network).__name__} has no such block{nearest(path, known)}")
    apply_plan(network, plan, ())
    return plan


def rank_blocks(network: nn.Module, blocks: Sequence[str], degradation: Degradation) -> list[tuple[str, float]]:
    """Measure the degradation without each of ``blocks`` alone, and return the blocks with it, least first.

    Args:
        degradation: called with a copy in evaluation mode, which it may change. For example the divergence of the
            logits from the uncut network's (:func:`edgekd.tasks.classification.train.divergence`), or the accuracy
            lost. A value that is not a number counts as infinite.
    """
    measured = [(block, _measured(degradation, _without(network, [block]))) for block in blocks]
    return sorted(measured, key=lambda each: each[1])


def cut_depth(
    network: nn.Module,
    input_shape: Shape | Signature,
    *,
    cost: Callable[[nn.Module], float],
    target: float,
    degradation: Degradation,
    greedy: bool = True,
    known: MutableMapping[str, float] | None = None,
) -> DepthPruned:
    """Drop blocks, each time the one with the least degradation for the cost it saves, until the target is met.

    ``network`` itself is left as it is.

    Args:
        input_shape: shape of one input, without the batch; or a signature.
        cost: the cost of a network; called with copies in evaluation mode.
        target: the share of the cost to keep, in (0, 1).
        degradation: as for :func:`rank_blocks`.
        greedy: measure the remaining blocks again after each drop, n²/2 times for n blocks at most. Otherwise each is
            measured once, alone, which misses blocks that do each other's work.
        known: degradations of earlier calls for the same network, by :func:`name_of` the blocks that were gone; what is
            measured is added. Each further target then takes what those before it have not measured.

    Raises:
        ModelError: the target cannot be reached. This is known before any degradation is measured, unless the
            degradation without some blocks is infinite. Also if that of the uncut network is infinite.
    """
    blocks, before = must_shorten(network, input_shape, cost=cost, target=target)
    saved = {block: before - cost(_without(network, [block])) for block in blocks}
    order = _order(network, saved, degradation, greedy, {} if known is None else known)
    dropped: list[tuple[str, float]] = []
    after = before
    while after > target * before:
        following = next(order, None)
        if following is None:
            raise _unreachable(network, target, after / before, len(dropped))
        dropped.append(following)
        after = cost(_without(network, [block for block, _ in dropped]))
    shorter = copied(network)
    plan = drop_blocks(shorter, [block for block, _ in dropped])
    return DepthPruned(shorter, plan, tuple(dropped), before, after)


def name_of(blocks: Iterable[str]) -> str:
    """Return the name under which the degradation without ``blocks`` is known, in whatever order they went."""
    return ",".join(sorted(blocks))


def must_shorten(
    network: nn.Module, input_shape: Shape | Signature, *, cost: Callable[[nn.Module], float], target: float
) -> tuple[list[str], float]:
    """Return the blocks that could be dropped, and the cost with all of them. The arguments are :func:`cut_depth`'s.

    Raises:
        ModelError: the target cannot be reached with all of these blocks dropped.
    """
    SHARE.check(ModelError, target=target)
    blocks = residual_blocks(network, input_shape)
    before, least = cost(_without(network, ())), cost(_without(network, blocks))
    if least > target * before:
        raise _unreachable(network, target, least / before, len(blocks))
    return blocks, before


def least_depth(network: nn.Module, input_shape: Shape | Signature, *, cost: Callable[[nn.Module], float]) -> float:
    """Return the share of the cost that is left without any residual block, in (0, 1]; 1 where none can go.

    The arguments are :func:`cut_depth`'s.
    """
    blocks = residual_blocks(network, input_shape)
    return cost(_without(network, blocks)) / cost(_without(network, ()))


def _shape_keepers(network: nn.Module, input_shape: Shape | Signature) -> dict[str, Tensor]:
    calls: dict[nn.Module, list[Tensor | None]] = {}

    def note(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object) -> None:
        given = args[0] if len(args) == 1 and not kwargs else None
        keeps = (
            isinstance(given, Tensor)
            and isinstance(output, Tensor)
            and given.is_floating_point()
            and (given.shape, given.dtype) == (output.shape, output.dtype)
        )
        calls.setdefault(module, []).append(given.to("meta") if keeps and isinstance(given, Tensor) else None)

    paths = {module: path for path, module in network.named_modules() if path and widths(module)}
    example = example_inputs(network, input_shape)
    hooks = [module.register_forward_hook(note, with_kwargs=True) for module in paths]
    try:
        with must_take(network, example), torch.no_grad():
            network(*example)
    finally:
        for hook in hooks:
            hook.remove()
    once = {path: calls[module][0] for module, path in paths.items() if len(calls.get(module, ())) == 1}
    return {path: given for path, given in once.items() if given is not None}


def _is_residual(block: nn.Module, like: Tensor) -> bool:
    tensors = (*block.named_parameters(), *block.named_buffers())
    silent = {name: torch.zeros_like(value) for name, value in tensors if value.is_floating_point()}
    # Nothing negative, so that a closing ReLU changes nothing.
    given = torch.rand(like.shape, generator=torch.Generator().manual_seed(0)).to(next(block.parameters()).device)
    given = given.to(like.dtype)
    with torch.no_grad():
        try:
            return torch.equal(functional_call(block, silent, (given.clone(),)), given)
        except (MemoryError, torch.OutOfMemoryError):  # which says nothing of the block
            raise
        except Exception as error:  # of somebody's module, which may refuse weights of zero in any way
            logger.info(
                f"{type(block).__name__} takes no weights of 0, so that it counts as no block: {first_line(error)}"
            )
            return False


def _without(network: nn.Module, blocks: Iterable[str]) -> nn.Module:
    shorter = copied(network).eval()
    drop_blocks(shorter, blocks)
    return shorter


def _measured(degradation: Degradation, network: nn.Module) -> float:
    value = float(degradation(network))
    return math.inf if math.isnan(value) else value


def _order(
    network: nn.Module,
    saved: Mapping[str, float],
    degradation: Degradation,
    greedy: bool,
    known: MutableMapping[str, float],
) -> Iterator[tuple[str, float]]:
    def measured(blocks: Sequence[str]) -> float:
        name = name_of(blocks)
        if name not in known:
            known[name] = _measured(degradation, _without(network, blocks))
        return known[name]

    so_far = measured(())
    if math.isinf(so_far):
        raise ModelError(
            "the degradation of the uncut network is not finite: no blocks can be ranked by it; look at the network"
        )
    gone: list[str] = []
    without: dict[str, float] = {}
    while left := [block for block in saved if block not in gone]:
        if greedy or not without:
            without = {block: measured([*gone, block]) for block in left}
        price = {block: max(without[block] - so_far, 0) / saved[block] for block in left if saved[block] > 0}
        # Of blocks that cost nothing to drop, the one that saves most.
        chosen = min(price, key=lambda block: (price[block], -saved[block]), default=None)
        if chosen is None or math.isinf(price[chosen]):
            return
        yield chosen, without[chosen]
        gone.append(chosen)
        so_far = without[chosen] if greedy else so_far


def _unreachable(network: nn.Module, target: float, least: float, blocks: int) -> ModelError:
    if not blocks:
        return ModelError(
            f"dropping blocks cannot reach {target:.0%} of the cost: {type(network).__name__} has no residual block "
            "that it can spare; leave depth out, and cut channels (macs, params, size or latency)"
        )
    return ModelError(
        f"dropping blocks cannot reach {target:.0%} of the cost: without {blocks} residual blocks, all that "
        f"{type(network).__name__} can spare, {least:.0%} is left; raise the target, or cut channels too"
    )
