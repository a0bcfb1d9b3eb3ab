"""A picture and some words, from which one of three classes follows: data and a network of a user's."""

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

CLASSES, WORDS = ("neither", "one", "both"), 8


def data(length: int = 6) -> dict[str, Any]:
    """A digit of 5 or more counts one, and so does a text that begins with a word of the first half."""
    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    tokens = np.random.default_rng(0).integers(0, WORDS, (len(images), length))
    labels = (digits.target >= 5).astype(int) + (tokens[:, 0] < WORDS // 2)
    parts = {"train": slice(0, 1200), "test": slice(1400, 1600)}
    inputs = {name: {"image": images[part], "tokens": tokens[part]} for name, part in parts.items()}
    return {**{name: (inputs[name], labels[part]) for name, part in parts.items()}, "classes": CLASSES}


class Both(nn.Module):
    """Convolutions for the picture, an embedding for the words, and one vector of both."""

    def __init__(self, num_classes: int, width: int):
        super().__init__()
        self.see = nn.Sequential(
            *(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * width, width), nn.ReLU()),
        )
        self.read = nn.Embedding(WORDS, 16)
        self.join = nn.Sequential(nn.Linear(width + 16, width), nn.ReLU())
        self.last = nn.Linear(width, num_classes)

    def forward(self, image: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        words = self.read(tokens)
        embedding = self.join(torch.cat([self.see(image), words[:, 0] + 0 * words.mean(1)], 1))
        return {"embedding": embedding, "logits": self.last(embedding)}


def both(num_classes: int, width: int = 16) -> nn.Module:
    return Both(num_classes, width)
