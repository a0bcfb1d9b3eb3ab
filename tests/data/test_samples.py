import os
import signal

import numpy as np
import pytest
import torch

from edgekd.data import InMemory, Streamed, in_order
from edgekd.errors import DataError

LABELS = torch.arange(7) % 2


def read(key: np.int64) -> torch.Tensor:
    return torch.full((1, 2, 2), int(key), dtype=torch.uint8)


def streamed(read=read, workers: int = 0) -> Streamed:
    return Streamed(read, np.arange(7), LABELS, lambda keys: str(keys), workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_as_they_are_asked_for(workers):
    asked = [torch.tensor([6, 0, 3]), torch.tensor([1]), torch.tensor([2, 2])]
    answers = list(streamed(workers=workers).stream(asked))
    assert [raw[:, 0, 0, 0].tolist() for raw, _ in answers] == [[6, 0, 3], [1], [2, 2]]
    assert [labels.tolist() for _, labels in answers] == [[0, 0, 1], [1], [0, 0]]


def test_select_keeps_the_order():
    chosen = streamed().select(torch.tensor([5, 1]))
    assert len(chosen) == 2
    assert next(in_order(chosen, 8))[0][:, 0, 0, 0].tolist() == [5, 1]
    assert chosen.digest() != streamed().digest()


def test_in_order_ends_with_a_smaller_batch():
    samples = InMemory(torch.arange(7).view(7, 1), LABELS)
    assert [raw.flatten().tolist() for raw, _ in in_order(samples, 3)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_digest_knows_shape_order_and_labels():
    raw = torch.arange(12, dtype=torch.uint8).view(3, 1, 2, 2)
    labels = torch.tensor([0, 1, 0])
    digests = {
        InMemory(raw, labels).digest(),
        InMemory(raw.view(3, 1, 4, 1), labels).digest(),
        InMemory(raw.flip(0), labels).digest(),
        InMemory(raw, labels.flip(0) * 2).digest(),
    }
    assert len(digests) == 4
    assert InMemory(raw.clone(), labels.clone()).digest() in digests


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_is_the_users_own(workers):
    def broken(key: np.int64) -> torch.Tensor:
        if key == 4:
            raise DataError("4.png: not a readable image")
        return read(key)

    with pytest.raises(DataError) as error:
        list(in_order(streamed(broken, workers), 3))
    assert str(error.value) == "4.png: not a readable image"


def test_a_worker_that_dies_is_explained():
    def deadly(key: np.int64) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return read(key)

    with pytest.raises(DataError, match=r"has died .* lower data.workers, or set data.workers: 0"):
        list(in_order(streamed(deadly, workers=1), 3))


def test_other_errors_are_not_disguised():
    def wrong(key: np.int64) -> torch.Tensor:
        raise RuntimeError("a mistake in the code")

    with pytest.raises(RuntimeError, match="^a mistake in the code$"):
        list(in_order(streamed(wrong), 3))
