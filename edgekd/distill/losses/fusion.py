"""The attention based fusion of Chen et al., "Distilling Knowledge via Knowledge Review" (CVPR 2021), section 3."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ABF(nn.Module):
    """Maps a student's features to the teacher's shape, fused with those of the deeper levels.

    Args:
        student_channels, teacher_channels: channels of the maps at this level.
        mid_channels: channels of the fused map, the same at all levels.
        fuse: whether there is a deeper level.
    """

    def __init__(self, student_channels: int, mid_channels: int, teacher_channels: int, fuse: bool):
        super().__init__()
        self.reduce = nn.Sequential(_convolution(student_channels, mid_channels, 1), nn.BatchNorm2d(mid_channels))
        self.expand = nn.Sequential(_convolution(mid_channels, teacher_channels, 3), nn.BatchNorm2d(teacher_channels))
        self.attention = nn.Conv2d(2 * mid_channels, 2, 1) if fuse else None

    def forward(self, student: Tensor, deeper: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the map to compare with the teacher's, and the fused map for the next level up.

        Args:
            student: (N, student_channels, H, W).
            deeper: (N, mid_channels, any, any), the fused map of the next deeper level; used if the level fuses.
            size: (H, W) of the teacher's map.

        Returns:
            (N, teacher_channels, *size) and (N, mid_channels, *size).
        """
        mixed = self.reduce(student.to(next(self.parameters()).dtype))
        if self.attention is not None and deeper is not None:
            deeper = _resized(deeper, (mixed.shape[2], mixed.shape[3]))
            own, other = self.attention(torch.cat([mixed, deeper], dim=1)).sigmoid().split(1, dim=1)
            mixed = mixed * own + deeper * other
        mixed = _resized(mixed, size)
        return self.expand(mixed), mixed


def _convolution(channels: int, out_channels: int, kernel: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(layer.weight, a=1)
    return layer


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="nearest")
