"""The choice among a checkpoint's state dicts: the one that fits the network, and of several the averaged one."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.nearest import nearest

AVERAGED = re.compile(r"(^|[._])(\w*ema|ema\w*|swa|averaged?|avg|n_averaged|shadow)([._]|$)", re.IGNORECASE)
# Tensors that losses, metrics and profilers register in the module that is saved with the network in it.
FOREIGN = re.compile(
    r"(^n_averaged$)|(^|\.)total_(ops|params)$|^(criterion|loss\w*|\w+_loss(es)?|metrics?|\w+_(metrics?|acc(uracy)?))\."
)
TOP = "."
SHOWN = 4

Complaint = Callable[[Mapping[str, Tensor]], str]


@dataclass(frozen=True)
class CheckpointCandidate:
    """A network's weights inside a checkpoint.

    Attributes:
        at: the keys that lead to the state dict.
        prefix: the prefix of the network's names in it.
        state: the state dict.
        names: names of the network's own parameters and buffers.
    """

    at: tuple[str, ...]
    prefix: str
    state: Mapping[str, Tensor]
    names: frozenset[str]

    @property
    def label(self) -> str:
        """Return the ``checkpoint_key`` that chooses it."""
        return ".".join([*self.at, *([self.prefix.rstrip(".")] if self.prefix else [])]) or TOP

    @property
    def is_averaged(self) -> bool:
        """Tell whether it is a moving average, as marked by PyTorch's AveragedModel, timm and torchvision."""
        return bool(AVERAGED.search(self.label)) or "n_averaged" in self.state

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Return its tensors by the network's names."""
        return {name.removeprefix(self.prefix): self.state[name] for name in self.state if self._takes(name)}

    @property
    def left_out(self) -> list[str]:
        """Return the names in the state dict that are not the network's."""
        return [name for name in self.state if not self._takes(name)]

    @property
    def known(self) -> int:
        """Return the number of the network's names that it has."""
        return sum(name in self.weights for name in self.names)

    def _takes(self, name: str) -> bool:
        inner = name.removeprefix(self.prefix)
        return name.startswith(self.prefix) and (inner in self.names or not FOREIGN.search(inner))


@dataclass(frozen=True)
class CheckpointChoice:
    """The chosen candidate, and the others that hold a similar network."""

    chosen: CheckpointCandidate
    others: tuple[CheckpointCandidate, ...] = ()

    def __str__(self) -> str:
        """Describe what was chosen and what was left out; empty if there was nothing to choose."""
        parts = []
        if self.others:
            averaged = "the averaged weights " if self.chosen.is_averaged else ""
            others = ", ".join(other.label for other in self.others)
            parts.append(f"takes {averaged}{self.chosen.label}, not {others} (checkpoint_key chooses another)")
        left_out = [n for n in self.chosen.left_out if not any(n.startswith(o.prefix or n) for o in self.others)]
        if left_out and left_out != ["n_averaged"]:
            parts.append(f"leaves out what is not this network's: {shortened(left_out)}")
        return "; ".join(parts)


def choose(
    state_dicts: Mapping[tuple[str, ...], Mapping[str, Tensor]],
    names: Iterable[str],
    complaint: Complaint,
    key: str | None,
    path: Path,
) -> CheckpointChoice:
    """Choose the weights for a network with parameters and buffers called ``names``.

    Weights that fit are preferred, and of several that fit the averaged ones.

    Args:
        complaint: describes how weights do not fit the network; returns an empty text if they fit.
        key: the label of the weights to choose, or its beginning.

    Raises:
        ModelError: several fit and differ, none or several of them averaged; or there is nothing under ``key``.
    """
    candidates = [each for at, state in state_dicts.items() for each in _in(at, state, frozenset(names))]
    if key is not None:
        candidates = _under(key, candidates, path)
    fitting = [each for each in candidates if not complaint(each.weights)]
    if not fitting:
        return CheckpointChoice(max(candidates, key=lambda each: (each.known, each.is_averaged)))
    averaged = [each for each in fitting if each.is_averaged]
    preferred = _distinct(averaged or fitting)
    if len(preferred) > 1:
        raise ModelError(
            f"{path} holds several networks' weights that fit and differ: "
            f"{', '.join(each.label for each in preferred)}; name one of them as checkpoint_key"
        )
    chosen = preferred[0]
    return CheckpointChoice(
        chosen, tuple(each for each in candidates if 2 * each.known > len(each.names) and not _same(each, chosen))
    )


def shortened(names: Sequence[str]) -> str:
    """Join the first names, with the number of the others."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _in(at: tuple[str, ...], state: Mapping[str, Tensor], names: frozenset[str]) -> list[CheckpointCandidate]:
    """Return a candidate for each prefix of the network's names, or the whole state dict if there is none."""
    counts: Counter[str] = Counter()
    for name in state:
        starts = [0, *(dot.end() for dot in re.finditer(r"\.", name))]
        counts.update(name[:start] for start in starts if name[start:] in names)
    most = max(counts.values(), default=0)
    prefixes = [prefix for prefix, count in counts.items() if 2 * count >= most]
    return [CheckpointCandidate(at, prefix, state, names) for prefix in prefixes or [""]]


def _under(key: str, candidates: list[CheckpointCandidate], path: Path) -> list[CheckpointCandidate]:
    found = [each for each in candidates if each.label == key]
    found = found or [each for each in candidates if each.label.startswith(f"{key}.")]
    if not found:
        labels = [each.label for each in candidates]
        raise ModelError(f"{path} holds no weights under {key!r}{nearest(key, labels)}; it has: {shortened(labels)}")
    return found


def _distinct(candidates: list[CheckpointCandidate]) -> list[CheckpointCandidate]:
    kept: list[CheckpointCandidate] = []
    for each in candidates:
        if not any(_same(each, other) for other in kept):
            kept.append(each)
    return kept


def _same(one: CheckpointCandidate, other: CheckpointCandidate) -> bool:
    a, b = one.weights, other.weights
    return a.keys() == b.keys() and all(_equal(value, b[name]) for name, value in a.items())


def _equal(a: Tensor, b: Tensor) -> bool:
    try:
        return a.dtype == b.dtype and torch.equal(a, b)
    except (RuntimeError, NotImplementedError):  # sparse, quantised and meta tensors
        return False
