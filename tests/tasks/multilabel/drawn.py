"""Logits that tell somewhat of labels, and targets of which some are not known."""

import numpy as np


def drawn(seed=0, n=300, labels=6, share=0.2):
    """Logits (N, labels) and targets (N, labels), all known; scores of two decimals, so that many are equal."""
    random = np.random.default_rng(seed)
    targets = random.random((n, labels)) < share
    return (random.normal(size=(n, labels)) + 1.5 * targets - 1).round(2), targets.astype(np.int64)


def partly(targets, seed=1):
    """The same with a fifth not known, which hold anything."""
    known = np.random.default_rng(seed).random(targets.shape) > 0.2
    return {"labels": np.where(known, targets, -7), "known": known}
