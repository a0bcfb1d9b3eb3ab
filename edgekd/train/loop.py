"""The one training loop: every stage that trains runs it with its own network, objective and section."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgekd.artifact import fill, tensors_of
from edgekd.data import DataSet
from edgekd.data.augment import augment_samples, draws_of
from edgekd.data.views import Views
from edgekd.errors import TrainingError
from edgekd.machine_lock import give_way, training
from edgekd.models.copies import copied
from edgekd.precision import ieee_float32
from edgekd.ranges import NOT_NEGATIVE, SEED, SHARE_OR_NONE
from edgekd.tasks.tensors import Named
from edgekd.train import distributed
from edgekd.train.batches import batches, mix
from edgekd.train.checkpoint import State, load_state, save_state
from edgekd.train.device import laid_out, lay_out, make_fabric, moved, trains_channels_last
from edgekd.train.distributed_loss import DistributedLoss
from edgekd.train.evaluate import distributed_predictions_of, validation_metrics
from edgekd.train.first_statistics import FirstStatistics
from edgekd.train.history import Epoch, History
from edgekd.train.l2_sp import L2SP
from edgekd.train.memory import keep_freed_memory
from edgekd.train.objective import Batch, Objective, total
from edgekd.train.optimizers import OPTIMIZERS
from edgekd.train.options import Train
from edgekd.train.progress import StageProgress
from edgekd.train.schedule import learning_rate
from edgekd.train.transfer import Transfer

FINITE_EVERY = 50

Mode = Callable[[nn.Module], Any]


@dataclass(frozen=True)
class FitOptions:
    """How :func:`fit` goes about a training, apart from the options in :class:`~edgekd.train.Train`.

    Attributes:
        seed: start of all random numbers.
        name: of the training, for progress and messages.
        folder: where checkpoints are kept, at most every ``save_every`` seconds; none without it.
        float32: refuse reduced precision also where the device has it.
        to_train, to_eval: how to switch modes; exported graphs need ways of their own.
        before_step: called with the step and the number of steps before each one.
        after_backward: called when gradients are there and not yet clipped.
        begin: the share of the learning rate's schedule that is left out at its start, in [0, 1).
        views: of the training images, a fixed one in each epoch, in place of random ones.
        teacher_predictions: (N,), from :func:`~edgekd.train.predictions_of` for a teacher on ``data.validation``; each
            entry then has its accuracy there, and the agreement, the share of samples that both classify alike.
        log: receives each epoch's entry.
    """

    seed: int = 0
    name: str = "training"
    folder: Path | None = None
    save_every: float = 10.0
    float32: bool = False
    to_train: Mode = nn.Module.train
    to_eval: Mode = nn.Module.eval
    before_step: Callable[[int, int], None] | None = None
    after_backward: Callable[[], None] | None = None
    begin: float = 0.0
    views: Views | None = None
    teacher_predictions: Tensor | None = None
    log: Callable[[Epoch], None] | None = None

    def __post_init__(self) -> None:
        SEED.check(TrainingError, seed=self.seed)
        NOT_NEGATIVE.check(TrainingError, save_every=self.save_every)
        SHARE_OR_NONE.check(TrainingError, begin=self.begin)


USUAL = FitOptions()


def fit(
    network: nn.Module, data: DataSet, section: Train, objective: Objective, options: FitOptions = USUAL
) -> History:
    """Train ``network`` in place and return its history, one entry per epoch.

    A step depends on nothing but the weights, the seed and its own number, so a training that is killed
    and goes on from its checkpoint ends in the same bits as one that is not. PyTorch's random state is left as it was.

    Under torchrun all processes call it alike. They train one network, the first one's, on ``data.batch_size`` samples
    each, and have the same weights and the same history after it; the first one alone keeps checkpoints.

    Raises:
        TrainingError: the loss is no longer a finite number, ``section`` names layers that are not there, or another
            process of several has ended.
    """
    fitting = _Training(network, data, section, objective, options)
    device = fitting.fabric.device
    with distributed.translate_errors(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        return fitting.run()


class _Training:
    """One call of :func:`fit`."""

    def __init__(self, network: nn.Module, data: DataSet, section: Train, objective: Objective, options: FitOptions):
        self.network, self.data, self.section, self.options = network, data, section, options
        self.saved = time.monotonic()
        self.fabric = make_fabric(options.float32)
        if distributed.world_size() > 1:
            fill(network, distributed.broadcast(tensors_of(network)))
        self.channels_last = trains_channels_last(network, self.fabric.device)
        lay_out(network, self.channels_last)
        self.objective = lay_out(objective.to(self.fabric.device), self.channels_last)
        learned = objective.learned()
        along = list(learned.parameters()) if learned else []
        self.transfer = Transfer(network, section)
        groups = self.transfer.groups(along)
        optimizer = OPTIMIZERS.find(section.optimizer)(groups, section.lr, section.momentum)
        self.wrapped, self.optimizer = self.fabric.setup(network, optimizer)
        # Before a checkpoint is loaded: the pull is towards where the training first began.
        self.l2_sp = L2SP(self.transfer.pulled.values(), section.l2_sp) if section.l2_sp else None
        self.first_statistics = FirstStatistics(network)
        averaging = get_ema_multi_avg_fn(section.ema) if section.ema else None
        self.average = AveragedModel(copied(network), multi_avg_fn=averaging) if averaging else None
        modules = {"network": network, "average": self.average, "learned": learned}
        self.modules = {name: module for name, module in modules.items() if module is not None}
        self.state = load_state(options.folder, self.modules, self.optimizer.optimizer) if options.folder else State()
        alone = distributed.world_size() == 1
        self.ranks = None if alone else DistributedLoss(self.wrapped, self.objective, learned)
        self.per_epoch = len(batches(data, options.seed, 0))
        self.total = section.epochs * self.per_epoch

    def run(self) -> History:
        try:
            with keep_freed_memory(), ieee_float32(self.options.float32):
                self.run_epochs()
        finally:
            self.transfer.leave()
            self.first_statistics.leave()
        if self.average:
            self.network.load_state_dict(self.average.module.state_dict())
        self.options.to_eval(self.network)
        self.network.cpu()
        self.objective.cpu()
        return self.state.history

    def run_epochs(self) -> None:
        section, metric = self.section, self.data.task.metrics[0]
        with StageProgress(self.options.name, section.epochs, self.per_epoch, self.state, metric) as progress:
            while self.state.step < self.total:
                epoch, done = divmod(self.state.step, self.per_epoch)
                self.options.to_train(self.network)
                self.transfer.enter(epoch)
                order = [distributed.shard(indices) for indices in batches(self.data, self.options.seed, epoch)[done:]]
                with training():
                    for indices, (raw, labels) in zip(order, self.data.train.stream(order), strict=True):
                        self.step(raw, labels, indices)
                        progress.step(self.state)
                        if self.state.step % self.per_epoch and self.may_save():
                            self.save_if_due()
                        give_way()
                    entry = self.end_of_epoch(epoch)
                    self.save_if_due()
                progress.epoch(entry)
                if self.options.log:
                    self.options.log(entry)

    def step(self, raw: Named, labels: Tensor, indices: Tensor) -> None:
        state, device = self.state, self.fabric.device
        _prepare(self.optimizer, self.rate(state.step), self.options.seed, state.step)
        self.first_statistics.before_step()
        if self.options.before_step:
            self.options.before_step(state.step, self.total)
        view = self.options.views.of_epoch(state.step // self.per_epoch) if self.options.views else None
        seen, labels = self.augmented(raw, labels, indices, view)
        inputs = laid_out(self.data.to_input(seen), device, self.channels_last)
        with self.fabric.autocast():
            batch = Batch(inputs, moved(labels, device), indices, state.step / self.total, view)
            terms = self.ranks.terms(batch) if self.ranks else self.objective.terms(self.wrapped, batch)
            loss = total(terms)
        self.fabric.backward(loss)
        if self.l2_sp:
            self.l2_sp.pull()
        if self.options.after_backward:
            self.options.after_backward()
        if self.section.clip_norm:
            self.fabric.clip_gradients(
                self.wrapped, self.optimizer, max_norm=self.section.clip_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.network)
        state.step += 1
        state.loss_sum += _read(loss)
        if len(terms) > 1:
            for name, value in terms.items():
                state.term_sums[name] = state.term_sums.get(name, 0.0) + _read(value)
        self.check()

    def augmented(self, raw: Named, labels: Tensor, indices: Tensor, view: int | None) -> tuple[Named, Tensor]:
        names = self.data.augment
        if not isinstance(raw, Tensor):
            return raw, labels
        if self.options.views and view is not None:
            drawn = self.options.views.uniforms(view, indices, draws_of(names))
        else:
            generator = torch.Generator().manual_seed(mix(self.options.seed, 3, self.state.step))
            # Drawn for the samples of all processes, as one of them would.
            count = len(raw) * distributed.world_size()
            drawn = distributed.shard(torch.rand(count, draws_of(names), dtype=torch.float64, generator=generator))
        return augment_samples(raw, labels, names, drawn, self.data.task)

    def check(self) -> None:
        state = self.state
        if state.step % FINITE_EVERY == 0 or state.step % self.per_epoch == 0:
            self.read_losses()

    def read_losses(self) -> None:
        # What was added up since the last time is this process's own; it becomes the mean of all.
        state = self.state
        sums = [float(value) for value in (state.loss_sum, *state.term_sums.values())]
        first, *rest = distributed.mean(torch.tensor(sums, dtype=torch.float64)).tolist()
        state.loss_sum = _finite(first, "loss", self.options.name, self.epoch, self.section)
        state.term_sums = dict(zip(state.term_sums, rest, strict=True))

    def may_save(self) -> bool:
        # Several processes agree on it by a message, which is not worth sending after every step.
        return distributed.world_size() == 1 or self.state.step % FINITE_EVERY == 0

    def save_if_due(self) -> None:
        folder, is_due = self.options.folder, time.monotonic() - self.saved > self.options.save_every
        if folder is None or not distributed.broadcast(is_due):
            return
        self.read_losses()
        distributed.on_rank_zero(partial(save_state, folder, self.state, self.modules, self.optimizer.optimizer))
        self.saved = time.monotonic()

    @property
    def epoch(self) -> int:
        return (self.state.step - 1) // self.per_epoch

    def end_of_epoch(self, epoch: int) -> Epoch:
        evaluated = self.average.module if self.average else self.network
        self.options.to_eval(evaluated)
        # The loss is of the weights before the last update; only the network's predictions tell what that one did.
        validation, last = self.data.validation, self.state.step - 1
        predictions = distributed_predictions_of(evaluated, self.data, validation)
        metrics = validation_metrics(predictions, self.data, self.options.teacher_predictions)
        headline = self.data.task.metrics[0]
        value = metrics[f"validation_{headline.name}"]
        _finite(value, f"validation {headline.title}", self.options.name, epoch, self.section)
        metrics |= self.objective.metrics(last / self.total)
        loss = self.state.loss_sum / self.per_epoch
        terms = {name: value / self.per_epoch for name, value in self.state.term_sums.items()}
        entry = Epoch(epoch + 1, loss, self.rate(last), metrics, terms)
        self.state.history.append(entry)
        self.state.loss_sum, self.state.term_sums = 0.0, {}
        return entry

    def rate(self, step: int) -> float:
        return learning_rate(self.section.schedule, self.section.lr, step, self.total, self.options.begin)


def _read(loss: Tensor) -> Any:
    # Reading a GPU's loss waits for the GPU, so there it is added up without being read.
    return float(loss.detach()) if loss.device.type == "cpu" else loss.detach()


def _prepare(optimizer: Any, rate: float, seed: int, step: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
    optimizer.zero_grad()
    torch.manual_seed(mix(seed, 2, step) + distributed.rank())


def _finite(value: float, what: str, name: str, epoch: int, section: Train) -> float:
    if value - value != 0:
        raise TrainingError(
            f"{name}: the {what} became {value} in epoch {epoch + 1}; lower lr (now {section.lr:g}), "
            f"or set clip_norm (now {section.clip_norm}), and run again: it starts from the last stage"
        )
    return value
