"""A small U-Net for masks. Every one of its layers has an int8 kernel in the runtimes that edgekd writes for."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.models.registry import MODELS


class UNet(nn.Module):
    """The network of Ronneberger, Fischer and Brox, "U-Net" (2015), padded and with BatchNorm.

    Its transposed convolutions, which few runtimes compute in int8, are a 1x1 convolution and upsampling to the nearest
    value here; the two commute, and in this order the convolution has a quarter of the positions.

    Args:
        in_channels: of images.
        num_classes: channels of the logits (N, classes, H, W).
        width: channels of the first level; each further one has twice as many.
        depth: how often the image is halved.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int = 16, depth: int = 3):
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _block(before, after) for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.narrow = nn.ModuleList(nn.Conv2d(below, level, 1) for below, level in pairs)
        self.up = nn.ModuleList(_block(2 * level, level) for _, level in pairs)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.down
        skips = [first(x)]
        for block in others:
            skips.append(block(F.max_pool2d(skips[-1], 2)))
        x = skips.pop()
        for narrow, block in zip(self.narrow, self.up, strict=True):
            upsampled = F.interpolate(narrow(x), scale_factor=2, mode="nearest")
            x = block(torch.cat([skips.pop(), upsampled], 1))
        return self.head(x)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


@MODELS.register("unet")
def unet(input_shape: tuple[int, ...], num_classes: int, width: int = 16, depth: int = 3) -> nn.Module:
    """Build a :class:`UNet`, which gives logits of the image's size.

    Raises:
        ModelError: the image cannot be halved ``depth`` times.
    """
    if len(input_shape) != 3 or any(size % (1 << depth) for size in input_shape[1:]):
        raise ModelError(
            f"a U-Net of depth {depth} takes images whose sides are multiples of {1 << depth}, the data gives "
            f"{input_shape}: set image_size to such a number, or a smaller depth"
        )
    return UNet(input_shape[0], num_classes, width, depth)
