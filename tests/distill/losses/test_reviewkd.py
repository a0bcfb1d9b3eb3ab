import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from scipy.special import expit

from edgekd.distill.losses.fusion import ABF
from edgekd.distill.losses.reviewkd import ReviewKD, hcl_loss
from edgekd.distill.registry import LOSSES
from edgekd.errors import TrainingError

SEEDS = range(3)
STUDENT_SHAPES, TEACHER_SHAPES = [(3, 8, 6), (4, 4, 3), (5,)], [(4, 8, 6), (6, 5, 3), (7,)]


def maps(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3)


def features(shapes, seed: int = 0, samples: int = 3, dtype=torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(samples, *shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def built(**options) -> ReviewKD:
    torch.manual_seed(0)
    return ReviewKD(STUDENT_SHAPES, TEACHER_SHAPES, **options)


def pooled_by_numpy(x: np.ndarray, level: int) -> np.ndarray:
    """Cell i of n covers the rows from ⌊i·H/n⌋ to ⌈(i + 1)·H/n⌉."""
    height, width = x.shape[2:]
    cells = np.empty((*x.shape[:2], level, level))
    for i in range(level):
        for j in range(level):
            rows = slice(i * height // level, -(-(i + 1) * height // level))
            columns = slice(j * width // level, -(-(j + 1) * width // level))
            cells[:, :, i, j] = x[:, :, rows, columns].mean((2, 3))
    return cells


def hcl_by_numpy(student: np.ndarray, teacher: np.ndarray) -> float:
    errors, weights = [((student - teacher) ** 2).mean()], [1.0]
    for level in (4, 2, 1):
        if level < min(student.shape[2:]):
            errors.append(((pooled_by_numpy(student, level) - pooled_by_numpy(teacher, level)) ** 2).mean())
            weights.append(weights[-1] / 2)
    return float(np.average(errors, weights=weights))


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 5), (4, 4), (3, 6), (2, 2), (1, 1), (1, 5)])
def test_the_value_by_numpy(size):
    student, teacher = maps(0, 4, 3, *size)
    expected = hcl_by_numpy(student.numpy(), teacher.numpy())
    assert float(hcl_loss(student, teacher)) == pytest.approx(expected, rel=1e-10)
    assert float(hcl_loss(student.float(), teacher.float())) == pytest.approx(expected, rel=1e-5)


def test_each_level_weighs_half_of_the_one_before():
    """A map whose mean is 0 in every cell of 4×4 is seen at full size alone, whose weight is 1 of 1.875."""
    checkered = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).tile(4, 4)[None, None]
    nothing = torch.zeros_like(checkered)
    assert float(hcl_loss(checkered, nothing)) == pytest.approx(1 / 1.875)
    halves = torch.ones(1, 1, 8, 8)
    halves[..., 4:] = -1
    assert float(hcl_loss(halves, nothing)) == pytest.approx(1.75 / 1.875), "all but the mean over the map"


def test_vectors_are_maps_of_one_place():
    student, teacher = maps(0, 4, 7)
    assert float(hcl_loss(student, teacher)) == pytest.approx(((student - teacher) ** 2).mean().item())


@pytest.mark.parametrize("size", [(5, 5), (4, 3), (2, 2), ()])
def test_the_gradient_by_finite_differences(size):
    student, teacher = maps(0, 2, 2, *size)
    assert torch.autograd.gradcheck(hcl_loss, (student.requires_grad_(), teacher))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_hcl_does_not_see(seed):
    student, teacher = maps(seed, 5, 4, 8, 8)
    expected = hcl_loss(student, teacher)
    samples, channels = torch.randperm(5), torch.randperm(4)
    torch.testing.assert_close(hcl_loss(student[samples], teacher[samples]), expected)
    torch.testing.assert_close(hcl_loss(student[:, channels], teacher[:, channels]), expected)
    torch.testing.assert_close(hcl_loss(student.flip(2, 3), teacher.flip(2, 3)), expected)
    torch.testing.assert_close(hcl_loss(student.mT, teacher.mT), expected)
    torch.testing.assert_close(hcl_loss(student + 7, teacher + 7), expected)
    torch.testing.assert_close(hcl_loss(teacher, student), expected)
    torch.testing.assert_close(hcl_loss(-3 * student, -3 * teacher), 9 * expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_maps_cost_nothing_and_an_offset_its_square(seed):
    student, _ = maps(seed, 3, 4, 6, 5)
    assert float(hcl_loss(student, student)) == 0
    assert float(hcl_loss(student + 1.5, student)) == pytest.approx(2.25)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_features_stay_finite(dtype):
    signs = [map_.sign().to(dtype) * 1e4 for map_ in maps(0, 3, 4, 8, 8)]
    student = signs[0].requires_grad_()
    value = hcl_loss(student, signs[1])
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite()
    assert student.grad.isfinite().all()


def test_shapes_that_differ():
    with pytest.raises(TrainingError, match=r"student's features have shape \(2, 3, 4, 4\) .* adapt one"):
        hcl_loss(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4))


