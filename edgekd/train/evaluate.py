"""Outputs and predictions of a network, sample by sample, and the metrics of a validation."""

import math
from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from edgekd.data import DataSet, Samples, in_order
from edgekd.machine_lock import give_way, training
from edgekd.precision import ieee_float32
from edgekd.tasks.logits import must_have_outputs
from edgekd.tasks.metric import Evidence, Metric
from edgekd.tasks.signature import LOGITS, call
from edgekd.train import distributed
from edgekd.train.device import laid_out


def logits_of(network: nn.Module, data: DataSet, samples: Samples, batch_size: int | None = None) -> Tensor:
    """Return the output ``logits`` (N, ...) of :func:`outputs_of`."""
    return outputs_of(network, data, samples, batch_size)[LOGITS]


def outputs_of(network: nn.Module, data: DataSet, samples: Samples, batch_size: int | None = None) -> dict[str, Tensor]:
    """Return the outputs (N, ...) that the task decodes, by name, in the order of ``samples``.

    Floats are float32, and all are on the CPU. The network is in evaluation mode already.

    Raises:
        ModelError: the network does not give the outputs that the task decodes.
    """
    parts = list(_batches_of_outputs(network, data, samples, batch_size))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def predictions_of(network: nn.Module, data: DataSet, samples: Samples) -> Tensor:
    """Return the rows (N, ...) that the task keeps of the outputs, in the order of ``samples``.

    For classes they are the predicted ones (N,), −1 where logits are not finite.
    """
    parts = []
    for outputs in _batches_of_outputs(network, data, samples):
        parts.append(torch.from_numpy(data.task.to_rows({name: each.numpy() for name, each in outputs.items()})))
    return torch.cat(parts)


@torch.inference_mode()
def _batches_of_outputs(
    network: nn.Module, data: DataSet, samples: Samples, batch_size: int | None = None
) -> Iterator[dict[str, Tensor]]:
    device, wanted = next(chain(network.parameters(), network.buffers())).device, data.task.output_shapes
    with training():
        for raw, _ in in_order(samples, batch_size or data.batch_size):
            with ieee_float32():
                found = call(network, laid_out(data.to_input(raw), device))
            must_have_outputs({name: tuple(each.shape) for name, each in found.items()}, wanted, type(network).__name__)
            yield {name: _at_home(found[name]) for name in wanted or found}
            give_way()


def _at_home(output: Tensor) -> Tensor:
    return (output.float() if output.is_floating_point() else output).cpu()


def distributed_predictions_of(network: nn.Module, data: DataSet, samples: Samples) -> Tensor:
    """Return :func:`predictions_of` all ``samples`` on all ranks, each of which predicts its shard of them."""
    ranks = distributed.world_size()
    if ranks == 1:
        return predictions_of(network, data, samples)
    # All shards are equally long: the last sample fills them up.
    padded = torch.arange(-(-len(samples) // ranks) * ranks).clamp(max=len(samples) - 1)
    own = predictions_of(network, data, samples.select(distributed.shard(padded)))
    return distributed.all_gather(own)[: len(samples)]


def metric_of(network: nn.Module, data: DataSet, samples: Samples) -> float:
    """Return the task's first metric of ``network`` on ``samples``; NaN if outputs are not finite."""
    return value_of(predictions_of(network, data, samples), data, samples)


def evidence_of(predictions: Tensor, data: DataSet, samples: Samples, metric: Metric | None = None) -> Evidence:
    """Return the evidence for ``metric``, or the task's first, from :func:`predictions_of` on ``samples``."""
    task, targets = data.task, data.task.targets(samples.labels.numpy())
    return (metric or task.metrics[0]).evidence(task.from_rows(predictions.numpy()), targets)


def value_of(predictions: Tensor, data: DataSet, samples: Samples, metric: Metric | None = None) -> float:
    """Return ``metric``, or the task's first, from :func:`predictions_of` on ``samples``; NaN if one is not finite."""
    if not data.task.is_finite(predictions.numpy()):
        return math.nan
    return evidence_of(predictions, data, samples, metric).value()


def validation_metrics(
    predictions: Tensor, data: DataSet, teacher_predictions: Tensor | None = None
) -> dict[str, float]:
    """Compute the task's first metric, and with a teacher that of the teacher and the ``agreement`` of both.

    Args:
        predictions, teacher_predictions: (N, ...), from :func:`predictions_of` on the validation samples.

    Returns:
        ``validation_accuracy``, ``teacher_validation_accuracy`` for accuracy, and so on; ``agreement`` is the share of
        samples, in [0, 1], that both predict alike.
    """
    task, name = data.task, f"validation_{data.task.metrics[0].name}"
    own = {name: value_of(predictions, data, data.validation)}
    if teacher_predictions is None:
        return own
    alike = task.agree(*(task.from_rows(each.numpy()) for each in (predictions, teacher_predictions)))
    return {
        **own,
        f"teacher_{name}": value_of(teacher_predictions, data, data.validation),
        "agreement": int(alike.sum()) / len(alike),
    }
