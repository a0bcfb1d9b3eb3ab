import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from edgekd.distill.losses.memory import MemoryBank, draw_negatives

SEEDS = range(3)


def bank(samples: int = 20, width: int = 6, momentum: float = 0.5) -> MemoryBank:
    torch.manual_seed(0)
    return MemoryBank(samples, width, momentum).double()


def unit_rows(count: int, width: int, seed: int = 1) -> torch.Tensor:
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return torch.tensor(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def test_vectors_begin_on_the_sphere_and_are_saved():
    memory = MemoryBank(50, 128)
    torch.testing.assert_close(memory.vectors.norm(dim=1), torch.ones(50))
    assert list(memory.state_dict()) == ["vectors"]
    assert not list(memory.parameters())


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_an_update_by_numpy(momentum):
    memory, embedded, indices = bank(momentum=momentum), unit_rows(4, 6), torch.tensor([7, 0, 19, 3])
    expected = memory.vectors.numpy().copy()
    for row, index in zip(embedded.numpy(), indices.tolist(), strict=True):
        moved = momentum * expected[index] + (1 - momentum) * row
        expected[index] = moved / np.sqrt((moved**2).sum())
    memory.update(embedded.requires_grad_(), indices)
    np.testing.assert_allclose(memory.vectors.numpy(), expected, rtol=1e-12)
    assert not memory.vectors.requires_grad


def test_updates_tend_to_the_embedding():
    memory, embedded, indices = bank(), unit_rows(2, 6), torch.tensor([4, 5])
    for _ in range(60):
        memory.update(embedded, indices)
    torch.testing.assert_close(memory.vectors[indices], embedded)


def test_similarities_by_numpy():
    memory, embedded = bank(), unit_rows(3, 6)
    places = torch.tensor([[0, 5, 5, 19], [1, 2, 3, 4], [19, 18, 17, 0]])
    vectors = memory.vectors.numpy()
    expected = [vectors[of_row] @ row for row, of_row in zip(embedded.numpy(), places.numpy(), strict=True)]
    np.testing.assert_allclose(memory.similarities(embedded, places).numpy(), expected, rtol=1e-12)


def test_the_gradient_is_of_the_vectors_before_the_update():
    memory, embedded, places = bank(), unit_rows(2, 6).requires_grad_(), torch.tensor([[0, 4], [1, 9]])
    before = memory.vectors.clone()
    similarities = memory.similarities(embedded, places)
    memory.update(embedded, torch.tensor([0, 1]))
    similarities.sum().backward()
    torch.testing.assert_close(embedded.grad, before[places].sum(1))


def test_the_gradient_by_finite_differences():
    memory, places = bank(), torch.tensor([[0, 4, 2], [1, 9, 8]])
    assert torch.autograd.gradcheck(lambda x: memory.similarities(x, places), unit_rows(2, 6).requires_grad_())


def test_similarities_are_in_float32_under_autocast():
    memory, places = MemoryBank(20, 6), torch.tensor([[0, 4]])
    embedded = unit_rows(1, 6).float()
    with torch.autocast("cpu", torch.bfloat16):
        similarities = memory.similarities(embedded, places)
    assert torch.equal(similarities, memory.similarities(embedded, places))


@pytest.mark.parametrize("count", [1, 7, 19])
@pytest.mark.parametrize("seed", SEEDS)
def test_negatives_are_other_samples_and_none_twice(seed, count):
    torch.manual_seed(seed)
    indices = torch.randperm(20)[:8]
    drawn = draw_negatives(indices, count, 20)
    assert drawn.shape == (8, count) and int(drawn.min()) >= 0 and int(drawn.max()) < 20
    for index, row in zip(indices.tolist(), drawn.tolist(), strict=True):
        assert len(set(row)) == count and index not in row


def test_negatives_are_uniform():
    """Each of the other 11 samples is among the 4 drawn equally often; pairs of them too, so that rows are subsets."""
    torch.manual_seed(0)
    drawn = torch.cat([draw_negatives(torch.tensor([5]), 4, 12) for _ in range(2000)])
    counts = torch.bincount(drawn.flatten(), minlength=12)
    assert counts[5] == 0
    others = np.delete(counts.numpy(), 5)
    assert chisquare(others).pvalue > 0.01
    pairs = torch.bincount(12 * drawn[:, 0] + drawn[:, 1], minlength=144).numpy()
    assert chisquare(pairs[pairs > 0]).pvalue > 0.01 and (pairs > 0).sum() == 11 * 10


def test_negatives_follow_the_global_generator():
    indices = torch.arange(4)
    torch.manual_seed(3)
    first, second = draw_negatives(indices, 10, 100), draw_negatives(indices, 10, 100)
    torch.manual_seed(3)
    assert torch.equal(draw_negatives(indices, 10, 100), first)
    assert not torch.equal(first, second)


@pytest.mark.gpu
def test_on_a_gpu_draws_and_gradients_are_the_same_in_every_run():
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        memory = MemoryBank(5000, 128).cuda()
        drawn = draw_negatives(torch.arange(64, device="cuda"), 4000, 5000)
        embedded = torch.ones(64, 128, device="cuda", requires_grad=True)
        memory.similarities(embedded, drawn).square().sum().backward()
        runs.append((drawn, embedded.grad))
    assert all(torch.equal(*both) for both in zip(*runs, strict=True))
