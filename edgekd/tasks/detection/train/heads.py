"""The common form of heads' outputs in PyTorch, with gradients, and where their positions lie."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.precision import full
from edgekd.tasks.detection import outputs as heads
from edgekd.tasks.detection.train.bins import by_position, mean_distances
from edgekd.tasks.signature import LOGITS


class AnchorPoints(NamedTuple):
    """Positions at which a network looks.

    ``middles`` are (P, 2) or (N, P, 2) in pixels, and how far each reaches is (P,) or (N, 1, P).
    """

    middles: Tensor
    reach: Tensor


def merged(outputs: Mapping[str, Tensor], classes: int) -> Tensor:
    """Return the common form (N, positions, 4 + classes), as :func:`edgekd.tasks.detection.outputs.merged` does.

    Gradients pass distances below 0, which are taken for 0, so that they can grow again.
    """
    if LOGITS in outputs:
        return full(outputs[LOGITS])
    outputs = {name: full(each) for name, each in outputs.items()}
    if heads.has_anchors(outputs):
        return _with_anchors(outputs, classes)
    kind, levels = heads.sides(outputs), []
    for stride in heads.strides(outputs):
        raw = outputs[f"{kind}{stride}"]
        if kind == heads.BINS:
            distances = mean_distances(by_position(raw))
        else:
            distances = (raw + (raw.clamp(min=0) - raw).detach()).flatten(2).transpose(1, 2)
        far = distances * stride
        centres = middles(raw, stride)
        corners = torch.cat([centres - far[..., :2], centres + far[..., 2:]], 2)
        levels.append(torch.cat([corners, outputs[f"{heads.CLS}{stride}"].flatten(2).transpose(1, 2)], 2))
    if not levels:
        raise ModelError(f"the network gives {', '.join(outputs)}; a detector gives {heads.EXPECTED}")
    return torch.cat(levels, 1)


def anchor_points(outputs: Mapping[str, Tensor], common: Tensor) -> AnchorPoints:
    """Return where the positions of :func:`merged` lie; of a ``common`` form alone, the middles of its boxes."""
    if LOGITS in outputs:
        corners = common[..., :4].detach()
        return AnchorPoints((corners[..., :2] + corners[..., 2:]) / 2, common.new_zeros(common.shape[1]))
    if heads.has_anchors(outputs):
        anchors = full(outputs[heads.ANCHORS])
        sides = anchors[..., 2:] - anchors[..., :2]
        return AnchorPoints((anchors[..., :2] + anchors[..., 2:]) / 2, sides.amin(-1)[:, None] / 2)
    maps = {stride: outputs[f"{heads.CLS}{stride}"] for stride in heads.strides(outputs)}
    reach = [common.new_full((each.shape[2] * each.shape[3],), float(stride)) for stride, each in maps.items()]
    return AnchorPoints(torch.cat([middles(each, stride) for stride, each in maps.items()]), torch.cat(reach))


def distributions(outputs: Mapping[str, Tensor]) -> Tensor | None:
    """Return the logits (N, positions, 4, bins) of the boxes' sides at the positions of :func:`merged`.

    None where the network gives no distributions.

    Raises:
        ModelError: its levels have different numbers of bins.
    """
    if heads.has_anchors(outputs) or heads.sides(outputs) != heads.BINS:
        return None
    levels = [by_position(full(outputs[f"{heads.BINS}{stride}"])) for stride in heads.strides(outputs)]
    counts = [each.shape[-1] for each in levels]
    if len(set(counts)) > 1:
        raise ModelError(f"the levels of a detector have {', '.join(map(str, counts))} bins: give all the same number")
    return torch.cat(levels, 1)


def middles(maps: Tensor, stride: int) -> Tensor:
    height, width = maps.shape[2:]
    y = (torch.arange(height, device=maps.device, dtype=maps.dtype) + 0.5) * stride
    x = (torch.arange(width, device=maps.device, dtype=maps.dtype) + 0.5) * stride
    return torch.stack([x.repeat(height), y.repeat_interleave(width)], 1)


def _with_anchors(outputs: Mapping[str, Tensor], classes: int) -> Tensor:
    logits = outputs[heads.SCORES]
    if logits.shape[2] == classes + 1:
        logits = _against_the_rest(logits)[..., 1:]
    if heads.CENTERNESS in outputs:
        logits = _mean_logit(logits, outputs[heads.CENTERNESS])
    anchors = outputs[heads.ANCHORS]
    sides = anchors[..., 2:] - anchors[..., :2]
    centres = anchors[..., :2] + sides / 2
    if heads.DISTANCES in outputs:
        far = outputs[heads.DISTANCES].unflatten(2, (2, 2)) * sides[..., None, :]
        corners = torch.cat([centres - far[..., 0, :], centres + far[..., 1, :]], 2)
    else:
        deltas = outputs[heads.DELTAS]
        if heads.SCALES in outputs:
            deltas = deltas / outputs[heads.SCALES][:, None]
        middle = centres + deltas[..., :2] * sides
        half = deltas[..., 2:].clamp(max=heads.LARGEST_STRETCH).exp() * sides / 2
        corners = torch.cat([middle - half, middle + half], 2)
    return torch.cat([corners, logits], 2)


def _against_the_rest(logits: Tensor) -> Tensor:
    """Return log p − log (1 − p) of the softmax, by sums from both ends, from which no class is subtracted."""
    highest = logits.detach().amax(-1, keepdim=True)
    powers = (logits - highest).exp()
    before = F.pad(powers.cumsum(-1)[..., :-1], (1, 0))
    after = F.pad(powers.flip(-1).cumsum(-1).flip(-1)[..., 1:], (0, 1))
    return logits - highest - (before + after).clamp(min=torch.finfo(powers.dtype).tiny).log()


def _mean_logit(first: Tensor, second: Tensor) -> Tensor:
    log = 0.5 * (F.logsigmoid(first) + F.logsigmoid(second))
    return log - torch.log(-torch.expm1(log.clamp(max=-1e-7)))
