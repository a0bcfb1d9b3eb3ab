import pytest
import torch

from edgekd.errors import ModelError
from edgekd.prune.importance import build_importance
from edgekd.prune.reduction import REDUCTIONS
from edgekd.prune.registry import IMPORTANCES

HAS = torch.tensor([[True, True, False], [False, True, True]])
SCORES = torch.tensor([[2.0, 3.0, 0.0], [0.0, 5.0, 7.0]])


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [("mean", [2, 4, 7]), ("sum", [2, 8, 7]), ("max", [2, 5, 7]), ("first", [2, 3, 7]), ("product", [2, 15, 7])],
)
def test_a_reduction_passes_over_layers_that_lack_the_channel(reduction, expected):
    assert REDUCTIONS.find(reduction)(SCORES, HAS).tolist() == expected


@pytest.mark.parametrize(
    ("name", "gradients", "reduces"),
    [
        ("l1", "none", False), ("l2", "none", False), ("random", "none", False), ("group_magnitude", "none", True),
        ("bn_scale", "none", True), ("fpgm", "none", True), ("lamp", "none", True), ("taylor", "batch", True),
        ("fisher", "sample", True),
    ],
)  # fmt: skip
def test_what_each_importance_needs(name, gradients, reduces):
    assert build_importance(name).gradients == gradients
    if reduces:
        assert build_importance(name, "max").reduction is REDUCTIONS["max"]
    else:
        with pytest.raises(ModelError) as error:
            build_importance(name, "max")
        assert str(error.value) == (
            f"importance {name!r} has no layers to reduce over: leave reduction 'max' out, or choose one of "
            "bn_scale, fisher, fpgm, group_magnitude, lamp, taylor"
        )


def test_all_of_them_are_there():
    assert set(IMPORTANCES) == {
        "bn_scale", "fisher", "fpgm", "group_magnitude", "l1", "l2", "lamp", "random", "taylor"
    }  # fmt: skip


def test_unknown_names():
    with pytest.raises(ModelError, match=r"^unknown reduction 'average'; known: first, max, mean, product, sum$"):
        build_importance("taylor", "average")
    with pytest.raises(ModelError, match=r"^unknown importance 'tailor' \(did you mean 'taylor'\?\)"):
        build_importance("tailor")