def convolved(layer: torch.nn.Conv2d, x: np.ndarray) -> np.ndarray:
    weight = layer.weight.detach().numpy()
    maps = [[sum(correlate2d(c, k, "same") for c, k in zip(s, filter_, strict=True)) for filter_ in weight] for s in x]
    return np.array(maps) + (0 if layer.bias is None else layer.bias.detach().numpy()[:, None, None])


def normalised(layer: torch.nn.BatchNorm2d, x: np.ndarray) -> np.ndarray:
    mean, variance, scale, shift = (
        t.detach().numpy()[:, None, None] for t in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return (x - mean) / np.sqrt(variance + layer.eps) * scale + shift


def resized(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, x.shape[2:], strict=True))
    return x[:, :, rows][:, :, :, columns]


def review_by_numpy(loss: ReviewKD, student: list[np.ndarray], teacher: list[np.ndarray]) -> float:
    """From the paper, section 3: reduce, fuse by attention with the deeper level, resize, expand; deepest first."""
    total, mixed = 0.0, None
    for fusion, ours, theirs in reversed(list(zip(loss.fusions, student, teacher, strict=True))):
        reduced = normalised(fusion.reduce[1], convolved(fusion.reduce[0], ours))
        if mixed is not None:
            deeper = resized(mixed, reduced.shape[2:])
            attention = expit(convolved(fusion.attention, np.concatenate([reduced, deeper], axis=1)))
            reduced = reduced * attention[:, :1] + deeper * attention[:, 1:]
        mixed = resized(reduced, theirs.shape[2:])
        total += hcl_by_numpy(normalised(fusion.expand[1], convolved(fusion.expand[0], mixed)), theirs)
    return total


def test_the_whole_review_by_numpy_and_scipy():
    loss = built().double()
    student, teacher = features(STUDENT_SHAPES, 1), features(TEACHER_SHAPES, 2)
    for seed in SEEDS:
        loss(features(STUDENT_SHAPES, seed + 5), features(TEACHER_SHAPES, seed + 9))  # statistics other than 0 and 1
    loss.eval()
    arrays = [[x.numpy().reshape(*x.shape, *[1] * (4 - x.ndim)) for x in side] for side in (student, teacher)]
    assert float(loss(student, teacher)) == pytest.approx(review_by_numpy(loss, *arrays), rel=1e-10)


def test_the_reviews_gradient_by_finite_differences():
    loss = ReviewKD([(2, 3, 3), (1, 2, 2), (2,)], [(1, 3, 3), (2, 2, 2), (2,)]).double()
    student = [x.requires_grad_() for x in features(loss.student_shapes, 1)]
    teacher = features(loss.teacher_shapes, 2)
    assert torch.autograd.gradcheck(lambda *ours: loss(ours, teacher), student, fast_mode=True)


def test_shallow_levels_learn_from_deep_features():
    """The shallowest teacher's map alone pulls all levels of the student: what the paper calls the review."""
    loss = built().double()
    student = [x.requires_grad_() for x in features(STUDENT_SHAPES, 1)]
    _, mixed = loss.fusions[2](student[2][:, :, None, None], None, (1, 1))
    _, mixed = loss.fusions[1](student[1], mixed, (5, 3))
    reviewed, _ = loss.fusions[0](student[0], mixed, (8, 6))
    hcl_loss(reviewed, features(TEACHER_SHAPES, 2)[0]).backward()
    assert all(float(x.grad.abs().sum()) > 0 for x in student)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_samples_does_not_matter(seed):
    loss, order = built().double(), torch.randperm(5)
    student, teacher = (features(shapes, seed, samples=5) for shapes in (STUDENT_SHAPES, TEACHER_SHAPES))
    shuffled = loss([x[order] for x in student], [x[order] for x in teacher])
    torch.testing.assert_close(shuffled, loss(student, teacher))


@pytest.mark.parametrize("seed", SEEDS)
def test_in_training_the_students_scale_does_not_matter(seed):
    """Each level's BatchNorm takes it out, but for its ε."""
    loss, teacher = built().double(), features(TEACHER_SHAPES, seed)
    student = features(STUDENT_SHAPES, seed + 3)
    scaled = loss([1000 * x for x in student], teacher)
    torch.testing.assert_close(scaled, loss([100 * x for x in student], teacher), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_features_stay_finite_in_the_review(dtype):
    student, teacher = (
        [1e4 * x.sign() for x in features(shapes, seed, dtype=dtype)]
        for seed, shapes in enumerate((STUDENT_SHAPES, TEACHER_SHAPES))
    )
    loss, student = built(), [x.requires_grad_() for x in student]
    value = loss(student, teacher)
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite()
    assert all(x.grad.isfinite().all() for x in (*student, *loss.parameters()))


def test_under_autocast_the_loss_is_in_float32():
    student, teacher = features(STUDENT_SHAPES, 1, dtype=torch.float32), features(TEACHER_SHAPES, 2)
    loss = built()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(student, [x.float() for x in teacher])
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(built()(student, [x.float() for x in teacher])), rel=0.02)


