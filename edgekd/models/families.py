"""Families of networks, from the largest to the smallest: what may take a teacher's place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Narrower than this, a network of images has too few channels for the runtimes' vector instructions.
NARROWEST = 8


@dataclass(frozen=True)
class Family:
    """Networks that differ in depth or size.

    Attributes:
        members: from the largest to the smallest.
        width: the argument of their builders that sets their widths, a number or a list of them.
        usual: the width where that argument is left out.
    """

    members: tuple[str, ...]
    width: str | None = None
    usual: Any = None


@dataclass(frozen=True)
class Member:
    """A network of a family, with the arguments of its builder."""

    model: str
    args: Mapping[str, object]


def _torchvision(*names: str) -> Family:
    return Family(tuple(f"torchvision/{name}" for name in names))


def _timm(*names: str) -> Family:
    return Family(tuple(f"timm/{name}" for name in names))


FAMILIES = (
    Family(("resnet110", "resnet56", "resnet44", "resnet32", "resnet20", "resnet8"), "width", 16),
    Family(("small_cnn",), "width", 16),
    Family(("mlp",), "hidden", [64, 64]),
    Family(("unet",), "width", 16),
    Family(("pyramid_detector",), "width", 16),
    _torchvision("resnet152", "resnet101", "resnet50", "resnet34", "resnet18"),
    _torchvision("vgg19_bn", "vgg16_bn", "vgg13_bn", "vgg11_bn"),
    _torchvision("densenet161", "densenet201", "densenet169", "densenet121"),
    _torchvision("mobilenet_v3_large", "mobilenet_v3_small"),
    _torchvision("efficientnet_b7", "efficientnet_b5", "efficientnet_b3", "efficientnet_b1", "efficientnet_b0"),
    _torchvision("efficientnet_v2_l", "efficientnet_v2_m", "efficientnet_v2_s"),
    _torchvision("regnet_y_8gf", "regnet_y_3_2gf", "regnet_y_1_6gf", "regnet_y_800mf", "regnet_y_400mf"),
    _torchvision("convnext_large", "convnext_base", "convnext_small", "convnext_tiny"),
    _torchvision("shufflenet_v2_x2_0", "shufflenet_v2_x1_5", "shufflenet_v2_x1_0", "shufflenet_v2_x0_5"),
    _torchvision("mnasnet1_3", "mnasnet1_0", "mnasnet0_75", "mnasnet0_5"),
    _torchvision("squeezenet1_0", "squeezenet1_1"),
    _torchvision("swin_b", "swin_s", "swin_t"),
    _torchvision("vit_l_16", "vit_b_16"),
    _torchvision("segmentation/fcn_resnet101", "segmentation/fcn_resnet50"),
    _torchvision(
        *("segmentation/deeplabv3_resnet101", "segmentation/deeplabv3_resnet50"),
        "segmentation/deeplabv3_mobilenet_v3_large",
    ),
    _timm("resnet152", "resnet101", "resnet50", "resnet34", "resnet26", "resnet18", "resnet14t", "resnet10t"),
    _timm("vit_large_patch16_224", "vit_base_patch16_224", "vit_small_patch16_224", "vit_tiny_patch16_224"),
)


def smaller(model: str, args: Mapping[str, object]) -> list[Member]:
    """Return the smaller members of the family of ``model``, the largest first; none if it has no family.

    They are built with ``args`` too. The smallest one follows in half of its width, and in a quarter.
    """
    family = _family_of(model)
    if family is None:
        return []
    # Option A of the CIFAR ResNets has no weights, and cannot be cut.
    kept = {key: value for key, value in args.items() if key != "shortcut"}
    below = family.members[family.members.index(model) + 1 :]
    members = [Member(name, kept) for name in below]
    return [*members, *_narrower(family, family.members[-1], kept)]


def is_smallest(model: object) -> bool:
    """Tell whether no other network of its family is smaller but for its widths, or it has no family."""
    family = _family_of(model)
    return family is None or model == family.members[-1]


def _family_of(model: object) -> Family | None:
    return next((each for each in FAMILIES if model in each.members), None)


def _narrower(family: Family, model: str, args: Mapping[str, object]) -> list[Member]:
    if family.width is None:
        return []
    width = args.get(family.width, family.usual)
    narrower = [_divided(width, factor) for factor in (2, 4)]
    return [Member(model, {**args, family.width: each}) for each in narrower if each is not None]


def _divided(width: Any, factor: int) -> Any:
    if isinstance(width, int):
        return width // factor if width // factor >= NARROWEST else None
    divided = [_divided(each, factor) for each in width] if isinstance(width, list | tuple) else [None]
    return None if None in divided else divided
