"""Tiny networks with one pattern each of those that runtimes differ on."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE = (3, 8, 8)


def convolution(inputs: int, outputs: int, kernel: int = 3, activation: nn.Module | None = None, **settings: int):
    same = {"padding": kernel // 2, "bias": False, **settings}
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, **same), nn.BatchNorm2d(outputs), activation or nn.Identity()
    )


class Classifier(nn.Module):
    """``features``, a mean over the image, and a linear layer."""

    def __init__(self, width: int):
        super().__init__()
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))

    def features(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Residual(Classifier):
    """ResNet's two blocks: the identity as it is, and through a convolution of 1x1."""

    def __init__(self) -> None:
        super().__init__(16)
        self.stem = convolution(3, 8, activation=nn.ReLU())
        self.one, self.two = convolution(8, 8, activation=nn.ReLU()), convolution(8, 8)
        self.down, self.three, self.four = convolution(8, 16, 1), convolution(8, 16), convolution(16, 16)

    def features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(self.two(self.one(x)) + x)
        return torch.relu(self.four(torch.relu(self.three(x))) + self.down(x))


class Dense(Classifier):
    """DenseNet: concatenations, the first of one activation, and BatchNorms that no convolution stands before."""

    def __init__(self) -> None:
        super().__init__(8)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm, self.one = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)
        self.last, self.transition = nn.BatchNorm2d(16), nn.Conv2d(16, 8, 1)

    def features(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.cat([x, self.one(torch.relu(self.norm(torch.cat([x], 1))))], 1)
        return torch.relu(self.transition(torch.relu(self.last(x))))


class PreActivation(Classifier):
    """ResNet's second version: its first sum takes the stem as it is, the BatchNorm beside it too."""

    def __init__(self) -> None:
        super().__init__(8)
        self.stem, self.norm, self.one = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)

    def features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return torch.relu(x + self.one(torch.relu(self.norm(x))))


class MobileNetV2(Classifier):
    def __init__(self) -> None:
        super().__init__(8)
        self.stem = convolution(3, 8, activation=nn.ReLU6())
        self.wide = convolution(8, 16, 1, activation=nn.ReLU6())
        self.depthwise = convolution(16, 16, activation=nn.ReLU6(), groups=16)
        self.narrow = convolution(16, 8, 1)

    def features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return x + self.narrow(self.depthwise(self.wide(x)))


class MobileNetV3(Classifier):
    """Hard-swish, and squeeze-and-excitation."""

    def __init__(self) -> None:
        super().__init__(8)
        self.stem = convolution(3, 8, activation=nn.Hardswish())
        self.wide = convolution(8, 16, 1, activation=nn.Hardswish())
        self.squeeze, self.excite = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1)
        self.narrow = convolution(16, 8, 1)

    def features(self, x: Tensor) -> Tensor:
        x = self.wide(self.stem(x))
        gate = F.hardsigmoid(self.excite(torch.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        return self.narrow(x * gate)


class Swish(Classifier):
    def __init__(self) -> None:
        super().__init__(8)
        self.one, self.two = convolution(3, 8, activation=nn.SiLU()), convolution(8, 8, activation=nn.SiLU())

    def features(self, x: Tensor) -> Tensor:
        return self.two(self.one(x))


class ChannelsLast(Classifier):
    """ConvNeXt's block: linear layers on the channels of an image, and a factor for each channel."""

    def __init__(self) -> None:
        super().__init__(8)
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.LayerNorm(8)
        self.wide, self.narrow = nn.Linear(8, 16), nn.Linear(16, 8)
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 8).reshape(8, 1, 1))

    def features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return x + self.scale * self.narrow(F.gelu(self.wide(self.norm(x.permute(0, 2, 3, 1))))).permute(0, 3, 1, 2)


class Shuffle(Classifier):
    """ShuffleNetV2's unit: half of the channels go round, and both halves are shuffled."""

    def __init__(self) -> None:
        super().__init__(8)
        self.stem = convolution(3, 8, activation=nn.ReLU())
        self.branch = nn.Sequential(
            convolution(4, 4, 1, activation=nn.ReLU()), convolution(4, 4, groups=4), convolution(4, 4, 1)
        )

    def features(self, x: Tensor) -> Tensor:
        kept, changed = self.stem(x).chunk(2, 1)
        x = torch.cat([kept, torch.relu(self.branch(changed))], 1)
        n, channels, height, width = x.shape
        return x.view(n, 2, channels // 2, height, width).transpose(1, 2).reshape(n, channels, height, width)


class Upsampling(Classifier):
    """A grouped convolution and a transposed one."""

    def __init__(self) -> None:
        super().__init__(8)
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.up, self.last = nn.ConvTranspose2d(8, 8, 2, stride=2), nn.Conv2d(8, 8, 1)

    def features(self, x: Tensor) -> Tensor:
        x = torch.relu(self.grouped(torch.relu(self.stem(x))))
        return torch.relu(self.last(torch.relu(self.up(x))))


class Volume(Classifier):
    """Convolutions in three dimensions, over the colours too."""

    def __init__(self) -> None:
        super().__init__(8)
        self.one, self.two = nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 8, 3)

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.two(torch.relu(self.one(x.unsqueeze(1))))).flatten(2, 3)


class Tokens(nn.Module):
    """A linear layer on (batch, tokens, channels) is a MatMul."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(64, 16), nn.Linear(16, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(torch.relu(self.one(x.flatten(2)))).mean(1))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "residual": Residual,
    "dense": Dense,
    "mobilenetv2": MobileNetV2,
    "mobilenetv3": MobileNetV3,
    "swish": Swish,
    "shuffle": Shuffle,
    "upsampling": Upsampling,
    "volume": Volume,
    "tokens": Tokens,
}
# With those of which some runtimes compute parts in float, as they are made.
ALL = {**NETWORKS, "channels_last": ChannelsLast}
