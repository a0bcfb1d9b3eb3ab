"""Construction of networks by name: edgekd's own, torchvision's, timm's, or a user's function."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from edgekd import userfile
from edgekd.errors import ModelError
from edgekd.models import (  # noqa: F401  (their entries register themselves)
    cifar_resnet,
    pyramid_detector,
    simple_baseline,
    tiny,
    unet,
)
from edgekd.models.registry import MODELS
from edgekd.nearest import nearest
from edgekd.tasks.signature import Shape, Signature

# Heads that only exist in training would have widths that pruning has not followed.
SEGMENTATION = "segmentation/"
TORCHVISION_EXTRAS = {"googlenet": {"aux_logits": False}, "inception_v3": {"aux_logits": False}}


def build(name: str, input_shape: tuple[int, ...], num_classes: int, **args: Any) -> nn.Module:
    """Build the network ``name`` with random weights.

    Args:
        name: an entry of ``MODELS``, ``torchvision/<name>``, ``torchvision/segmentation/<name>``,
            ``torchvision/detection/<name>``, ``timm/<name>`` or ``path.py:function``.
        input_shape: shape of one input, without the batch: (channels, height, width) or (features,).
        num_classes: the number of logits.
        args: further arguments of the builder.

    Raises:
        ModelError: there is no such network, or it refuses these arguments.
    """
    builder = _builder(name, tuple(input_shape), num_classes)
    args = {**builder.usual, **args, **builder.fixed}
    network = userfile.call(builder.function, builder.label, ModelError, builder.offered, args)
    if not isinstance(network, nn.Module):
        raise ModelError(f"{name} gave a {type(network).__name__}, not a torch.nn.Module; return the network itself")
    return network


@MODELS.register("simple_baseline")
def on_backbone(
    input_shape: tuple[int, ...],
    num_classes: int,
    backbone: str = "resnet8",
    backbone_args: Mapping[str, object] | None = None,
    stride: int = 4,
    channels: int = 64,
) -> nn.Module:
    """Build ``num_classes`` heat maps of a cell for ``stride`` x ``stride`` pixels on any network but a user's own.

    Raises:
        ModelError: see :func:`edgekd.models.simple_baseline.on_backbone`, and for a user's file.
    """
    if userfile.is_reference(backbone):
        raise ModelError(f"{backbone} is no backbone: build the whole network in a path.py:function")
    network = build(backbone, input_shape, 1, **(backbone_args or {}))
    return simple_baseline.on_backbone(backbone, network, input_shape, num_classes, stride, channels)


def must_be_known(name: str) -> None:
    """Refuse a name that no network has; a user's function is not loaded.

    Raises:
        ModelError: there is no such network; the message has the nearest.
    """
    if name.startswith("torchvision/"):
        _known_to_torchvision(name)
    elif name.startswith("timm/"):
        _known_to_timm(name)
    elif not userfile.is_reference(name):
        MODELS.find(name)


def code_of(
    name: str, input_shape: Shape, num_classes: int, args: dict[str, Any], signature: Signature | None = None
) -> tuple[str, ...]:
    """Hash the user's files that the network ``name`` depends on, in building and in its forward pass.

    A change in any of them makes another network. Networks that are not ``path.py:function`` depend on none.

    Args:
        signature: what the network takes, where that is not one tensor of ``input_shape``.
    """
    if not userfile.is_reference(name):
        return ()

    def use() -> None:
        with torch.random.fork_rng(devices=[]):
            network = build(name, input_shape, num_classes, **args)
            with suppress(Exception), torch.no_grad():  # an input that the network refuses does not matter here
                network.eval()(*Signature.of(signature or input_shape).example())

    return userfile.code_of(name, use, list(input_shape), num_classes, args)


@dataclass(frozen=True)
class _Builder:
    """The function that builds a network, and the arguments that it gets apart from the caller's.

    Attributes:
        offered: those that it gets if its signature names them.
        usual: those that the caller's replace.
        fixed: those that replace the caller's.
    """

    function: Callable[..., Any]
    label: str
    offered: Mapping[str, object] = field(default_factory=dict)
    usual: Mapping[str, object] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)


def _builder(name: str, input_shape: Shape, num_classes: int) -> _Builder:
    if name.startswith("torchvision/detection/"):
        from edgekd.models.torchvision_detection import raw_heads

        return _Builder(partial(raw_heads, name, input_shape, num_classes), name)
    if name.startswith("torchvision/"):
        return _of_torchvision(name, input_shape, num_classes)
    if name.startswith("timm/"):
        return _of_timm(name, input_shape, num_classes)
    offered = {"input_shape": input_shape, "num_classes": num_classes}
    if userfile.is_reference(name):
        return _Builder(userfile.load_function(name, ModelError), name, offered)
    return _Builder(MODELS.find(name), f"model {name}", offered)


def _of_torchvision(reference: str, input_shape: Shape, num_classes: int) -> _Builder:
    from torchvision import models

    name, is_of_masks = _known_to_torchvision(reference)
    if len(input_shape) != 3 or input_shape[0] != 3:
        raise ModelError(f"{reference} takes 3-channel images, the data gives {input_shape}: set grayscale: false")
    fixed: dict[str, object] = {"weights": None, "num_classes": num_classes}
    if is_of_masks:
        return _Builder(partial(_masks, name), reference, fixed={**fixed, "weights_backbone": None})
    return _Builder(partial(models.get_model, name), reference, usual=TORCHVISION_EXTRAS.get(name, {}), fixed=fixed)


def _masks(name: str, **args: Any) -> nn.Module:
    """Build one of torchvision's segmentation networks, which gives its output ``out`` alone."""
    from torchvision import models

    network: nn.Module = models.get_model(name, **args)
    # A module around it would change the names of its weights.
    network.register_forward_hook(_out)
    return network


def _out(_: nn.Module, __: Any, outputs: Any) -> Any:
    return outputs["out"]


def _known_to_torchvision(reference: str) -> tuple[str, bool]:
    """Return torchvision's own name, and whether the network gives masks."""
    from torchvision import models

    name = reference.removeprefix("torchvision/")
    is_of_masks = name.startswith(SEGMENTATION)
    name, group = name.removeprefix(SEGMENTATION), models.segmentation if is_of_masks else models
    known = models.list_models(module=group)
    if name not in known:
        kind = "segmentation" if is_of_masks else "classification"
        raise ModelError(f"torchvision has no {kind} network {name!r}{nearest(name, known)}")
    return name, is_of_masks


def _of_timm(reference: str, input_shape: Shape, num_classes: int) -> _Builder:
    name = _known_to_timm(reference)
    import timm

    fixed = {"pretrained": False, "num_classes": num_classes}
    return _Builder(partial(timm.create_model, name), reference, usual={"in_chans": input_shape[0]}, fixed=fixed)


def _known_to_timm(reference: str) -> str:
    try:
        import timm
    except ImportError as cause:
        raise ModelError(f"{reference} needs timm: pip install 'edgekd[timm]'") from cause
    name = reference.removeprefix("timm/")
    if not timm.is_model(name):
        raise ModelError(f"timm has no network {name!r}{nearest(name, timm.list_models())}")
    return name
