import time

import numpy as np
import pytest
import torch
from scipy import stats

from edgekd.data.augment import augment_with
from edgekd.data.views import Views, splitmix64
from edgekd.errors import DataError

MASK = 2**64 - 1


def by_hand(state: int, number: int) -> int:
    """SplitMix64's output ``number`` in whole numbers without an end."""
    z = (state + (number + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_splitmix64_gives_the_published_outputs():
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert splitmix64(np.array([1234567], np.uint64), np.arange(4)).tolist() == published


@pytest.mark.parametrize("seed", [0, 7, -1, 2**64 + 7])
def test_uniforms_are_those_worked_out_one_by_one(seed):
    drawn = Views(3, seed).uniforms(2, torch.tensor([5, 0, 1_281_166]), 4)
    expected = [
        [(by_hand(by_hand(by_hand(by_hand(seed & MASK, 0), 2), index), draw) >> 11) / 2**53 for draw in range(4)]
        for index in (5, 0, 1_281_166)
    ]
    assert drawn.dtype == torch.float64
    assert drawn.tolist() == expected


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_has_the_same_draws_in_any_batch(seed):
    views = Views(2, seed)
    alone = views.uniforms(1, torch.arange(100), 3)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(seed))
    for batch in order.split(7):
        assert torch.equal(views.uniforms(1, batch, 3), alone[batch])
    assert torch.equal(views.uniforms(1, torch.arange(100), 2), alone[:, :2])


def test_views_samples_draws_and_seeds_are_independent():
    tables = [Views(2, seed).uniforms(view, torch.arange(20_000), 3) for seed in (0, 1) for view in (0, 1)]
    columns = torch.cat(tables, 1).numpy()
    for column in columns.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(columns.T) - np.eye(12)).max() < 0.03
    for column in columns.T:
        assert abs(np.corrcoef(column[1:], column[:-1])[0, 1]) < 0.03
    assert len(np.unique(columns)) == columns.size
    assert columns.min() >= 0 and columns.max() < 1


def test_epochs_go_round_the_views():
    assert [Views(3).of_epoch(epoch) for epoch in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert Views(1).of_epoch(5) == 0


def test_a_view_is_the_augmentations_by_its_draws():
    images = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views, indices, names = Views(2, 3), torch.arange(100, 120), ("crop", "flip")
    seen = views.augment(images, names, 1, indices)
    assert torch.equal(seen, augment_with(images, names, views.uniforms(1, indices, 3)))
    assert torch.equal(views.augment(images[4:9], names, 1, indices[4:9]), seen[4:9])
    assert not torch.equal(views.augment(images, names, 0, indices), seen)
    assert torch.equal(views.augment(images, (), 1, indices), images)


def test_a_million_samples_cost_no_table():
    views, batch = Views(8), torch.arange(999_872, 1_000_000)
    started = time.process_time()
    for view in range(8):
        views.uniforms(view, batch, 3)
    assert time.process_time() - started < 0.5


def test_no_views_and_no_such_view():
    with pytest.raises(DataError, match="0 views of each sample cannot be seen: give 1 or more"):
        Views(0)
    for view in (2, -1):
        with pytest.raises(DataError, match=f"there is no view {view} among 2, counted from 0"):
            Views(2).uniforms(view, torch.arange(3), 1)