def test_a_reviewed_teacher_costs_nothing():
    """Where the teacher has what the fusion gives, every level's loss is 0."""
    loss = built().double().eval()
    student, mixed, goals = features(STUDENT_SHAPES, 1), None, []
    for fusion, ours, shape in reversed(list(zip(loss.fusions, student, TEACHER_SHAPES, strict=True))):
        size = shape[1:] or (1, 1)
        goal, mixed = fusion(ours if ours.ndim == 4 else ours[:, :, None, None], mixed, size)
        goals.insert(0, goal.detach().reshape(3, *shape))
    assert float(loss(student, goals)) == pytest.approx(0, abs=1e-20)


def test_one_level_is_an_adapter_and_hcl():
    loss = ReviewKD([(3, 4, 4)], [(5, 8, 8)]).double()
    (student,), (teacher,) = features(loss.student_shapes, 1), features(loss.teacher_shapes, 2)
    assert loss.fusions[0].attention is None
    adapted, _ = loss.fusions[0](student, None, (8, 8))
    assert float(loss([student], [teacher])) == float(hcl_loss(adapted, teacher))
    assert LOSSES.find("reviewkd") is ReviewKD


@pytest.mark.parametrize(
    ("shapes", "options", "expected"),
    [
        (STUDENT_SHAPES, {}, 5),
        ([(8, 4, 4), (600,)], {}, 512),
        ([(8, 4, 4), (600,)], {"mid_channels": 32}, 32),
    ],
)
def test_the_mixtures_channels(shapes, options, expected):
    loss = ReviewKD(shapes, shapes, **options)
    assert {fusion.reduce[0].out_channels for fusion in loss.fusions} == {expected}


def test_fusion_gives_both_maps_in_the_teachers_size():
    reviewed, mixed = ABF(3, 4, 6, fuse=True)(torch.randn(2, 3, 8, 8), torch.randn(2, 4, 2, 2), (16, 12))
    assert reviewed.shape == (2, 6, 16, 12) and mixed.shape == (2, 4, 16, 12)


def test_all_maps_and_vectors_are_compared():
    assert ReviewKD.default_layers([(16, 32, 32), (10, 64), (32, 16, 16), (64,)]) == [0, 2, 3]


def test_a_short_training_brings_the_student_closer():
    loss = built()
    student, teacher = features(STUDENT_SHAPES, 1, dtype=torch.float32), features(TEACHER_SHAPES, 2)
    teacher = [x.float() for x in teacher]
    parameters = [x.requires_grad_() for x in student]
    optimizer = torch.optim.Adam([*parameters, *loss.parameters()], lr=0.05)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(loss(parameters, teacher))
        losses[-1].backward()
        optimizer.step()
    assert float(losses[-1]) < 0.5 * float(losses[0])


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ((3, 8, 8), (5,), r"student's \(3, 8, 8\) with the teacher's \(5,\): choose a map of both or a vector of both"),
        ((10, 64), (10, 64), r"maps \(C, H, W\) and vectors \(C,\), not \(10, 64\): choose another layer"),
    ],
)
def test_layers_that_cannot_be_compared(student, teacher, message):
    with pytest.raises(TrainingError, match=message):
        ReviewKD([student], [teacher])


def test_a_vector_against_a_map_of_one_place():
    loss = ReviewKD([(3,)], [(5, 1, 1)]).double()
    (student,), (teacher,) = features(loss.student_shapes, 1), features(loss.teacher_shapes, 2)
    flat = ReviewKD([(3,)], [(5,)]).double()
    flat.load_state_dict(loss.state_dict())
    assert float(loss([student], [teacher])) == float(flat([student], [teacher.flatten(1)]))


@pytest.mark.parametrize("value", [0, -1, 1.5, "64"])
def test_mid_channels_that_cannot_be(value):
    with pytest.raises(TrainingError, match="mid_channels must be a whole number of at least 1, got .*: leave it out"):
        built(mid_channels=value)


def test_a_batch_of_one_has_nothing_to_normalise_over():
    loss = built().double()
    one = features(STUDENT_SHAPES, samples=1), features(TEACHER_SHAPES, samples=1)
    with pytest.raises(TrainingError, match="set batch_size to 2 at least"):
        loss(*one)
    assert loss.eval()(*one).isfinite()
    assert ReviewKD([(3, 4, 4)], [(3, 4, 4)])([torch.randn(1, 3, 4, 4)], [torch.randn(1, 3, 4, 4)]).isfinite()
