"""The one training loop: every stage that trains runs it with its own network, objective and section."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgekd.data import DataSet
from edgekd.data.augment import augment
from edgekd.errors import TrainingError
from edgekd.recipe import Train
from edgekd.train.checkpoint import State, load_state, save_state
from edgekd.train.device import channels_first, channels_last, lay_out, make_fabric, trains_channels_last
from edgekd.train.evaluate import accuracy_of
from edgekd.train.objective import Objective
from edgekd.train.progress import StageProgress
from edgekd.train.schedule import learning_rate

FINITE_EVERY = 50

Mode = Callable[[nn.Module], Any]
History = list[dict[str, Any]]


def fit(
    network: nn.Module,
    data: DataSet,
    section: Train,
    objective: Objective,
    *,
    seed: int = 0,
    name: str = "training",
    folder: Path | None = None,
    save_every: float = 10.0,
    float32: bool = False,
    to_train: Mode = nn.Module.train,
    to_eval: Mode = nn.Module.eval,
    before_step: Callable[[int, int], None] | None = None,
    after_backward: Callable[[], None] | None = None,
    begin: float = 0.0,
    log: Callable[[dict[str, Any]], None] | None = None,
) -> History:
    """Trains ``network`` in place and gives its history, one entry per epoch.

    A step depends on nothing but the weights, ``seed`` and its own number, so a training that is killed
    and goes on from its checkpoint ends in the same bits as one that is not.

    Args:
        folder: where checkpoints are kept, at most every ``save_every`` seconds; none without it.
        float32: refuse reduced precision also where the device has it.
        to_train, to_eval: how to switch modes; exported graphs need ways of their own.
        before_step: called with the step and the number of steps before each one.
        after_backward: called when gradients are there and not yet clipped.
        begin: the share of the learning rate's schedule that is left out at its start, in [0, 1).
        log: receives each epoch's entry.

    Raises:
        TrainingError: the loss is no longer a finite number.
    """
    training = _Training(network, data, section, objective, seed, name, folder, save_every, float32)
    training.to_train, training.to_eval, training.before_step, training.log = to_train, to_eval, before_step, log
    training.after_backward, training.begin = after_backward, begin
    return training.run()


class _Training:
    """One call of :func:`fit`."""

    to_train: Mode
    to_eval: Mode
    before_step: Callable[[int, int], None] | None
    after_backward: Callable[[], None] | None
    begin: float
    log: Callable[[dict[str, Any]], None] | None

    def __init__(
        self,
        network: nn.Module,
        data: DataSet,
        section: Train,
        objective: Objective,
        seed: int,
        name: str,
        folder: Path | None,
        save_every: float,
        float32: bool,
    ):
        self.network, self.data, self.section, self.seed, self.name = network, data, section, seed, name
        self.folder, self.save_every, self.saved = folder, save_every, time.monotonic()
        self.fabric = make_fabric(float32)
        self.channels_last = trains_channels_last(network, self.fabric.device)
        lay_out(network, self.channels_last)
        self.wrapped, self.optimizer = self.fabric.setup(network, _optimizer(network, section))
        self.objective = lay_out(objective.to(self.fabric.device), self.channels_last)
        averaging = get_ema_multi_avg_fn(section.ema) if section.ema else None
        self.average = AveragedModel(network, multi_avg_fn=averaging) if averaging else None
        self.modules = {"network": network} | ({"average": self.average} if self.average else {})
        self.state = load_state(folder, self.modules, self.optimizer.optimizer) if folder else State()
        self.per_epoch = len(_order(data, seed, 0))
        self.total = section.epochs * self.per_epoch

    def run(self) -> History:
        self.to_train(self.network)
        with StageProgress(self.name, self.section.epochs, self.per_epoch, self.state) as progress:
            while self.state.step < self.total:
                epoch, done = divmod(self.state.step, self.per_epoch)
                for raw, labels in self.data.train.stream(_order(self.data, self.seed, epoch)[done:]):
                    self.step(raw, labels)
                    progress.step(self.state)
                    if self.state.step % self.per_epoch:
                        self.save_if_due()
                entry = self.end_of_epoch(epoch)
                self.save_if_due()
                progress.epoch(entry)
                if self.log:
                    self.log(entry)
        if self.average:
            self.network.load_state_dict(self.average.module.state_dict())
        self.to_eval(self.network)
        self.network.cpu()
        self.objective.cpu()
        return self.state.history

    def step(self, raw: Tensor, labels: Tensor) -> None:
        state, device = self.state, self.fabric.device
        _prepare(self.optimizer, self.rate(state.step), self.seed, state.step)
        if self.before_step:
            self.before_step(state.step, self.total)
        inputs = _inputs(self.data, raw, self.seed, state.step)
        inputs = (channels_last(inputs) if self.channels_last else channels_first(inputs)).to(device)
        with self.fabric.autocast():
            loss = self.objective(self.wrapped, inputs, labels.to(device))
        self.fabric.backward(loss)
        if self.after_backward:
            self.after_backward()
        if self.section.clip_norm:
            self.fabric.clip_gradients(
                self.wrapped, self.optimizer, max_norm=self.section.clip_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.network)
        state.step += 1
        # Reading a GPU's loss waits for the GPU, so there it is added up without being read.
        state.loss_sum += loss.detach() if device.type != "cpu" else float(loss.detach())
        self.check()

    def check(self) -> None:
        state = self.state
        if state.step % FINITE_EVERY == 0 or state.step % self.per_epoch == 0:
            state.loss_sum = _finite(float(state.loss_sum), "loss", self.name, self.epoch, self.section)

    def save_if_due(self) -> None:
        if self.folder is not None and time.monotonic() - self.saved > self.save_every:
            _finite(float(self.state.loss_sum), "loss", self.name, self.epoch, self.section)
            save_state(self.folder, self.state, self.modules, self.optimizer.optimizer)
            self.saved = time.monotonic()

    @property
    def epoch(self) -> int:
        return (self.state.step - 1) // self.per_epoch

    def end_of_epoch(self, epoch: int) -> dict[str, Any]:
        judged = self.average.module if self.average else self.network
        self.to_eval(judged)
        # The loss is of the weights before the last update; only the network's answers tell what that one did.
        accuracy = accuracy_of(judged, self.data, self.data.validation)
        _finite(accuracy, "validation accuracy", self.name, epoch, self.section)
        self.to_train(self.network)
        loss, rate = self.state.loss_sum / self.per_epoch, self.rate(self.state.step - 1)
        entry = {"epoch": epoch + 1, "loss": loss, "lr": rate, "validation_accuracy": accuracy}
        self.state.history.append(entry)
        self.state.loss_sum = 0.0
        return entry

    def rate(self, step: int) -> float:
        return learning_rate(self.section.schedule, self.section.lr, step, self.total, self.begin)


def _optimizer(network: nn.Module, section: Train) -> torch.optim.Optimizer:
    parameters = [p for p in network.parameters() if p.requires_grad]
    # Biases and BatchNorm have one dimension; decaying them costs accuracy (He et al., "Bag of Tricks", 2019).
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": section.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if section.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=section.lr)
    return torch.optim.SGD(groups, lr=section.lr, momentum=section.momentum, nesterov=section.momentum > 0)


def _order(data: DataSet, seed: int, epoch: int) -> tuple[Tensor, ...]:
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(_mix(seed, 1, epoch)))
    batches = order.split(data.batch_size)
    # A last batch of one would stop BatchNorm; a small one gives a noisy step for its weight.
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) < data.batch_size else batches


def _prepare(optimizer: Any, rate: float, seed: int, step: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    torch.manual_seed(_mix(seed, 2, step))


def _inputs(data: DataSet, raw: Tensor, seed: int, step: int) -> Tensor:
    generator = torch.Generator().manual_seed(_mix(seed, 3, step))
    return data.to_input(augment(raw, data.augment, generator))


def _mix(seed: int, purpose: int, number: int) -> int:
    """Another seed for each purpose and step, so that no two draws are the same by accident."""
    return (seed * 1_000_003 + purpose) * 1_000_000_007 + number & 0x7FFF_FFFF_FFFF_FFFF


def _finite(value: float, what: str, name: str, epoch: int, section: Train) -> float:
    if value - value != 0:
        raise TrainingError(
            f"{name}: the {what} became {value} in epoch {epoch + 1}; lower lr (now {section.lr:g}), "
            f"or set clip_norm (now {section.clip_norm}), and run again: it starts from the last stage"
        )
    return value
