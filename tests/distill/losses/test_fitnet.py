import numpy as np
import pytest
import torch

from edgekd.distill.losses.fitnet import FitNet, fitnet_loss
from edgekd.distill.registry import LOSSES
from edgekd.errors import TrainingError
from tests.distill.losses import feature_properties as features

MAPS = ((4, 3, 3, 3), (4, 3, 3, 3))
SMALLER = ((4, 3, 4, 4), (4, 3, 2, 2))
VECTORS = ((4, 6), (4, 6))


def by_numpy(student: np.ndarray, teacher: np.ndarray) -> float:
    if student.shape != teacher.shape:
        student = student.reshape(4, 3, 2, 2, 2, 2).mean((3, 5))
    return sum((a - b) ** 2 for a, b in zip(student.ravel(), teacher.ravel(), strict=True)) / student.size


@pytest.mark.parametrize("shapes", [MAPS, SMALLER, VECTORS])
def test_the_value_by_numpy(shapes):
    features.check_value(fitnet_loss, by_numpy, shapes)


@pytest.mark.parametrize("shapes", [MAPS, SMALLER, VECTORS])
def test_the_gradient(shapes):
    features.check_gradient(fitnet_loss, shapes)


@pytest.mark.parametrize("shapes", [MAPS, SMALLER, VECTORS])
def test_a_shift_of_both_and_the_order_of_samples_do_not_matter(shapes):
    features.check_samples_are_a_set(fitnet_loss, shapes)
    features.check_unchanged(fitnet_loss, shapes, lambda student, teacher, seed: (student + seed, teacher + seed))


def test_channels_permuted_in_both_do_not_matter():
    def permuted(student, teacher, seed):
        order = torch.randperm(3, generator=torch.Generator().manual_seed(seed))
        return student[:, order], teacher[:, order]

    features.check_unchanged(fitnet_loss, MAPS, permuted)


@pytest.mark.parametrize("seed", features.SEEDS)
def test_it_grows_with_the_square_of_the_scale(seed):
    student, teacher = features.tensors(MAPS, seed)
    torch.testing.assert_close(fitnet_loss(3 * student, 3 * teacher), 9 * fitnet_loss(student, teacher))


@pytest.mark.parametrize("shapes", [MAPS, SMALLER, VECTORS])
def test_it_stays_finite(shapes):
    features.check_stability(fitnet_loss, shapes)
    features.check_autocast(fitnet_loss, shapes)


def test_equal_features_cost_nothing():
    student, _ = features.tensors(MAPS)
    assert fitnet_loss(student, student) == 0


def test_the_module_is_the_function_behind_an_adapter_of_each_pair():
    module = FitNet([(4, 6, 6), (6,)], [(5, 3, 3), (7,)]).double()
    maps, vectors = features.tensors(((8, 4, 6, 6), (8, 5, 3, 3))), features.tensors(((8, 6), (8, 7)))
    weight = module.adapters[0].project.weight[:, :, 0, 0].detach().numpy()
    projected = np.einsum("oc,nchw->nohw", weight, maps[0].numpy())
    variance = projected.var((0, 2, 3), keepdims=True) + 1e-5
    normal = (projected - projected.mean((0, 2, 3), keepdims=True)) / variance**0.5
    hint = ((normal.reshape(8, 5, 3, 2, 3, 2).mean((3, 5)) - maps[1].numpy()) ** 2).mean()
    linear = module.adapters[1].project
    answer = vectors[0].numpy() @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    expected = (hint + ((answer - vectors[1].numpy()) ** 2).mean()) / 2
    assert float(module([maps[0], vectors[0]], [maps[1], vectors[1]])) == pytest.approx(expected, rel=1e-9)
    assert LOSSES.find("fitnet") is FitNet


def test_equal_shapes_have_an_adapter_too_and_it_learns():
    torch.manual_seed(0)
    module = FitNet([(3, 4, 4)], [(3, 4, 4)])
    student, _ = features.tensors(((16, 3, 4, 4), (1,)), dtype=torch.float32)
    teacher = student[:, [2, 0, 1]]
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    losses = []
    for _ in range(150):
        losses.append(module([student], [teacher]))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.02 * losses[0], "a permutation of channels is a 1×1 convolution"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_module_stays_finite(dtype):
    module = FitNet([(3, 4, 4)], [(5, 4, 4)])
    student, teacher = (x.to(dtype) * 1e4 for x in features.tensors(((4, 3, 4, 4), (4, 5, 4, 4))))
    loss = module([student.requires_grad_()], [teacher])
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss) and torch.isfinite(student.grad).all()


def test_a_map_and_a_vector_are_refused():
    with pytest.raises(TrainingError, match=r"^features of shape \(3, 4, 4\) of the student .* \(5,\) of the teacher"):
        FitNet([(3, 4, 4)], [(5,)])
