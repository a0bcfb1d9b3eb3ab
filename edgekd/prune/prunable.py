"""A network whose channel groups are ranked, and copies of it at any widths."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import nn

from edgekd.errors import ModelError, first_line
from edgekd.models.copies import copied
from edgekd.models.fold import fold
from edgekd.nearest import among, nearest
from edgekd.prune.graph import channel_graph, example_inputs
from edgekd.prune.groups import ChannelGroup, find_groups
from edgekd.prune.halves import HALVES, chunked_layers, halve
from edgekd.prune.importance import build_importance, collect_gradients
from edgekd.prune.importance.gradients import Batches, Loss
from edgekd.prune.plan import Plan, cut_channels, widths
from edgekd.prune.structure import Structure, structure_of
from edgekd.prune.verification import Unpruned, describe_unpruned, find_unprunable
from edgekd.ranges import COUNT, SEED, SHARE_OR_ALL
from edgekd.tasks.signature import Shape, Signature

# The most layers that a message names.
SHOWN = 4
Keeps = tuple[int, ...]


class Prunable:
    """The channel groups of ``network``, ranked once; ``network`` itself is left as it is.

    The layer that gives the logits is never among them.

    Args:
        input_shape: shape of one input, without the batch; or a signature.
        importance: an entry of ``IMPORTANCES``.
        reduction: an entry of ``REDUCTIONS``, over the layers of a group; the importance's own if left out.
        scope: how widths are allocated between groups, one of ``SCOPES``. ``paths`` keeps as many paths through the
            network as it can (:meth:`loss`), whatever the scores. The others set one threshold for scores: over the
            whole network, per layer, or among groups of one topology.
        round_to: widths stay multiples of this; runtimes are fast at multiples of 8 or 16.
        max_ratio: the largest share of a group's channels that may go, in (0, 1].
        ignore: path patterns (``layer1.*``) of layers to leave alone.
        batches: (inputs, labels) for importances that need gradients.
        loss: ``loss(logits, labels)``, for the same.
        seed: seed of importances that draw at random.
        weights: factors above 0 for all scores of a group, by the path in ``roots``, as
            :func:`edgekd.prune.weights.sensitivity_weights` computes them; 1 for groups that are left out. A group's
            channels keep their order; only comparisons and sums over several groups change.

    Attributes:
        roots: the path of each group's root.
        unpruned: the layers that cannot be cut, with the reasons.

    Raises:
        ModelError: there is nothing to prune, a pattern matches nothing, or a weight has no group or is not above 0.
    """

    def __init__(
        self,
        network: nn.Module,
        input_shape: Shape | Signature,
        *,
        importance: str = "group_magnitude",
        reduction: str | None = None,
        scope: str = "paths",
        round_to: int = 8,
        max_ratio: float = 0.9,
        ignore: Sequence[str] = (),
        batches: Batches | None = None,
        loss: Loss = F.cross_entropy,
        seed: int = 0,
        weights: Mapping[str, float] | None = None,
    ):
        COUNT.check(ModelError, round_to=round_to)
        SHARE_OR_ALL.check(ModelError, max_ratio=max_ratio)
        SEED.check(ModelError, seed=seed)
        self.network, self.input_shape = fold(copied(network)), input_shape
        kept = matching_layers(self.network, ignore)
        self._halved: Plan = [
            [path, HALVES]
            for path in chunked_layers(self.network, input_shape)
            if not any(f"{layer}.".startswith(f"{path}.") for layer in kept)
        ]
        for path, _ in self._halved:
            halve(self.network, path)
        self.scope, self.round_to, self.max_ratio = scope, round_to, max_ratio
        score = build_importance(importance, reduction)
        if not widths(network):
            raise ModelError(f"{type(network).__name__} has no convolution or linear layer to prune")
        with (
            torch.random.fork_rng(devices=[]),
            collect_gradients(self.network, batches, loss, score.gradients),
        ):
            torch.random.default_generator.manual_seed(seed)
            graph = channel_graph(self.network, input_shape)
            layers = dict(self.network.named_modules())
            ignored = [layers[name] for name in matching_layers(self.network, ignore)]
            names = {module: name for name, module in layers.items()}
            unprunable = find_unprunable(self.network, input_shape, graph, ignored)
            self.unpruned = unprunable.reasons
            self.groups: list[ChannelGroup] = find_groups(graph, score, scope, [*ignored, *unprunable.layers])
        if all(group.is_fixed for group in self.groups):
            raise ModelError(_nothing_left(network, importance, self.unpruned))
        self.roots = [names[group.root] for group in self.groups]
        self.is_weighted = bool(weights)
        self.groups = _weighted(self.groups, self.roots, weights or {})
        self.structure: Structure = structure_of(self.network, graph, self.groups)
        _copy_modes(network, self.network)

    def at_ratio(self, ratio: float) -> Keeps:
        """Return the number of scores to keep in each group when about ``ratio`` of all channels go, lowest first."""
        ranked = torch.cat([group.scores.repeat_interleave(group.repeats) for group in self.groups]).sort().values
        threshold = ranked[min(int(len(ranked) * ratio), len(ranked) - 1)]
        return tuple(self.rounded(group, int((group.scores >= threshold).sum())) for group in self.groups)

    def rounded(self, group: ChannelGroup, wanted: int) -> int:
        """Return the number of scores to keep: at least ``wanted``, within ``round_to`` and ``max_ratio``."""
        return group.keep(wanted, self.round_to, self.max_ratio)

    def steps(self, group: ChannelGroup, most: int) -> list[int]:
        """Return up to ``most`` numbers of scores that ``group`` can keep, ascending and evenly spread, up to all."""
        count = len(group.scores)
        shares = (math.ceil(count * index / most) for index in range(most + 1))
        return sorted({self.rounded(group, wanted) for wanted in shares} | {count})[-most:]

    def loss(self, index: int, keep: int) -> float:
        """Compute the loss where the group at ``index`` keeps ``keep`` of its scores; losses add up over groups.

        It is −log of the share of channels that stay, times the number of layers that have them. Summed over the
        groups this is −log of the share of paths from input to output that are left. Magnitudes say little between
        groups, and a sum of them empties some layers almost wholly before it touches others. With ``weights`` these
        replace the number of layers, so that half of the channels lose what their weighted scores say.
        """
        group = self.groups[index]
        half = max(1, len(group.scores) // 2)
        layers = group.lost(half) / math.log(2) if self.is_weighted else len(self.structure.layers_of(index))
        return -layers * math.log(keep / len(group.scores))

    def cut(self, keeps: Sequence[int]) -> tuple[nn.Module, Plan]:
        """Return a copy that keeps the best ``keeps`` scores of each group, and its plan.

        Raises:
            ModelError: the network does not run with these widths.
        """
        network = copied(self.network)
        cuts = [(root, group.cut(keep)) for root, group, keep in zip(self.roots, self.groups, keeps, strict=True)]
        plan = cut_channels(network, self.input_shape, [(root, channels) for root, channels in cuts if channels])
        self._must_run(network, [root for root, channels in cuts if channels])
        _copy_modes(self.network, network)
        return network, [*self._halved, *plan]

    def _must_run(self, network: nn.Module, roots: Sequence[str]) -> None:
        try:
            with torch.no_grad():
                network.eval()(*example_inputs(network, self.input_shape))
        except Exception as error:  # the forward pass is the user's code
            raise ModelError(
                f"{type(network).__name__} does not run with fewer channels in {', '.join(roots[:SHOWN])}: "
                f"{first_line(error)}; name those of them that must keep their width in prune.ignore"
            ) from error

    def cut_to(self, widths: Sequence[int]) -> tuple[nn.Module, Plan]:
        """Cut as :meth:`cut` does, to the given number of channels in each group."""
        return self.cut([width // group.repeats for width, group in zip(widths, self.groups, strict=True)])


def _nothing_left(network: nn.Module, importance: str, unpruned: Sequence[Unpruned]) -> str:
    words = f"{type(network).__name__} has no channels to prune by importance {importance!r}"
    advice = "choose another importance, ignore fewer layers, or leave the stage out"
    return f"{words}: {advice}{describe_unpruned(unpruned)}"


def _weighted(groups: Sequence[ChannelGroup], roots: Sequence[str], weights: Mapping[str, float]) -> list[ChannelGroup]:
    for root, weight in weights.items():
        if root not in roots:
            raise ModelError(
                f"a weight is given to {root!r}, which is the root of no channel group{among(root, roots)}"
            )
        # With 0 all channels of a group are equal, and not the least important ones go.
        if not 0 < weight < math.inf:
            raise ModelError(f"the scores of {root!r} cannot be weighted with {weight}: give a number above 0")
    return [
        replace(group, scores=group.scores * weights.get(root, 1.0)) for group, root in zip(groups, roots, strict=True)
    ]


def _copy_modes(original: nn.Module, copied: nn.Module) -> None:
    # Finding groups leaves a network in evaluation mode.
    modes = {path: module.training for path, module in original.named_modules(remove_duplicate=False)}
    for path, module in copied.named_modules():
        # Halves have the mode of what they are halves of.
        while path not in modes:
            path = path.rpartition(".")[0]
        module.training = modes[path]


def matching_layers(network: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Return the paths of the layers that one of ``patterns`` matches, or a module that they are in.

    What was one layer may be several in a module of its name, after a factorisation.

    Raises:
        ModelError: a pattern matches no layer.
    """
    names = list(widths(network))
    found = set()
    for pattern in patterns:
        matching = [name for name in names if any(fnmatchcase(part, pattern) for part in _parts(name))]
        if not matching:
            raise ModelError(f"prune.ignore: {pattern!r} matches no layer{nearest(pattern, names)}")
        found.update(matching)
    return sorted(found)


def _parts(path: str) -> list[str]:
    names = path.split(".")
    return [".".join(names[:count]) for count in range(1, len(names) + 1)]
