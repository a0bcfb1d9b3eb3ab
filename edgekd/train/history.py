"""A training's history: what each epoch gave, and its form in JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

# Keys of an epoch in JSON that are no metrics.
NUMBER, TERMS, GENERATION = "epoch", "terms", "generation"


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training.

    Attributes:
        number: from 1.
        loss: the mean over the epoch's steps.
        lr: the learning rate of the last step.
        metrics: of the network on the validation samples, and of the objective, by name.
        terms: the means of the loss's terms by name, if it has several.
        generation: of a distillation in generations, from 1.
    """

    number: int
    loss: float
    lr: float
    metrics: Mapping[str, float]
    terms: Mapping[str, float] = field(default_factory=dict)
    generation: int | None = None

    @staticmethod
    def from_json(entry: Mapping[str, Any]) -> "Epoch":
        """Read what :meth:`to_json` gave."""
        known = {NUMBER, "loss", "lr", TERMS, GENERATION}
        metrics = {name: value for name, value in entry.items() if name not in known}
        terms, generation = entry.get(TERMS, {}), entry.get(GENERATION)
        return Epoch(entry[NUMBER], entry["loss"], entry["lr"], metrics, terms, generation)

    def to_json(self) -> dict[str, Any]:
        """Return the entry of a history in ``metrics.json`` and ``log.jsonl``."""
        entry: dict[str, Any] = {NUMBER: self.number, "loss": self.loss, "lr": self.lr, **self.metrics}
        if self.terms:
            entry[TERMS] = dict(self.terms)
        return entry if self.generation is None else {**entry, GENERATION: self.generation}

    def scalars(self) -> dict[str, float]:
        """Return all values for a plot over epochs; a loss's terms are below ``terms``."""
        entry = self.to_json()
        terms = {f"{TERMS}/{name}": value for name, value in entry.pop(TERMS, {}).items()}
        del entry[NUMBER]
        return {**entry, **terms}

    def after(self, epochs: int, generation: int | None = None) -> "Epoch":
        """Return this epoch as one of a stage in which ``epochs`` others went before."""
        return replace(self, number=epochs + self.number, generation=generation)


History = list[Epoch]


def history_from_json(entries: Iterable[Mapping[str, Any]]) -> History:
    """Read the history in a stage's metrics."""
    return [Epoch.from_json(entry) for entry in entries]


def history_to_json(history: Iterable[Epoch]) -> list[dict[str, Any]]:
    """Return ``history`` as a stage's metrics hold it."""
    return [epoch.to_json() for epoch in history]
