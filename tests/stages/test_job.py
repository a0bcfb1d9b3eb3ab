from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from edgekd.stages import job as jobs
from edgekd.stages.distill.options import Distill
from edgekd.stages.job import Job


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[nn.Module]]:
    """Return the networks whose predictions were computed."""
    found: list[nn.Module] = []

    def predictions_of(network: nn.Module, *_: object) -> torch.Tensor:
        found.append(network)
        return torch.full((4,), len(found))

    monkeypatch.setattr(jobs, "predictions_of", predictions_of)
    monkeypatch.setattr(jobs, "_PREDICTED", {})
    yield found


def test_a_teacher_predicts_once_for_jobs_with_its_key(few_digits, tmp_path, predicted):
    def job(key: str, epochs: int = 1) -> Job:
        return Job(
            "", nn.Identity(), None, Distill(epochs=epochs), few_digits, 0, nn.Identity(), tmp_path, print,
            teacher_key=key,
        )  # fmt: skip

    assert [int(job(key).teacher_predictions[0]) for key in ("a", "a", "b", "a", "", "")] == [1, 1, 2, 3, 4, 5]
    # What is not trained is not compared with it.
    assert job("c", epochs=0).training.options.teacher_predictions is None
    assert len(predicted) == 5
    assert job("c").training.options.teacher_predictions is not None


def test_no_batch_of_one_sample_is_left_over(few_digits, tmp_path):
    """BatchNorm of vectors could not take its variance."""
    count = len(few_digits.train)

    def sizes(batch_size: int, batches: int) -> list[int]:
        data = replace(few_digits, batch_size=batch_size)
        job = Job("", nn.Identity(), None, None, data, 0, None, tmp_path, print)
        return [len(targets) for _, targets in job.labelled(batches)]

    assert sizes(count - 1, 4) == [count - 1]
    assert sizes(count - 2, 4) == [count - 2, 2]
    assert sizes(1, 3) == [1, 1, 1]
