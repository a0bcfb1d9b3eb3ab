"""Sensitivity scan: each channel group is cut alone, and the network scored and timed without the channels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import nn

from edgekd.errors import EdgekdError, ModelError
from edgekd.files import canonical_json, is_file, locked, read_object, sha256, write_json
from edgekd.models.batchnorm import reestimate
from edgekd.models.copies import copied
from edgekd.models.modes import in_evaluation
from edgekd.models.size import macs_by_module
from edgekd.progress import track
from edgekd.prune.importance.gradients import Batches, Loss
from edgekd.prune.kept_scores import content_key, plain_numbers, read_numbers
from edgekd.prune.plan import Plan
from edgekd.prune.prunable import Prunable
from edgekd.ranges import COUNT, SHARE
from edgekd.strict_json import build_record
from edgekd.tasks.signature import Shape, Signature
from edgekd.tasks.tensors import Inputs

Score = Callable[[nn.Module], float]
Latency = Callable[[nn.Module], float]


@dataclass(frozen=True)
class ScannedCut:
    """A cut of one channel group to ``width`` channels.

    Attributes:
        score: None where the limit left it out.
        latency: as a share of the uncut network's; None where the limit left it out or none was asked for.
    """

    ratio: float
    width: int
    score: float | None
    latency: float | None = None


@dataclass(frozen=True)
class Sensitivity:
    """The scores of a network with one channel group cut alone.

    A cut that rounding leaves at the full width has the score and the latency of the uncut network.

    Attributes:
        layer: the path of the group's root.
        share: the share of the group's layers in the network's MACs; a layer between two groups counts for both.
        uncut: the score of the uncut network.
    """

    layer: str
    width: int
    share: float
    uncut: float
    cuts: tuple[ScannedCut, ...]

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Sensitivity":
        return build_record(cls, document, cuts=tuple(build_record(ScannedCut, each) for each in document["cuts"]))

    @property
    def missing(self) -> tuple[float, ...]:
        """Return the ratios that were not scored."""
        return tuple(cut.ratio for cut in self.cuts if cut.score is None)


@dataclass(frozen=True)
class _Trial:
    group: int
    keep: int
    plan: Plan

    @property
    def name(self) -> str:
        return _name(self.plan)


def scan(
    network: nn.Module,
    input_shape: Shape | Signature,
    score: Score,
    *,
    latency: Latency | None = None,
    latency_setting: str = "",
    ratios: Sequence[float] = (0.25, 0.5, 0.75),
    importance: str = "group_magnitude",
    reduction: str | None = None,
    round_to: int = 8,
    batches: Sequence[Inputs] = (),
    ignore: Sequence[str] = (),
    labelled: Batches | None = None,
    loss: Loss = F.cross_entropy,
    cuts: int | None = None,
    cache: Path | None = None,
) -> list[Sensitivity]:
    """Cut each channel group alone by each ratio, and score and time the network. Groups with most MACs come first.

    Under a limit the middle ratio of every group is scored first, in the order of the groups' MACs, then the ratios
    next to it. Cuts beyond it are missing from the result, never guessed. It is of work and not of time, so that scores
    are the same on a slow machine. ``network`` itself is left as it is.

    Args:
        input_shape: shape of one input, without the batch; or a signature.
        score: called with a copy in evaluation mode, such as the validation accuracy; more is better. It must give
            the same number for the same network.
        latency: called with the same copy after it; gives the cut network's time over the uncut one's, above 0. With a
            table of layer times use :func:`edgekd.prune.latency.predict.predictor`; with a
            :class:`edgekd.prune.clock.Clock`, ``lambda cut: clock.time(cut).measured``.
        latency_setting: the setting of the latencies, such as ``"int8, 1 thread, my-phone"``. The cache keeps settings
            apart by this text alone.
        ratios: shares of a group's channels to cut, in (0, 1).
        importance, reduction: as of :class:`Prunable`; they rank the channels of a group.
        round_to: the widths that are left are multiples of this.
        batches: inputs of shape (N, *input_shape), or tuples of several inputs, to estimate BatchNorm's statistics
            from after each cut; without them the statistics stay as they are.
        ignore: path patterns of layers to leave alone.
        labelled: (inputs, labels) for importances that need gradients.
        loss: ``loss(logits, labels)``, for the same.
        cuts: the most cuts to score, at least 1; all if left out. Those that the cache has count too.
        cache: a folder for scores and latencies, for these weights and batches. Another call, or one after a kill,
            measures only what is missing there. Scores of the file are ignored if the uncut network's score differs.

    Raises:
        ModelError: no channels to cut, a ratio or a limit out of range, an uncut network whose score is not finite, or
            a latency that is not above 0.
        StorageError: the cache cannot be written.
    """
    _must_be_shares(ratios)
    COUNT.check(ModelError, cuts=cuts)
    with in_evaluation(network):
        prunable = Prunable(
            network,
            input_shape,
            importance=importance,
            reduction=reduction,
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
        scored = {_name([]), *islice(dict.fromkeys(each.name for each in trials.values() if each.plan), cuts)}
        uncut = _uncut(network, score)
        path = cache and cache / f"sensitivity-{content_key(network, input_shape, batches)[:16]}.json"
        found = _ScanCache(path, uncut, latency_setting)
        measures = {"score": score} if latency is None else {"score": score, "latency": latency}
        within = [each for each in trials.values() if each.name in scored]
        for trial in track(within, "sensitivity of channel groups", len(within)):
            missing = [measure for measure in measures if found.find(measure, trial) is None]
            if missing:
                smaller = _cut(prunable, trial, batches)
                for measure in missing:
                    found.add(measure, trial, float(measures[measure](smaller)))

    def value(measure: str, trial: _Trial) -> float | None:
        return found.find(measure, trial) if trial.name in scored else None

    def scanned(group: int) -> tuple[ScannedCut, ...]:
        own = [(ratio, trials[group, ratio]) for ratio in ratios]
        return tuple(
            ScannedCut(ratio, trial.keep * repeats[group], **{name: value(name, trial) for name in measures})
            for ratio, trial in own
        )

    repeats, width = [group.repeats for group in prunable.groups], [group.width for group in prunable.groups]
    return [Sensitivity(prunable.roots[each], width[each], shares[each], uncut, scanned(each)) for each in groups]


class _ScanCache:
    """Scores and latencies by plan, and the file's latencies of other settings."""

    def __init__(self, path: Path | None, uncut: float, setting: str):
        self.path, self.uncut, self.setting = path, uncut, setting
        stored, uncut_plan = _read(path), _name([])
        self.latencies = {**stored.latencies, setting: {uncut_plan: 1.0, **stored.latencies.get(setting, {})}}
        # Another uncut score means another score function; latencies do not depend on it.
        scores = stored.scores if stored.uncut == uncut else {}
        self.values = {"score": {uncut_plan: uncut, **scores}, "latency": self.latencies[setting]}

    def find(self, measure: str, trial: _Trial) -> float | None:
        return self.values[measure].get(trial.name)

    def add(self, measure: str, trial: _Trial, value: float) -> None:
        if measure == "latency" and not 0 < value < math.inf:
            layer, _, channels = trial.plan[0]
            raise ModelError(
                f"without {len(channels)} channels of {layer!r} the network takes {value} of its time: latency must "
                "give a number above 0"
            )
        self.values[measure][trial.name] = value
        if self.path is not None:
            with locked(self.path, "the scan of sensitivity"):
                self._write(self.path)

    def _write(self, path: Path) -> None:
        """Write the file, merged with what other processes have measured meanwhile."""
        other = _ScanCache(path, self.uncut, self.setting)
        scores = {**other.values["score"], **self.values["score"]}
        latencies = {name: {**other.latencies.get(name, {}), **own} for name, own in self.latencies.items()}
        write_json(
            path, {"uncut": self.uncut, "scores": plain_numbers(scores), "latencies": {**other.latencies, **latencies}}
        )


