from copy import deepcopy

import pytest
import torch
from torch import nn

from edgekd.distill import KD, Distillation, Ensemble, fuse_teacher
from edgekd.distill.cache import TeacherCache
from edgekd.distill.fusion import _say_unfused
from edgekd.models import build
from edgekd.recipe import Distill, Prune
from edgekd.spec import Spec
from edgekd.stages.distill.work import distill
from edgekd.stages.job import Job
from edgekd.stages.objective import running_teacher, terms_of
from edgekd.tasks.classification import Classification

SHAPE = (3, 16, 16)


class Counting(nn.Module):
    """A network that torch.fx cannot trace."""

    def __init__(self):
        super().__init__()
        self.network = build("resnet8", SHAPE, 10)

    def forward(self, inputs):
        return self.network(inputs) if inputs.sum() > 0 else self.network(-inputs)


class Shared(nn.Module):
    """One convolution with two norms, each of which would have to be folded into it alone."""

    def __init__(self):
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 10)

    def forward(self, inputs):
        return self.head(self.second(self.conv(torch.relu(self.first(self.conv(inputs))))).mean((2, 3)))


def lived_in(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return network


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", ["resnet8", "small_cnn", "torchvision/mobilenet_v2", "torchvision/resnet18"])
def test_a_fused_teacher_gives_the_same_and_the_teacher_stays(name):
    teacher = lived_in(build(name, SHAPE, 10)).train()
    before, inputs = deepcopy(teacher.state_dict()), torch.randn(4, *SHAPE)
    kept = inputs.clone()
    fused = fuse_teacher(teacher, SHAPE)
    assert (norms(fused), norms(teacher) > 0, teacher.training) == (0, True, True)
    with torch.no_grad():
        expected = deepcopy(teacher).eval()(inputs)
        torch.testing.assert_close(fused(inputs), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert torch.equal(inputs, kept)
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())


def test_all_members_of_an_ensemble_are_fused():
    ensemble = Ensemble([lived_in(build("resnet8", SHAPE, 10)) for _ in range(2)], weights=[1, 3])
    fused = fuse_teacher(ensemble, SHAPE)
    assert isinstance(fused, Ensemble)
    assert (norms(fused), fused.rule) == (0, ensemble.rule)
    torch.testing.assert_close(fused(torch.ones(2, *SHAPE)), ensemble(torch.ones(2, *SHAPE)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("teacher", "why"),
    [
        (Counting(), "Counting runs as it is, not fused: torch.fx cannot trace it (symbolically traced variables"),
        (Shared(), "Shared runs as it is, not fused: no BatchNorm follows a convolution"),
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 10)), "Sequential runs as it is, not fused: no BatchNorm follows"),
    ],
)
def test_what_cannot_be_fused_is_said_once(teacher, why, capsys):
    _say_unfused.cache_clear()
    assert fuse_teacher(teacher, SHAPE) is teacher
    assert fuse_teacher(teacher, SHAPE) is teacher
    assert [why in line for line in capsys.readouterr().err.splitlines()] == [True]


def test_a_loss_of_features_takes_the_teacher_as_it_is(capsys):
    teacher, student = (build("resnet8", SHAPE, 10).eval() for _ in range(2))
    for method, fused in (("fitnet", False), ("kd", True)):
        section = Distill(method=method, fuse_teacher=True)
        terms = terms_of(section, student, teacher, SHAPE, 8, Classification(()))
        assert (running_teacher(section, teacher, terms, SHAPE) is not teacher) == fused
    assert capsys.readouterr().err == "the teacher is not fused: a loss compares features of its layers\n"


def test_only_a_stage_that_fuses_has_another_key():
    for section, name in ((Distill, "views"), (Prune, "scope")):
        settings = section(macs=0.5).settings() if section is Prune else section().settings()
        assert "fuse_teacher" not in settings
        assert name in settings
    assert Distill(fuse_teacher=True).settings()["fuse_teacher"] is True


def test_live_and_cached_outputs_of_a_fused_teacher_have_the_same_bytes(few_digits, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    teacher, student = (build("small_cnn", (1, 8, 8), 10, width=width) for width in (8, 4))
    lived_in(teacher)
    spec, made = Spec("small_cnn", (1, 8, 8), 10, {"width": 4}), []
    opened, ran = TeacherCache.open, []

    def noted(folder, network, *arguments, **options):
        ran.append(norms(network))
        return opened(folder, network, *arguments, **options)

    monkeypatch.setattr(TeacherCache, "open", noted)
    for cache in (True, False):
        section = Distill(epochs=1, views=2, cache=cache, fuse_teacher=True)
        folder = tmp_path / str(cache)
        job = Job("01-distill", deepcopy(student), spec, section, few_digits, 0, teacher, folder, lambda entry: None)
        made.append(distill(job).network.state_dict())
    assert ran == [0]
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])


def test_it_is_a_teacher_by_itself():
    teacher, student = (build("resnet8", SHAPE, 10).eval() for _ in range(2))
    logits = fuse_teacher(teacher, SHAPE)(torch.ones(2, *SHAPE))
    assert Distillation(fuse_teacher(teacher, SHAPE), KD()).teacher is not teacher
    assert KD()(student(torch.ones(2, *SHAPE)), logits.detach()) >= 0
