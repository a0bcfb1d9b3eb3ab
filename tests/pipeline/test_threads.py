"""A run goes on with the threads that it began with, since its bytes depend on them."""

import json

import pytest
import torch

from edgekd.pipeline.log import RunLog
from edgekd.pipeline.threads import hold_threads, threads_given_back


@pytest.fixture(autouse=True)
def given_back():
    with threads_given_back():
        yield


@pytest.fixture
def log(tmp_path) -> RunLog:
    return RunLog(tmp_path / "log.jsonl")


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
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.add(float(values.sum()))
    assert len(found) > 1
