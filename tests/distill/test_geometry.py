import numpy as np
import pytest
import torch

from edgekd.distill.geometry import embedding, inner_products, unit
from edgekd.distill.pairs import mean_over_pairs
from edgekd.errors import TrainingError

RANDOM = np.random.default_rng(0)


def test_rows_get_a_norm_of_one():
    x = RANDOM.normal(size=(3, 4, 5))
    np.testing.assert_allclose(unit(torch.from_numpy(x)), x / np.linalg.norm(x, axis=-1, keepdims=True))


def test_a_row_of_zeros_stays_one_and_its_gradient_small():
    x = torch.zeros(2, 3, requires_grad=True)
    unit(x).sum().backward()
    assert not unit(x).any() and x.grad.abs().max() <= 1


def test_inner_products_are_not_rounded_by_autocast():
    x = RANDOM.normal(size=(2, 4, 5)).astype(np.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours = inner_products(torch.from_numpy(x))
    np.testing.assert_allclose(ours, np.einsum("bnd,bmd->bnm", x, x), rtol=1e-5, atol=1e-6)


def test_a_maps_embedding_is_its_mean():
    x = RANDOM.normal(size=(3, 4, 5, 6))
    np.testing.assert_allclose(embedding(torch.from_numpy(x)), x.mean((2, 3)))
    vectors = torch.from_numpy(x[:, :, 0, 0])
    assert embedding(vectors) is vectors


def test_the_mean_over_pairs():
    ours = mean_over_pairs(lambda s, t: (s * t).sum(), [torch.ones(2), torch.ones(3)], [torch.ones(2), torch.ones(3)])
    assert float(ours) == 2.5


@pytest.mark.parametrize(("student", "teacher"), [(0, 0), (1, 2), (2, 1)])
def test_features_without_a_partner(student, teacher):
    with pytest.raises(TrainingError) as error:
        mean_over_pairs(torch.dist, [torch.ones(2)] * student, [torch.ones(2)] * teacher)
    assert str(error.value) == (
        f"features come in pairs, and there are {student} of the student and {teacher} of the teacher: "
        "give one of each for every pair"
    )


def test_features_of_other_samples():
    with pytest.raises(TrainingError, match="of 2 samples and the teacher's of 3: give both networks the same batch"):
        mean_over_pairs(torch.dist, [torch.ones(2, 4)], [torch.ones(3, 4)])
