from typing import Any

import pytest

from edgekd.models.build import build, must_be_known
from edgekd.models.families import FAMILIES, Family, Member, is_smallest, smaller
from edgekd.models.size import count_parameters


def test_smaller_members_keep_the_arguments_and_end_with_narrower_ones() -> None:
    assert smaller("resnet32", {"shortcut": "pad"}) == [
        Member("resnet20", {}), Member("resnet8", {}), Member("resnet8", {"width": 8}),
    ]  # fmt: skip
    assert smaller("mlp", {"hidden": [64, 32]}) == [
        Member("mlp", {"hidden": [32, 16]}), Member("mlp", {"hidden": [16, 8]}),
    ]  # fmt: skip
    assert smaller("torchvision/resnet50", {})[-1] == Member("torchvision/resnet18", {})
    assert smaller("unet", {"width": 24, "depth": 2}) == [Member("unet", {"width": 12, "depth": 2})]
    assert smaller("pyramid_detector", {}) == [Member("pyramid_detector", {"width": 8})]
    assert smaller("net.py:make", {}) == []


def test_the_smallest_of_a_family_has_no_shallower_relative() -> None:
    names = ["resnet20", "resnet8", "torchvision/resnet34", "torchvision/resnet18", "mlp", "net.py:make"]
    assert [is_smallest(name) for name in names] == [False, True, False, True, True, True]
    # Of a network that is open, nothing is known.
    assert is_smallest({"choice": ["resnet8"]})


@pytest.mark.parametrize("family", [each for each in FAMILIES if each.width])
def test_the_usual_width_is_that_of_the_builder(family: Family) -> None:
    assert family.width is not None
    arguments: tuple[dict[str, Any], ...] = ({}, {family.width: family.usual})
    usual, given = (count_parameters(build(family.members[-1], (3, 32, 32), 10, **each)) for each in arguments)
    assert usual == given


@pytest.mark.parametrize("family", [family for family in FAMILIES if "/" not in family.members[0]])
def test_families_go_from_large_to_small(family: Family) -> None:
    sizes = [count_parameters(build(name, (3, 16, 16), 10)) for name in family.members]
    assert sizes == sorted(sizes, reverse=True)


def test_members_are_known() -> None:
    for family in FAMILIES:
        for name in family.members:
            if not name.startswith("timm/"):
                must_be_known(name)
