"""A run goes on with the threads that it began with, since its bytes depend on them."""

import json

import pytest
import torch

from edgekd.pipeline.log import RunLog
from edgekd.pipeline.threads import hold_threads, threads_given_back
from edgekd.train import processors
from edgekd.train.processors import Processors


@pytest.fixture(autouse=True)
def given_back():
    with threads_given_back():
        yield


@pytest.fixture
def log(tmp_path) -> RunLog:
    return RunLog(tmp_path / "log.jsonl")


@pytest.fixture
def busy(monkeypatch):
    """Sets how many of four processors others keep busy."""
    for name in processors.CHOSEN_BY:
        monkeypatch.delenv(name, raising=False)
    torch.set_num_threads(4)
    return lambda others: monkeypatch.setattr(processors, "look_around", lambda: Processors(4.0, others))


def test_a_run_that_begins_beside_busy_processes_keeps_to_free_processors(log, busy, capsys):
    busy(2.7)
    hold_threads(log)
    assert torch.get_num_threads() == log.threads() == 1
    said = capsys.readouterr().err
    assert "training on 1 of 4 CPU threads: others keep 2.7 of 4 processors busy" in said
    assert "OMP_NUM_THREADS=4, with --fresh" in said
    # Started again when they have gone, it ends in the bytes that it would have ended in.
    torch.set_num_threads(4)
    busy(0.0)
    hold_threads(log)
    assert torch.get_num_threads() == 1


def test_a_run_that_begins_on_a_quiet_machine_takes_all_and_keeps_them(log, busy, capsys):
    busy(0.3)
    hold_threads(log)
    assert (torch.get_num_threads(), capsys.readouterr().err) == (4, "")
    busy(4.0)
    hold_threads(log)
    assert torch.get_num_threads() == log.threads() == 4


@pytest.mark.parametrize("name", processors.CHOSEN_BY)
def test_who_says_how_many_gets_them(log, busy, monkeypatch, name):
    busy(4.0)
    monkeypatch.setenv(name, "4")
    hold_threads(log)
    assert torch.get_num_threads() == 4


def test_a_run_goes_on_with_the_threads_that_it_began_with(log, capsys):
    torch.set_num_threads(3)
    hold_threads(log)
    assert (torch.get_num_threads(), capsys.readouterr().err) == (3, "")
    for now in (1, 2, 5):
        torch.set_num_threads(now)
        hold_threads(log)
        assert torch.get_num_threads() == 3
        assert f"going on with 3 CPU threads, as this run began, not {now}" in capsys.readouterr().err
    hold_threads(log)
    assert capsys.readouterr().err == ""
    assert log.path.read_text().count('"event": "threads"') == 1


@pytest.mark.parametrize(
    "line", ['{"event": "thr', "[1]", '{"event": "threads"}', '{"event": "threads", "threads": -1}']
)
def test_a_damaged_log_is_written_anew(log, line):
    log.path.write_text(line)
    torch.set_num_threads(2)
    hold_threads(log)
    assert log.threads() == 2
    assert json.loads(log.path.read_text().splitlines()[-1])["threads"] == 2


def test_the_callers_own_number_is_given_back():
    torch.set_num_threads(1)
    with pytest.raises(KeyError), threads_given_back():
        torch.set_num_threads(4)
        raise KeyError
    assert torch.get_num_threads() == 1


def test_the_number_of_threads_decides_bytes():
    """What is held is worth holding: a sum in two parts is another float."""
    values = torch.randn(400_000, generator=torch.Generator().manual_seed(0))
    found = set()
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.add(float(values.sum()))
    assert len(found) > 1
