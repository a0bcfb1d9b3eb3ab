"""Tiny networks of dense tasks, each with the operators between convolutions that these have."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def block(inputs: int, outputs: int) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class Small(nn.Module):
    """A U-Net of width 8: skips behind a ReLU are joined with values that have a sign."""

    def __init__(self, mode: str = "nearest") -> None:
        super().__init__()
        self.mode = mode
        self.one, self.two, self.three = block(3, 8), block(8, 16), block(16, 32)
        self.narrow_two, self.narrow_one = nn.Conv2d(32, 16, 1), nn.Conv2d(16, 8, 1)
        self.up_two, self.up_one = block(32, 16), block(16, 8)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        x = self.narrow_two(self.three(F.max_pool2d(two, 2)))
        x = self.narrow_one(self.up_two(torch.cat([two, self.upsampled(x)], 1)))
        return self.head(self.up_one(torch.cat([one, self.upsampled(x)], 1)))

    def upsampled(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode=self.mode)


class Movers(nn.Module):
    """Pixel shuffle, padding, slicing, squeezing, pooling and selecting between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 1)
        self.four, self.head = nn.Conv1d(8, 8, 1), nn.Conv1d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(F.pixel_shuffle(torch.relu(self.one(x)), 2), (1, 0, 1, 0))
        x = self.three(torch.relu(self.two(x))[:, :, 1:, :-1]).unsqueeze(2).squeeze(2)
        x = torch.relu(self.four(F.max_pool2d(x, 2)[..., 0]))
        return self.head(F.pad(x, (1, 1), mode="reflect"))


class Transposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.up, self.head = nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 8, 2, stride=2), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.up(torch.relu(self.one(x)))))


NETWORKS = {
    "unet": Small,
    "bilinear": lambda: Small("bilinear"),
    "movers": Movers,
    "transposed": Transposed,
}
