"""The parts of torchvision's two-stage detectors that are networks of fixed shape: first stages, and heads of regions.

What lies between, the choice of regions and their pooling, is no part of an exported file. Each function builds a
network for ``path.py:function`` of a recipe, with random weights.
"""

from typing import Any

from torch import Tensor, nn
from torchvision.models import detection

Shape = tuple[int, ...]
BARE: dict[str, Any] = {"weights": None, "weights_backbone": None}


class FirstStage(nn.Module):
    """The trunk with its pyramid, and the scores and shifts of proposals on each level."""

    def __init__(self, detector: Any):
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.rpn.head

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        scores, shifts = self.head(list(self.backbone(images).values()))
        found = {f"objectness.{level}": each for level, each in enumerate(scores)}
        return found | {f"deltas.{level}": each for level, each in enumerate(shifts)}


class BoxHead(nn.Module):
    """The second stage of Faster R-CNN: two linear layers, then scores and shifts."""

    def __init__(self, heads: Any):
        super().__init__()
        self.head, self.predictor = heads.box_head, heads.box_predictor

    def forward(self, regions: Tensor) -> dict[str, Tensor]:
        scores, deltas = self.predictor(self.head(regions))
        return {"scores": scores, "deltas": deltas}


def fasterrcnn_first_stage(input_shape: Shape, num_classes: int) -> nn.Module:
    return FirstStage(detection.fasterrcnn_mobilenet_v3_large_fpn(num_classes=num_classes, **BARE))


def keypointrcnn_first_stage(input_shape: Shape, num_classes: int) -> nn.Module:
    return FirstStage(detection.keypointrcnn_resnet50_fpn(num_classes=2, num_keypoints=num_classes, **BARE))


def fasterrcnn_box_head(input_shape: Shape, num_classes: int) -> nn.Module:
    """Build the head that reads regions (256, 7, 7)."""
    heads: Any = detection.fasterrcnn_mobilenet_v3_large_fpn(num_classes=num_classes, **BARE)
    return BoxHead(heads.roi_heads)


def maskrcnn_mask_head(input_shape: Shape, num_classes: int) -> nn.Module:
    """Build the head that reads regions (256, 14, 14): convolutions, and a transposed one."""
    heads: Any = detection.maskrcnn_resnet50_fpn(num_classes=num_classes, **BARE)
    return nn.Sequential(heads.roi_heads.mask_head, heads.roi_heads.mask_predictor)


def keypointrcnn_head(input_shape: Shape, num_classes: int) -> nn.Module:
    """Build the head that reads regions (256, 14, 14): eight convolutions, then heat maps twice as large."""
    heads: Any = detection.keypointrcnn_resnet50_fpn(num_classes=2, num_keypoints=num_classes, **BARE)
    return nn.Sequential(heads.roi_heads.keypoint_head, heads.roi_heads.keypoint_predictor)