def _must_be_shares(ratios: Sequence[float]) -> None:
    for ratio in ratios:
        SHARE.check(ModelError, ratios=ratio)


def _uncut(network: nn.Module, score: Score) -> float:
    value = float(score(copied(network)))
    if not math.isfinite(value):
        raise ModelError(f"the uncut network scores {value}: nothing can be compared with it; look at the network")
    return value


def _trial(prunable: Prunable, index: int, ratio: float) -> _Trial:
    group = prunable.groups[index]
    keep = prunable.rounded(group, round(len(group.scores) * (1 - ratio)))
    channels = group.cut(keep)
    return _Trial(index, keep, [[prunable.roots[index], True, channels]] if channels else [])


def _cut(prunable: Prunable, trial: _Trial, batches: Sequence[Inputs]) -> nn.Module:
    keeps = [len(group.scores) for group in prunable.groups]
    keeps[trial.group] = trial.keep
    smaller, _ = prunable.cut(keeps)
    if batches:
        reestimate(smaller, batches)
    return smaller


def _shares(prunable: Prunable) -> list[float]:
    structure, macs = prunable.structure, macs_by_module(prunable.network, prunable.input_shape)
    total = sum(macs.get(layer, 0) for layer in structure.fans)
    own = [sum(macs.get(layer, 0) for layer in structure.layers_of(index)) for index in range(len(prunable.groups))]
    return [each / total for each in own]


def _middle_outwards(ratios: Sequence[float]) -> list[float]:
    ordered = sorted(ratios)
    middle = (len(ordered) - 1) / 2
    return [ordered[index] for index in sorted(range(len(ordered)), key=lambda index: abs(index - middle))]


def _name(plan: Plan) -> str:
    return sha256(canonical_json(plan))[:16]


@dataclass(frozen=True)
class _Stored:
    uncut: float | None
    scores: dict[str, float]
    latencies: dict[str, dict[str, float]]


def _read(path: Path | None) -> _Stored:
    # A file that is missing or damaged holds nothing.
    try:
        document = read_object(path, "it is made again") if path and is_file(path) else {}
    except EdgekdError:
        document = {}
    latencies = document.get("latencies")
    known = latencies if isinstance(latencies, dict) else {}
    return _Stored(
        document.get("uncut"),
        read_numbers(document.get("scores")),
        {str(setting): read_numbers(values) for setting, values in known.items()},
    )
