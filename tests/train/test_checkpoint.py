"""A training that is stopped and started again ends in the same bits as one that is not."""

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from edgekd.artifact import tensors_of
from edgekd.data import DataSet
from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.quantize import calibrate, freeze_ranges, observe, prepare
from edgekd.recipe import Train
from edgekd.train import CrossEntropy, Epoch, FitOptions, fit
from edgekd.train.checkpoint import PATTERN, State, load_state, save_state

EPOCHS, PER_EPOCH = 3, 5


class Stop(Exception):
    """Stands for a kill at a step of our choice."""


def with_dropout() -> nn.Module:
    torch.manual_seed(0)
    network = build("small_cnn", (1, 8, 8), 10, width=4)
    return nn.Sequential(*network[:-1], nn.Dropout(0.3), network[-1])


def narrow() -> nn.Module:
    """Trained in the usual layout; see ``trains_channels_last``."""
    torch.manual_seed(0)
    return build("resnet8", (1, 8, 8), 10, width=4)


def vector_network() -> nn.Module:
    torch.manual_seed(0)
    return build("mlp", (1, 8, 8), 10, hidden=(16,))


Run = Callable[[DataSet, Path | None, int | None], tuple[nn.Module, list[Epoch]]]


def float_run(make: Callable[[], nn.Module], section: Train, float32: bool) -> Run:
    def run(data: DataSet, folder: Path | None, stop: int | None) -> tuple[nn.Module, list[Epoch]]:
        def before_step(step: int, total: int) -> None:
            if step == stop:
                raise Stop

        network = make()
        history = fit(
            network, data, section, CrossEntropy(), FitOptions(seed=7, folder=folder, save_every=0, float32=float32,
            before_step=before_step),
        )  # fmt: skip
        return network, history

    return run


@cache
def calibrated(width: int, data: DataSet) -> GraphModule:
    torch.manual_seed(0)
    graph = prepare(build("resnet8", (1, 8, 8), 10, width=width), (1, 8, 8))
    calibrate(graph, [data.to_input(data.train.raw[:64]).contiguous(memory_format=torch.channels_last)])
    return graph


def quantised_run(width: int, section: Train) -> Run:
    """As the quantize stage does it: ranges follow the data for the first half of the steps."""

    def run(data: DataSet, folder: Path | None, stop: int | None) -> tuple[nn.Module, list[Epoch]]:
        graph = copy.deepcopy(calibrated(width, data))

        def before_step(step: int, total: int) -> None:
            if step == stop:
                raise Stop
            observe(graph, step < 0.5 * total)

        history = fit(
            graph, data, section, CrossEntropy(), FitOptions(seed=7, folder=folder, save_every=0, float32=True,
            to_train=observe, to_eval=freeze_ranges, before_step=before_step),
        )  # fmt: skip
        return graph, history

    return run


RUNS = {
    "sgd": float_run(with_dropout, Train(epochs=EPOCHS, lr=0.1), float32=True),
    "sgd in any precision": float_run(with_dropout, Train(epochs=EPOCHS, lr=0.1), float32=False),
    "plain sgd": float_run(with_dropout, Train(epochs=EPOCHS, lr=0.1, momentum=0.0, clip_norm=1.0), float32=True),
    "adamw": float_run(with_dropout, Train(epochs=EPOCHS, lr=0.01, optimizer="adamw"), float32=True),
    "ema": float_run(with_dropout, Train(epochs=EPOCHS, lr=0.1, ema=0.9), float32=True),
    "vectors": float_run(vector_network, Train(epochs=EPOCHS, lr=0.1), float32=True),
    "narrow": float_run(narrow, Train(epochs=EPOCHS, lr=0.1), float32=True),
    "quantised": quantised_run(16, Train(epochs=EPOCHS, lr=0.01)),
    "quantised, narrow, ema": quantised_run(4, Train(epochs=EPOCHS, lr=0.01, ema=0.9, optimizer="adamw")),
}
STOPS = [(1,), (4,), (6, 6, 12), (PER_EPOCH, 2 * PER_EPOCH + 1), (EPOCHS * PER_EPOCH - 1,)]


