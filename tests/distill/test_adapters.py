import numpy as np
import pytest
import torch
from torch import nn

from edgekd.distill.adapters import Adapter, match_sizes
from edgekd.errors import TrainingError

RANDOM = np.random.default_rng(0)


def features(*shape: int) -> torch.Tensor:
    return torch.from_numpy(RANDOM.normal(size=shape)).float()


def test_a_map_gets_the_teachers_channels_normalised():
    adapted = Adapter((3, 8, 8), (5, 4, 4))(features(6, 3, 8, 8)).detach().numpy()
    assert adapted.shape == (6, 5, 8, 8)
    np.testing.assert_allclose(adapted.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(adapted.var((0, 2, 3)), 1, rtol=1e-3)


def test_a_vector_is_projected_alone():
    adapter, x = Adapter((3,), (5,)), features(6, 3)
    weight, bias = (parameter.detach().numpy() for parameter in adapter.parameters())
    np.testing.assert_allclose(adapter(x).detach().numpy(), x.numpy() @ weight.T + bias, rtol=1e-5, atol=1e-6)


def test_there_is_no_bias_for_batch_norm_to_take_away():
    assert {name for name, _ in Adapter((3, 8, 8), (5, 4, 4)).named_parameters()} == {
        "project.weight",
        "norm.weight",
        "norm.bias",
    }


@pytest.mark.parametrize("seed", range(3))
def test_a_students_scale_does_not_matter(seed):
    torch.manual_seed(seed)
    adapter, x = Adapter((3, 4, 4), (5, 4, 4)).double(), features(6, 3, 4, 4).double() * 10
    torch.testing.assert_close(adapter(x), adapter(100 * x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_features_come_in_any_precision(dtype):
    assert Adapter((3, 4, 4), (5, 4, 4))(features(6, 3, 4, 4).to(dtype)).dtype == torch.float32


def test_the_gradient():
    torch.manual_seed(0)
    adapter, x = Adapter((2, 3, 3), (3, 3, 3)).double(), features(4, 2, 3, 3).double()
    assert torch.autograd.gradcheck(adapter, x.requires_grad_())


@pytest.mark.parametrize(
    ("student", "teacher", "size"),
    [((8, 8), (4, 4), (4, 4)), ((4, 4), (8, 8), (4, 4)), ((8, 2), (4, 6), (4, 2)), ((5, 5), (5, 5), (5, 5))],
)
def test_both_sides_are_averaged_down_to_the_smaller(student, teacher, size):
    pair = features(2, 3, *student), features(2, 5, *teacher)
    for before, after in zip(pair, match_sizes(*pair), strict=True):
        height, width = (whole // cell for whole, cell in zip(before.shape[2:], size, strict=True))
        cells = before.numpy().reshape(2, before.shape[1], size[0], height, size[1], width).mean((3, 5))
        np.testing.assert_allclose(after.numpy(), cells, rtol=1e-5, atol=1e-6)


def test_sizes_that_do_not_divide():
    """7 to 3 adaptively: the cells 0–2, 2–4 and 4–6."""
    row = torch.arange(7.0).view(1, 1, 1, 7)
    ours, theirs = match_sizes(row, torch.zeros(1, 1, 1, 3))
    assert ours.flatten().tolist() == [1, 3, 5] and theirs.shape == (1, 1, 1, 3)


def test_equal_sizes_and_vectors_come_back_as_they_are():
    for pair in ((features(2, 3, 4, 4), features(2, 5, 4, 4)), (features(2, 3), features(2, 5))):
        assert all(after is before for before, after in zip(pair, match_sizes(*pair), strict=True))


@pytest.mark.parametrize(("student", "teacher"), [((3, 4, 4), (5,)), ((5,), (3, 4, 4)), ((3, 4), (5, 4)), ((), ())])
def test_shapes_that_cannot_be_compared(student, teacher):
    expected = (
        f"features of shape {student} of the student cannot be compared with {teacher} of the teacher: choose layers "
        "that both give maps (C, H, W), or both vectors (C,)"
    )
    with pytest.raises(TrainingError) as error:
        Adapter(student, teacher)
    assert str(error.value) == expected
    with pytest.raises(TrainingError) as error:
        match_sizes(torch.zeros(2, *student), torch.zeros(2, *teacher))
    assert str(error.value) == expected


def test_a_single_value_per_channel_has_no_variance():
    adapter = Adapter((3, 1, 1), (5, 1, 1))
    with pytest.raises(TrainingError, match="one value per channel .* use batches of two samples or more"):
        adapter(features(1, 3, 1, 1))
    assert adapter.eval()(features(1, 3, 1, 1)).shape == (1, 5, 1, 1)
    assert isinstance(adapter.norm, nn.BatchNorm2d)
