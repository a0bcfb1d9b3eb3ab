"""Networks composed at random of ``BLOCKS``, to be named as ``tests/prune/random_networks.py:build_seed``."""

import random
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.prune.blocks import BLOCKS, conv

SHAPE, CLASSES = (3, 8, 8), 4


class Head(nn.Module):
    def __init__(self, run: Callable[["Head", Tensor], Tensor], **layers: nn.Module):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def _two_layers(places: int, flatten: Callable[[Tensor], Tensor]) -> Head:
    first, last = nn.Linear(places, 10), nn.Linear(10, CLASSES)
    return Head(lambda m, x: m.last(F.relu(m.first(flatten(x)))), first=first, last=last)


HEADS: dict[str, Callable[[tuple[int, ...]], Head]] = {
    "pooled": lambda s: Head(lambda m, x: m.last(x.mean((2, 3))), last=nn.Linear(s[0], CLASSES)),
    "flat": lambda s: _two_layers(s[0] * s[1] * s[2], lambda x: x.flatten(1)),
    "view_with_numbers": lambda s: _two_layers(s[0] * s[1] * s[2], lambda x: x.reshape(-1, s[0] * s[1] * s[2])),
    "view_of_the_batch": lambda s: _two_layers(s[0] * s[1] * s[2], lambda x: x.reshape(x.size(0), -1)),
    "pooled_with_numbers": lambda s: _two_layers(s[0], lambda x: F.adaptive_avg_pool2d(x, 1).view(-1, s[0])),
    "convolution": lambda s: Head(lambda m, x: m.last(x).amax((2, 3)), last=conv(s[0], CLASSES)),
    "two_added": lambda s: Head(
        lambda m, x: m.one(x.mean((2, 3))) + m.two(F.relu(m.inner(x)).amax((2, 3))),
        one=nn.Linear(s[0], CLASSES),
        inner=conv(s[0], 6),
        two=nn.Linear(6, CLASSES),
    ),
    "two_joined": lambda s: Head(
        lambda m, x: torch.cat([m.one(x), m.two(x)], 1).mean((2, 3)), one=conv(s[0], 1), two=conv(s[0], CLASSES - 1)
    ),
    "log_softmax": lambda s: Head(lambda m, x: m.last(x.mean((2, 3))).log_softmax(1), last=nn.Linear(s[0], CLASSES)),
}


class Composed(nn.Module):
    """A stem, ``kinds`` of blocks one after the other, and a head; ``raw`` joins the input again before the head."""

    def __init__(self, kinds: Sequence[str], head: str, raw: bool = False):
        super().__init__()
        self.stem, self.raw = conv(3, 8), raw
        channels, blocks = 8, []
        for kind in kinds:
            blocks.append(BLOCKS[kind](channels))
            channels = blocks[-1].outputs
        self.blocks = nn.ModuleList(blocks)
        with torch.no_grad():
            shape = self.eval().features(torch.zeros(2, *SHAPE)).shape[1:]
        self.head = HEADS[head](tuple(shape))

    def features(self, x: Tensor) -> Tensor:
        given, x = x, F.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return torch.cat([x, F.adaptive_avg_pool2d(given, x.shape[2:])], 1) if self.raw else x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def composed(kinds: Sequence[str], head: str, raw: bool = False, seed: int = 0) -> Composed:
    torch.manual_seed(seed)
    network = Composed(kinds, head, raw)
    with torch.no_grad():
        for parameter in network.parameters():
            # All of them differ, so that what is left of a weight says where it was.
            order = torch.randperm(parameter.numel()).view_as(parameter)
            scale = (2 * len(parameter) / parameter.numel()) ** 0.5 if parameter.ndim > 1 else 0.5
            parameter.copy_((order + 0.5) / parameter.numel() * 2 * scale - scale + (parameter.ndim < 2))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def drawn(seed: int) -> tuple[tuple[str, ...], str, bool]:
    """The blocks, the head and whether the input is joined, of a network by its number."""
    draw = random.Random(seed)
    kinds = tuple(draw.choice(list(BLOCKS)) for _ in range(draw.randint(1, 4)))
    return kinds, draw.choice(list(HEADS)), draw.random() < 0.2


def build_seed(seed: int) -> nn.Module:
    kinds, head, raw = drawn(seed)
    return composed(kinds, head, raw, seed)