def assert_same_bits(ours: nn.Module, theirs: nn.Module) -> None:
    mine, other = tensors_of(ours), tensors_of(theirs)
    assert mine.keys() == other.keys()
    different = [name for name in mine if not torch.equal(mine[name], other[name])]
    assert not different


@pytest.mark.parametrize("name", RUNS)
def test_stopped_and_started_again(name, few_digits, tmp_path):
    run = RUNS[name]
    whole, history = run(few_digits, None, None)
    assert len(history) == EPOCHS
    for number, stops in enumerate(STOPS if name == "sgd" else STOPS[2:3]):
        folder = tmp_path / str(number)
        for stop in stops:
            with pytest.raises(Stop):
                run(few_digits, folder, stop)
            assert len(list(folder.glob("*"))) == 1
        resumed, same_history = run(few_digits, folder, None)
        assert_same_bits(resumed, whole)
        assert same_history == history


def test_stopped_at_the_end_of_an_epoch(few_digits, tmp_path):
    section = Train(epochs=EPOCHS, lr=0.1)

    def train(log: Callable[[Epoch], None] | None, folder: Path | None) -> nn.Module:
        network = with_dropout()
        fit(
            network, few_digits, section, CrossEntropy(), FitOptions(folder=folder, save_every=0, float32=True, log=log)
        )
        return network

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Stop

    with pytest.raises(Stop):
        train(stop, tmp_path)
    assert_same_bits(train(None, tmp_path), train(None, None))


def test_it_says_where_it_goes_on(few_digits, tmp_path, capsys):
    with pytest.raises(Stop):
        RUNS["sgd"](few_digits, tmp_path, 7)
    capsys.readouterr()
    RUNS["sgd"](few_digits, tmp_path, None)
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "  training: goes on from step 7 of 15"
    assert [line.split("  loss")[0] for line in lines] == ["  training 2/3", "  training 3/3"]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_checkpoint_is_noticed_and_not_used(few_digits, tmp_path, capsys, damage):
    whole, _ = RUNS["sgd"](few_digits, None, None)
    with pytest.raises(Stop):
        RUNS["sgd"](few_digits, tmp_path, 7)
    [path] = tmp_path.glob(PATTERN)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes({"flip": content, "cut": content[:1000], "empty": b""}[damage])
    capsys.readouterr()
    resumed, _ = RUNS["sgd"](few_digits, tmp_path, None)
    said = capsys.readouterr().err
    assert f"warning: {path} is damaged; it is not used, and the training goes on from before it" in said
    assert "goes on from step" not in said
    assert_same_bits(resumed, whole)


def test_the_older_of_two_is_used_when_the_newer_is_damaged(tmp_path, capsys):
    """A kill between the new file's arrival and the old one's removal leaves both."""
    network = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    save_state(tmp_path, State(step=3, loss_sum=0.1), {"network": network}, optimizer)
    [old] = tmp_path.glob(PATTERN)
    content = old.read_bytes()
    with torch.no_grad():
        network.weight.add_(1)
    save_state(tmp_path, State(step=4), {"network": network}, optimizer)
    [new] = tmp_path.glob(PATTERN)
    old.write_bytes(content)
    new.write_bytes(new.read_bytes()[:-1])
    state = load_state(tmp_path, {"network": network}, optimizer)
    assert (state.step, state.loss_sum) == (3, 0.1)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    network, other, wider = nn.Linear(2, 2), nn.Linear(2, 2, bias=False), nn.Linear(3, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    save_state(tmp_path, State(step=3), {"network": network}, optimizer)
    for foreign in (other, wider):
        with pytest.raises(ModelError, match="the weights are for another network"):
            load_state(tmp_path, {"network": foreign}, optimizer)


def test_an_empty_folder_is_a_fresh_start(tmp_path):
    network = nn.Linear(2, 2)
    state = load_state(tmp_path / "none", {"network": network}, torch.optim.SGD(network.parameters(), lr=0.1))
    assert state == State()
