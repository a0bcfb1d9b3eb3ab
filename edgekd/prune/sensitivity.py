"""What each channel group's cut costs by itself: one group, one width, one score."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from edgekd.artifact import tensors_of
from edgekd.errors import ModelError
from edgekd.files import canonical_json, sha256, write_json
from edgekd.models.size import macs_by_module
from edgekd.progress import track
from edgekd.prune.importance.gradients import Batches, Loss
from edgekd.prune.plan import Plan
from edgekd.prune.prunable import Prunable
from edgekd.train.batchnorm import reestimate

VERSION = 1
Score = Callable[[nn.Module], float]


@dataclass(frozen=True)
class Cut:
    """``width`` channels are left; ``score`` is None where the time did not reach it."""

    ratio: float
    width: int
    score: float | None


@dataclass(frozen=True)
class Sensitivity:
    """What the network scores with one channel group cut alone, and ``uncut`` with none.

    ``share`` is that of the group's layers in the network's MACs; a layer between two groups counts for both. A width
    that rounding leaves as it is scores what the uncut network does.
    """

    layer: str
    width: int
    share: float
    uncut: float
    cuts: tuple[Cut, ...]

    @property
    def missing(self) -> tuple[float, ...]:
        """The ratios that were not measured."""
        return tuple(cut.ratio for cut in self.cuts if cut.score is None)


@dataclass(frozen=True)
class _Trial:
    group: int
    keep: int
    plan: Plan


def scan(
    network: nn.Module,
    input_shape: tuple[int, ...],
    score: Score,
    *,
    ratios: Sequence[float] = (0.25, 0.5, 0.75),
    importance: str = "group_magnitude",
    round_to: int = 8,
    batches: Sequence[Tensor] = (),
    ignore: Sequence[str] = (),
    labelled: Batches | None = None,
    loss: Loss = F.cross_entropy,
    seconds: float | None = None,
    cache: Path | None = None,
) -> list[Sensitivity]:
    """Cuts each channel group alone by each ratio and scores what is left. The most MACs first.

    Under a time limit the middle ratio of every group comes first, the group with the most MACs before the others,
    then the ratios beside it. What does not fit is missing from the result, never guessed. ``network`` itself is left
    as it is.

    Args:
        input_shape: one input without its batch.
        score: called with a copy in evaluation mode, such as the validation accuracy; more is better. It must give
            the same number for the same network.
        ratios: shares of a group's channels to cut, in (0, 1).
        importance: an entry of ``IMPORTANCES``; it says which channels go.
        round_to: the widths that are left are multiples of this.
        batches: inputs of shape (N, *input_shape) to estimate BatchNorm's statistics anew from after each cut; with
            none they stay as they were.
        ignore: path patterns of layers to leave alone.
        labelled: (inputs, labels) for importances that look at gradients.
        loss: of (logits, labels), for the same.
        seconds: the time limit; a cut is not begun where one as long as the last would not end in time. The uncut
            network is scored in any case.
        cache: a folder to keep scores in, for these weights and batches. Another call, or one after a kill, measures
            only what is not there. Where the uncut network now scores otherwise, the file's scores are not used.

    Raises:
        ModelError: no channels to cut, a ratio that cannot be, or an uncut network whose score is not finite.
        StorageError: the cache cannot be written.
    """
    _must_be_shares(ratios)
    end = math.inf if seconds is None else time.perf_counter() + seconds
    with _in_evaluation(network):
        prunable = Prunable(
            network,
            input_shape,
            importance=importance,
            round_to=round_to,
            max_ratio=1.0,
            ignore=ignore,
            batches=labelled,
            loss=loss,
        )
        shares = _shares(prunable)
        groups = sorted(range(len(shares)), key=lambda group: -shares[group])
        trials = {
            (group, ratio): _trial(prunable, group, ratio) for ratio in _middle_outwards(ratios) for group in groups
        }
        begun = time.perf_counter()
        uncut = _uncut(network, score)
        spent = time.perf_counter() - begun
        path = cache and cache / f"sensitivity-{_key(network, input_shape, batches)[:16]}.json"
        scores = _Scores(path, uncut)
        for trial in track(trials.values(), "sensitivity of channel groups", len(trials)):
            begun = time.perf_counter()
            if scores.find(trial) is None and begun + spent <= end:
                scores.add(trial, _scored(prunable, trial, batches, score))
                spent = time.perf_counter() - begun

    def cuts(group: int) -> tuple[Cut, ...]:
        own = [(ratio, trials[group, ratio]) for ratio in ratios]
        return tuple(Cut(ratio, trial.keep * repeats[group], scores.find(trial)) for ratio, trial in own)

    repeats, width = [group.repeats for group in prunable.groups], [group.width for group in prunable.groups]
    return [Sensitivity(prunable.roots[each], width[each], shares[each], uncut, cuts(each)) for each in groups]


class _Scores:
    def __init__(self, path: Path | None, uncut: float):
        self.path, self.uncut = path, uncut
        self.scores = {_name([]): uncut, **_read(path, uncut)}

    def find(self, trial: _Trial) -> float | None:
        return self.scores.get(_name(trial.plan))

    def add(self, trial: _Trial, score: float) -> None:
        self.scores[_name(trial.plan)] = score
        if self.path is not None:
            # JSON has no NaN, and float() reads it from a string.
            plain = {name: value if math.isfinite(value) else str(value) for name, value in self.scores.items()}
            write_json(self.path, {"uncut": self.uncut, "scores": plain})


def _must_be_shares(ratios: Sequence[float]) -> None:
    for ratio in ratios:
        if not 0 < ratio < 1:
            raise ModelError(f"cannot cut a share of {ratio} of a group's channels: give ratios between 0 and 1")


def _uncut(network: nn.Module, score: Score) -> float:
    value = float(score(copy.deepcopy(network)))
    if not math.isfinite(value):
        raise ModelError(f"the uncut network scores {value}: nothing can be compared with it; look at the network")
    return value


def _trial(prunable: Prunable, index: int, ratio: float) -> _Trial:
    group = prunable.groups[index]
    keep = prunable.rounded(group, round(len(group.scores) * (1 - ratio)))
    channels = group.cut(keep)
    return _Trial(index, keep, [[prunable.roots[index], True, channels]] if channels else [])


def _scored(prunable: Prunable, trial: _Trial, batches: Sequence[Tensor], score: Score) -> float:
    keeps = [len(group.scores) for group in prunable.groups]
    keeps[trial.group] = trial.keep
    smaller, _ = prunable.cut(keeps)
    if batches:
        reestimate(smaller, batches)
    return float(score(smaller))


def _shares(prunable: Prunable) -> list[float]:
    structure, macs = prunable.structure, macs_by_module(prunable.network, prunable.input_shape)
    total = sum(macs.get(layer, 0) for layer in structure.sides)
    own = [sum(macs.get(layer, 0) for layer in structure.layers_of(index)) for index in range(len(prunable.groups))]
    return [each / total for each in own]


@contextmanager
def _in_evaluation(network: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _middle_outwards(ratios: Sequence[float]) -> list[float]:
    ordered = sorted(ratios)
    middle = (len(ordered) - 1) / 2
    return [ordered[index] for index in sorted(range(len(ordered)), key=lambda index: abs(index - middle))]


def _name(plan: Plan) -> str:
    return sha256(canonical_json(plan))[:16]


def _key(network: nn.Module, input_shape: tuple[int, ...], batches: Sequence[Tensor]) -> str:
    tensors = {**tensors_of(network), **{f"batch {index}": batch for index, batch in enumerate(batches)}}
    content = save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()})
    return sha256(canonical_json([VERSION, str(network), input_shape]) + content)


def _read(path: Path | None, uncut: float) -> dict[str, float]:
    # A file that is missing, damaged or of another score holds nothing.
    try:
        document = json.loads(path.read_text()) if path else {}
        scores = {str(plan): float(value) for plan, value in document["scores"].items()}
        return scores if document["uncut"] == uncut else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
