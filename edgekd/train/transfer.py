"""Transfer learning: which weights of a network are trained, from which epoch on, and at which rate."""

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate
from operator import mul

from torch import nn

from edgekd.errors import TrainingError
from edgekd.models.checkpoint import last_layer
from edgekd.nearest import nearest
from edgekd.train.optimizers import Groups
from edgekd.train.options import Train

# A network of fewer parts, such as features and a classifier, says too little of what comes after what.
FEWEST_PARTS = 3


class Transfer:
    """The options of transfer learning in ``section``, applied to ``network``; nothing changes before :meth:`enter`.

    ``freeze`` and ``train_only`` choose weights. ``unfreeze_every`` trains the last part first, and so many epochs
    later each time one part more: gradual unfreezing (Howard and Ruder, "Universal Language Model Fine-tuning for
    Text Classification", 2018, section 3.3). ``lr_decay`` gives each part that share of the next one's learning rate:
    discriminative fine-tuning (section 3.2, where it is 1/2.6). Weights that :class:`edgekd.train.l2_sp.L2SP` pulls
    back have no weight decay. :func:`parts` says what the parts are, whatever is frozen.

    Raises:
        TrainingError: a pattern matches nothing, or nothing is left to train.
    """

    def __init__(self, network: nn.Module, section: Train):
        self.network, self.section = network, section
        self.before = {p: p.requires_grad for p in network.parameters()}
        self.parts = parts(network)
        self.trained = trained(network, section.freeze, section.train_only)
        head = last_layer(network) if section.l2_sp else None
        self.pulled = {name: p for name, p in self.trained.items() if head and not _is_under(name, head)}
        scales = list(accumulate([section.lr_decay] * (len(self.parts) - 1), mul, initial=1.0))[::-1]
        self.scales = {name: scale for part, scale in zip(self.parts, scales, strict=True) for name in part}

    def groups(self, along: Iterable[nn.Parameter] = ()) -> Groups:
        """Return an optimizer's parameter groups, each with its ``lr_scale``; ``along`` is trained too."""
        members = [(self.scales[name], self._decays(name, p), p) for name, p in self.trained.items()]
        members += [(1.0, p.ndim > 1, p) for p in along if p.requires_grad]
        return [
            {
                "params": [p for its, its_decays, p in members if (its, its_decays) == (scale, decays)],
                "weight_decay": self.section.weight_decay if decays else 0.0,
                "lr_scale": scale,
            }
            for scale in dict.fromkeys(scale for scale, _, _ in members)
            for decays in (True, False)
        ]

    def enter(self, epoch: int) -> None:
        """Freeze what epoch ``epoch`` (from 0) does not train; frozen BatchNorm keeps its statistics."""
        open_now = set(self._open(epoch))
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name in open_now)
        for path, module in self.network.named_modules():
            if getattr(module, "running_mean", None) is not None and self._is_frozen(path, module):
                module.eval()

    def leave(self) -> None:
        """Restore ``requires_grad`` of all parameters; the caller restores the modes of modules."""
        for parameter, wanted in self.before.items():
            parameter.requires_grad_(wanted)

    def _open(self, epoch: int) -> Iterator[str]:
        every = self.section.unfreeze_every
        live = [[name for name in part if name in self.trained] for part in self.parts]
        live = [part for part in live if part]
        first = 0 if every is None else max(0, len(live) - 1 - epoch // every)
        for part in live[first:]:
            yield from part

    def _decays(self, name: str, parameter: nn.Parameter) -> bool:
        # Biases and BatchNorm have one dimension; decaying them costs accuracy (He et al., "Bag of Tricks", 2019).
        return parameter.ndim > 1 and name not in self.pulled

    def _is_frozen(self, path: str, norm: nn.Module) -> bool:
        own = list(norm.parameters())
        chosen = not own and _are_chosen([path], self.section.freeze, self.section.train_only) == []
        return chosen or (bool(own) and not any(parameter.requires_grad for parameter in own))


def parts(network: nn.Module) -> list[list[str]]:
    """Split the parameters into parts, from the input to the output, and return their names.

    A part is a child of ``network`` with weights, and what follows it without any, such as BatchNorm. If these are
    fewer than three, the largest container among them is opened: features and a classifier become the parts of the
    features and the classifier. Order is the order of registration.
    """
    units = _units(network)
    while len(units) < FEWEST_PARTS:
        containers = [path for path in units if _units(network.get_submodule(path))]
        if not containers:
            break
        largest = max(containers, key=lambda path: _count(network.get_submodule(path)))
        inner = [f"{largest}.{path}" for path in _units(network.get_submodule(largest))]
        at = units.index(largest)
        units[at : at + 1] = inner
    found: list[list[str]] = [[] for _ in units] or [[]]
    at = 0
    for name, _ in network.named_parameters():
        at = next((index for index, unit in enumerate(units) if _is_under(name, unit)), at)
        found[at].append(name)
    return [part for part in found if part]


def trained(network: nn.Module, freeze: Sequence[str], train_only: Sequence[str]) -> dict[str, nn.Parameter]:
    """Select the parameters that ``train_only`` matches, or all if it is empty, less those that ``freeze`` matches.

    Patterns are those of fnmatch, for the path of a parameter or of a module that holds it: ``layer1``, ``layer1.*``,
    ``*.bias``. Parameters that ask for no gradient are left out.

    Raises:
        TrainingError: a pattern matches nothing, or nothing is left.
    """
    parameters = dict(network.named_parameters())
    known = list(dict.fromkeys(path for name in parameters for path in _ancestors(name)))
    for key, patterns in (("freeze", freeze), ("train_only", train_only)):
        for pattern in patterns:
            if not any(fnmatchcase(path, pattern) for path in known):
                raise TrainingError(
                    f"{key}: {pattern!r} matches no layer of this {type(network).__name__}"
                    f"{nearest(pattern, known)}; it has {_some([name for name, _ in network.named_children()])}"
                )
    found = {name: parameters[name] for name in _are_chosen(parameters, freeze, train_only)}
    found = {name: parameter for name, parameter in found.items() if parameter.requires_grad}
    if not found:
        raise TrainingError("freeze and train_only leave nothing to train: name fewer layers in freeze, or others")
    return found


def _are_chosen(names: Iterable[str], freeze: Sequence[str], train_only: Sequence[str]) -> list[str]:
    return [name for name in names if (not train_only or _matches(name, train_only)) and not _matches(name, freeze)]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for path in _ancestors(name) for pattern in patterns)


def _ancestors(name: str) -> list[str]:
    """``a.b.c`` gives ``a``, ``a.b``, ``a.b.c``."""
    return list(accumulate(name.split("."), "{}.{}".format))


def _is_under(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")


def _units(module: nn.Module) -> list[str]:
    return [name for name, child in module.named_children() if any(p.ndim > 1 for p in child.parameters())]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
