"""torchvision's one-stage detectors without their post-processing: heads and anchors as outputs by name."""

from typing import Any

import torch
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.nearest import nearest

PREFIX = "torchvision/detection/"


class RawHeads(nn.Module):
    """A detector of torchvision whose outputs are those of its heads, see :mod:`edgekd.tasks.detection.outputs`.

    The input goes to the backbone as it is: it is scaled by a recipe's data section, not by the detector's own
    transform. Anchors are those of images of one size.

    Args:
        detector: an SSD, RetinaNet or FCOS of torchvision.
        input_shape: of images, (channels, height, width).

    Raises:
        ModelError: it is a detector of another kind.
    """

    anchors: Tensor
    scales: Tensor

    def __init__(self, detector: nn.Module, input_shape: tuple[int, ...]):
        super().__init__()
        if not all(hasattr(detector, name) for name in ("backbone", "head", "anchor_generator", "box_coder")):
            raise ModelError(
                f"{type(detector).__name__} has no single head: take SSD, SSDLite, RetinaNet or FCOS, or give raw "
                "heads by a function in a file of your own (path.py:function)"
            )
        parts: Any = detector
        self.backbone: nn.Module = parts.backbone
        self.head: nn.Module = parts.head
        coder = parts.box_coder
        self.has_distances = type(coder).__name__ == "BoxLinearCoder"
        self.register_buffer("anchors", _anchors(detector, input_shape)[None], persistent=False)
        weights = [1.0] * 4 if self.has_distances else list(coder.weights)
        self.register_buffer("scales", torch.tensor([weights]), persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        heads = self.head(_levels(self.backbone(images)))
        n = images.shape[0]  # len() would make it a constant in torch.export
        found = {"scores": heads["cls_logits"], "anchors": self.anchors.expand(n, -1, -1)}
        if self.has_distances:
            found["distances"] = heads["bbox_regression"]
        else:
            found["deltas"], found["scales"] = heads["bbox_regression"], self.scales.expand(n, -1)
        if "bbox_ctrness" in heads:
            found["centerness"] = heads["bbox_ctrness"]
        return found


def raw_heads(reference: str, input_shape: tuple[int, ...], num_classes: int, **args: Any) -> nn.Module:
    """Build the detector ``torchvision/detection/NAME`` with random weights, as :class:`RawHeads`.

    Raises:
        ModelError: torchvision has none of that name, or it is of another kind.
    """
    from torchvision.models import detection, get_model, list_models
    from torchvision.models.detection.ssd import SSD

    name, known = reference.removeprefix(PREFIX), list_models(module=detection)
    if name not in known:
        raise ModelError(f"torchvision has no detector {name!r}{nearest(name, known)}")
    if len(input_shape) != 3 or input_shape[0] != 3:
        raise ModelError(f"{reference} takes 3-channel images, the data gives {input_shape}: set grayscale: false")
    usual = {"weights": None, "weights_backbone": None, **args}
    if name.startswith("ssd"):
        # One more, for the background.
        detector = get_model(name, num_classes=num_classes + 1, **usual)
        assert isinstance(detector, SSD)
    else:
        detector = get_model(name, num_classes=num_classes, **usual)
    return RawHeads(detector, input_shape)


def _levels(features: Any) -> list[Tensor]:
    return [features] if isinstance(features, Tensor) else list(features.values())


def _anchors(detector: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    from torchvision.models.detection.image_list import ImageList

    was = detector.training
    images = torch.zeros(1, *input_shape)
    with torch.no_grad():
        levels = _levels(detector.eval().backbone(images))  # type: ignore[operator]
        [anchors] = detector.anchor_generator(ImageList(images, [(input_shape[1], input_shape[2])]), levels)  # type: ignore[operator]
    detector.train(was)
    found: Tensor = anchors
    return found.clone()
