"""Precision escalation: fp16, post-training quantisation, QAT and mixed precision, until one keeps the metric."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgekd.artifact import capture, fill
from edgekd.data import Samples
from edgekd.log import get_logger
from edgekd.models.batchnorm import reestimate
from edgekd.models.copies import copied
from edgekd.quantize import freeze_ranges, observe, prepare
from edgekd.quantize.adaround import adaround
from edgekd.quantize.bias_correction import correct_biases
from edgekd.quantize.biases import round_biases
from edgekd.quantize.calibration import calibrate
from edgekd.quantize.equalization import equalize
from edgekd.quantize.fake_quant import FakeQuantize, fake_quants, weighted_layers
from edgekd.quantize.quantizer import PLACES, depends_on_places
from edgekd.quantize.registry import CALIBRATIONS
from edgekd.quantize.rounding import RoundingSearch
from edgekd.quantize.sensitivity import float_layers, keep_in_float, output_layers, sensitivities
from edgekd.spec import Spec
from edgekd.stages.job import Result, Training, Trial
from edgekd.stages.quantize.escalation import (
    Escalation,
    QuantizeJob,
    Values,
    escalation_of,
    noise_of,
    values_of,
)
from edgekd.stages.quantize.options import AUTO, Quantize
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.tensors import Named, map_inputs, output_tensors
from edgekd.train import distributed, outputs_of, predictions_of
from edgekd.train.device import channels_last
from edgekd.train.history import History, history_to_json
from edgekd.train.objective import Phased, TaskLoss

logger = get_logger(__name__)

# Validation samples that calibrations are compared on, and that layers' sensitivities are measured on.
CHOICE_SAMPLES, SCAN_SAMPLES = 2048, 512
# The share of the metric that several outputs in float must gain, or else they are in 8 bits.
HARMLESS = 0.002


def check(stage: Quantize, trial: Trial) -> tuple[str, ...]:
    """Trace the network with simulated quantisation."""
    prepare(trial.network(), trial.inputs)
    return ()


def quantize(job: QuantizeJob) -> Result:
    """Try the steps ``rungs`` in order until one keeps what the budget asks on the validation samples."""
    section = job.stage
    job.network.eval()  # a network from a checkpoint is not, and a forward pass would move its statistics
    if section.batchnorm_batches:
        reestimate(job.network, _batches(job, section.batchnorm_batches))
    predictions = _predictions(job, job.network)
    escalation = escalation_of(job, predictions)
    own = values_of(predictions, job, escalation.needed)
    if "half" in section.rungs and (result := _half(job, escalation)) is not None:
        return result
    if set(section.rungs) == {"half"}:
        return _as_float16(job, escalation)
    return _EightBits(job, escalation, own).run()


def _predictions(job: QuantizeJob, network: nn.Module) -> Tensor:
    return predictions_of(network, job.data, job.data.validation)


def _half(job: QuantizeJob, escalation: Escalation) -> Result | None:
    if not job.needs.computes_float16:
        escalation.skip("half", "not every target computes in float16: its file would be smaller, not faster")
        return None
    rounded = _rounded_to_half(job.network)
    if not escalation.step("half", values_of(_predictions(job, rounded), job, escalation.needed)):
        return None
    return _as_float16(job, escalation)


def _rounded_to_half(network: nn.Module) -> nn.Module:
    """Return ``network`` with weights and module outputs rounded to float16, as in a float16 file."""
    rounded = copied(network).eval()
    with torch.no_grad():
        for value in [*rounded.parameters(), *rounded.buffers()]:
            if value.is_floating_point():
                value.copy_(value.half())
    for module in rounded.modules():
        module.register_forward_hook(_to_half_and_back)
    return rounded


def _to_half_and_back(_: nn.Module, __: Any, output: Any) -> Any:
    return output.half().to(output.dtype) if isinstance(output, Tensor) and output.is_floating_point() else output


def _as_float16(job: QuantizeJob, escalation: Escalation) -> Result:
    metrics = {"history": [], "stopped": "half", **escalation.to_json()}
    return Result(job.network, job.spec.then(Quantize.name, {"precision": "float16"}), metrics)


class _EightBits:
    """Post-training quantisation, training, and mixed precision of one graph."""

    def __init__(self, job: QuantizeJob, escalation: Escalation, in_float: Values):
        self.job, self.escalation, self.stage, self.in_float = job, escalation, job.stage, in_float
        self.profile: str = job.stage.profile or job.needs.profile
        self.graph = prepare(job.network, job.spec.inputs, self.profile)
        self.history: History = []
        self.weights = "calibrated"

    def run(self) -> Result:
        self._calibrate()
        calibrated = self._spare_heads(self.values())
        used = [name for name in ("equalize", "adaround", "bias_correction") if getattr(self.stage, name)]
        met = self.escalation.step("ptq", calibrated, calibration=self.method, corrections=used)
        met = met and "ptq" in self.stage.rungs
        stopped = "ptq"
        if not met and self._may_train():
            met, stopped = self._train(calibrated), "qat"
        if not met and "mixed" in self.stage.rungs and self._mix():
            stopped = "mixed"
        metrics = {
            "history": history_to_json(self.history),
            "weights": self.weights,
            "stopped": stopped,
            "float_layers": float_layers(self.graph),
            **self.escalation.to_json(),
        }
        return Result(self.graph, self.spec, metrics)

    @property
    def spec(self) -> Spec:
        change = {"profile": self.profile, "placement": self.stage.placement}
        later = {"places": PLACES} if depends_on_places(self.graph) else {}
        return self.job.spec.then(Quantize.name, change | later)

    def values(self) -> Values:
        freeze_ranges(self.graph)
        return values_of(_predictions(self.job, self.graph), self.job, self.escalation.needed)

    def _may_train(self) -> bool:
        """Tell whether training in 8 bits is asked for, and can bring the metric to what is needed."""
        rungs = self.stage.rungs
        if "qat" not in rungs or not self.stage.epochs:
            return False
        # Whoever asks for training alone gets it.
        if "ptq" not in rungs or not (lost := self.escalation.surely_misses(self.job, self.in_float)):
            return True
        why = f"the float network misses what is needed by {lost} already: 8 bits give no better one"
        self.escalation.skip("qat", why)
        logger.info(f"  quantize: no training in 8 bits, {why}")
        return False

    def _calibrate(self) -> None:
        section, job = self.stage, self.job
        if section.equalize:
            equalize(self.graph)
        batches = list(_batches(job, section.calibration_batches))
        self.method = self._best_calibration(batches) if section.calibration == AUTO else section.calibration
        calibrate(self.graph, batches, self.method)
        if section.adaround:
            adaround(self.graph, batches, RoundingSearch(iterations=section.adaround, seed=job.seed))
        if section.bias_correction:
            correct_biases(self.graph, batches)
        round_biases(self.graph)

    def _best_calibration(self, batches: list[Named]) -> str:
        """Choose the calibration with the least divergence from the float network; its metric distinguishes too few."""
        samples = _first(self.job.data.validation, CHOICE_SAMPLES)
        reference = outputs_of(self.job.network, self.job.data, samples)
        found = {}
        for method in sorted(CALIBRATIONS):
            calibrate(self.graph, batches, method)
            outputs = outputs_of(self.graph, self.job.data, samples)
            found[method] = float(self.job.data.task.divergence(outputs, reference).sum())
        return min(found, key=lambda method: found[method])

    def _spare_heads(self, calibrated: Values) -> Values:
        """Leave the layers that give several outputs in float unless that gains nothing, and return the metrics.

        Steps of 8 bits cost most there: outputs such as boxes and scores are of different units.
        """
        if list(self.job.data.task.output_shapes) == [LOGITS]:
            return calibrated
        before = capture(self.graph, self.job.spec).tensors
        for layer in output_layers(self.graph):
            keep_in_float(self.graph, layer)
        spared = self.values()
        pairs = zip(self.escalation.needed, spared, calibrated, strict=True)
        if any(each.metric.drop(more, less) > HARMLESS * abs(more) for each, more, less in pairs):
            in_8_bits = self.escalation.metric.precisely(calibrated[0])
            logger.info(f"  quantize: layers of outputs stay in float, {in_8_bits} in 8 bits")
            return spared
        fill(self.graph, before)
        return calibrated

    def _train(self, calibrated: Values) -> bool:
        job, graph = replace(self.job, spec=self.spec), self.graph
        before = capture(graph, job.spec).tensors
        self.history = job.fit(graph, simulating)
        for module in fake_quants(graph).values():
            module.freeze_scale()
        round_biases(graph)
        trained = self.values()
        keep = self.escalation.keeps_trained(
            calibrated, trained, noise_of(self.job, self.escalation.metric, calibrated[0], trained[0])
        )
        self.weights = "trained" if keep else "calibrated"
        if not keep:
            metric = self.escalation.metric
            lost = f"{metric.scale * metric.drop(calibrated[0], trained[0]):.2f} {metric.unit_of_differences}"
            logger.info(f"  quantize: training lost {lost}, the calibrated weights are kept")
            fill(graph, before)
        return self.escalation.step("qat", trained, kept=keep) and keep

    def _divergence(self, outputs: Any, reference: Any) -> Tensor:
        return self.job.data.task.divergence(output_tensors(outputs), output_tensors(reference))

    def _mix(self) -> bool:
        """Return layers to float, the most sensitive first, until the metric is kept."""
        layers = [layer for layer in weighted_layers(self.graph) if layer.weight_fake_quant is not None]
        most = int(self.stage.mixed_share * len(layers))
        if missed := self.escalation.missed(self.in_float):
            self.escalation.skip("mixed", f"the float network misses the {missed[0].title} too")
            return False
        if self.escalation.step("mixed", self.values(), float_layers=[]):
            return True
        inputs = list(_inputs(self.job, _first(self.job.data.validation, SCAN_SAMPLES)))
        scan = sensitivities(self.graph, inputs, self._divergence)
        before = capture(self.graph, self.job.spec).tensors
        tried = 0
        while tried < most:
            # twice as many each time: a layer more or less is not worth an evaluation
            share = max(1, tried)
            for each in scan[tried : min(tried + share, most)]:
                keep_in_float(self.graph, each.layer)
            tried = min(tried + share, most)
            if self.escalation.step("mixed", self.values(), float_layers=float_layers(self.graph)):
                return True
        fill(self.graph, before)
        self.escalation.skip("mixed", f"{tried} of {len(layers)} layers in float are not enough; all stay in 8 bits")
        return False


def simulating(job: QuantizeJob, graph: nn.Module, training: Training) -> Training:
    """Train with simulated quantisation."""
    assert isinstance(graph, GraphModule)
    section = job.stage
    quantisers = list(fake_quants(graph).values())
    if section.learned_scales:
        for module in quantisers:
            module.learn_scale()
    objective = job.objective(graph)
    if section.teacher and section.teacher_after and job.teacher is not None:
        objective = Phased(TaskLoss(job.data.task, section.label_smoothing), objective, section.teacher_after)

    def before_step(step: int, total: int) -> None:
        observe(graph, not section.learned_scales and step < section.freeze_after * total)

    simulated = training.having(
        float32=True,
        to_train=freeze_ranges if section.learned_scales else observe,
        to_eval=freeze_ranges,
        before_step=before_step,
        after_backward=partial(_share_ranges, quantisers) if distributed.world_size() > 1 else None,
    )
    return replace(simulated, objective=objective)


def _share_ranges(quantisers: Sequence[FakeQuantize]) -> None:
    observed = [each for each in quantisers if each.observer_enabled[0]]
    if not observed:
        return
    # The smallest of averages that began at one value is the average of the smallest: what one process would have.
    bounds = distributed.maximum(torch.cat([part for each in observed for part in (-each.min_val, each.max_val)]))
    parts = iter(bounds.split([each.min_val.numel() for each in observed for _ in range(2)]))
    for each in observed:
        each.set_range(-next(parts), next(parts))


def _first(samples: Samples, count: int) -> Samples:
    return samples.select(torch.arange(min(count, len(samples))))


def _inputs(job: QuantizeJob, samples: Samples) -> Iterator[Named]:
    for raw, _ in samples.stream(torch.arange(len(samples)).split(job.data.batch_size)):
        yield map_inputs(job.data.to_input(raw), channels_last)


def _batches(job: QuantizeJob, number: int) -> Iterator[Named]:
    """Yield random training samples, the same for one seed."""
    data = job.data
    count = min(len(data.train), number * data.batch_size)
    chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(job.seed))[:count]
    yield from _inputs(job, data.train.select(chosen))
