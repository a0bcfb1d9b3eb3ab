"""Networks with several inputs and outputs, small enough for a test."""

import torch
from torch import Tensor, nn

from edgekd.models.signature import find_signature
from edgekd.tasks.signature import Signature

VOCABULARY = 50
IMAGE, LONGEST = (3, 16, 16), 40


class ImageAndText(nn.Module):
    """An image and tokens of any length, to logits and the embedding that they are computed from."""

    def __init__(self, width: int = 16, classes: int = 4):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.BatchNorm2d(2 * width)
        self.words = nn.Embedding(VOCABULARY, width)
        self.mix, self.project = nn.Linear(width, 24), nn.Linear(24, 2 * width)
        self.joint, self.feature = nn.Linear(4 * width, 48), nn.Linear(48, 12)
        self.head = nn.Linear(12, classes)

    def forward(self, image: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(image)))))).mean((2, 3))
        read = self.project(torch.relu(self.mix(self.words(tokens)))).mean(1)
        embedding = self.feature(torch.relu(self.joint(torch.cat([seen, read], 1))))
        return self.head(torch.relu(embedding)), embedding


class Tagger(nn.Module):
    """Tokens and their mask, to a dict: a tag for each token, and one score for all."""

    def __init__(self, width: int = 16, tags: int = 5):
        super().__init__()
        self.words, self.positions = nn.Embedding(VOCABULARY, width), nn.Embedding(LONGEST, width)
        self.hidden, self.tag, self.whole = nn.Linear(width, 32), nn.Linear(32, tags), nn.Linear(32, 2)

    def forward(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        place = torch.arange(tokens.shape[1], device=tokens.device)
        hidden = torch.relu(self.hidden(self.words(tokens) + self.positions(place)))
        weights = mask.unsqueeze(-1)
        mean = (hidden * weights).sum(1) / (weights.sum(1) + 1e-3)
        return {"tags": self.tag(hidden), "score": self.whole(mean)}


def image_and_text(**args: int) -> tuple[ImageAndText, Signature]:
    torch.manual_seed(0)
    network = ImageAndText(**args).eval()
    example = (torch.rand(2, *IMAGE), torch.randint(0, VOCABULARY, (2, 9)))
    axes = {"tokens": {1: "length"}}
    return network, find_signature(network, example, open=axes, outputs=("logits", "embedding"))


def tagger(**args: int) -> tuple[Tagger, Signature]:
    torch.manual_seed(0)
    network = Tagger(**args).eval()
    example = {"tokens": torch.randint(0, VOCABULARY, (2, 9)), "mask": torch.ones(2, 9)}
    axes = {"tokens": {1: "length"}, "mask": {1: "length"}}
    return network, find_signature(network, example, open=axes, limits={"length": (None, LONGEST)})


def batches(signature: Signature, lengths: tuple[int, ...] = (9, 13), samples: int = 16) -> list[tuple[Tensor, ...]]:
    """Batches of drawn inputs, one for each length."""
    generator = torch.Generator().manual_seed(1)
    return [signature.sized(length=length).example(samples, generator=generator) for length in lengths]
