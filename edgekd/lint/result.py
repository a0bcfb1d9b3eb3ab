"""The linter's results: findings on layers, and how much of the network runs in int8."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Effect = Literal["refused", "float", "accuracy", "slow", "note"]
EFFECTS: tuple[Effect, ...] = ("refused", "float", "accuracy", "slow", "note")


class LintVerdict(NamedTuple):
    """A rule's finding on a layer that breaks it, before it has a code."""

    effect: Effect
    message: str
    advice: str


@dataclass(frozen=True)
class LintFinding:
    """A finding; ``effect`` is what it costs.

    The runtime refuses the file or fails at its first run (``refused``), the layer stays in ``float``, its numbers are
    other than those that were simulated (``accuracy``), it gains little in int8 (``slow``), or it is a ``note``.
    """

    code: str
    effect: Effect
    message: str
    advice: str


@dataclass(frozen=True)
class LintedLayer:
    """A layer of the file: ``predicted`` by the rules, ``confirmed`` by what the runtime did with it.

    ``weighted`` layers (convolutions and matrix products) are those that the coverage counts; ``macs`` are
    multiply-accumulates of one sample, or ``None`` where the file leaves a shape open.
    """

    name: str
    op: str
    weighted: bool
    predicted: bool
    findings: tuple[LintFinding, ...] = ()
    macs: int | None = None
    confirmed: bool | None = None

    @property
    def int8(self) -> bool:
        return self.predicted if self.confirmed is None else self.confirmed

    @property
    def rule(self) -> str | None:
        """Return the code of the gravest finding, which decides."""
        return self.findings[0].code if self.findings else None

    @property
    def message(self) -> str | None:
        return self.findings[0].message if self.findings else None

    @property
    def advice(self) -> str | None:
        return self.findings[0].advice if self.findings else None

    @property
    def disagrees(self) -> bool:
        return self.confirmed is not None and self.confirmed != self.predicted

    def to_json(self) -> dict[str, Any]:
        outcome = {"int8": self.int8, "rule": self.rule, "message": self.message, "advice": self.advice}
        known = {"predicted": self.predicted, "confirmed": self.confirmed, "macs": self.macs}
        findings = [vars(finding) for finding in self.findings]
        return {"name": self.name, "op": self.op, "weighted": self.weighted, **outcome, **known, "findings": findings}


@dataclass(frozen=True)
class Lint:
    """The layers in the order of the file, and findings on the file as a whole.

    ``confirmed_by`` names the runtime that was consulted, ``not_confirmed`` is why none was. ``sizes`` are those of
    open dimensions at which multiply-accumulates are counted.
    """

    target: str
    layers: tuple[LintedLayer, ...]
    findings: tuple[LintFinding, ...] = ()
    confirmed_by: str | None = None
    not_confirmed: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def weighted(self) -> tuple[LintedLayer, ...]:
        return tuple(layer for layer in self.layers if layer.weighted)

    @property
    def refused(self) -> bool:
        """Return whether the runtime refuses the file or fails at its first run."""
        return any(finding.effect == "refused" for finding in self.all_findings())

    @property
    def coverage_of(self) -> Literal["MACs", "layers"]:
        """Return the unit of the coverage: MACs, or the number of layers if the file leaves a shape open."""
        return "MACs" if sum(layer.macs or 0 for layer in self.weighted) and self._all_counted() else "layers"

    @property
    def coverage(self) -> float:
        """Return the share, 0 to 1, of convolutions and matrix products that runs in int8; 0 for a refused file."""
        if self.refused:
            return 0.0
        counted = self.coverage_of == "MACs"
        weights = [(layer.macs or 0) if counted else 1 for layer in self.weighted]
        inside = [weight for weight, layer in zip(weights, self.weighted, strict=True) if layer.int8]
        return sum(inside) / sum(weights)

    @property
    def disagreements(self) -> tuple[str, ...]:
        """Return the names of the layers where rules and runtime disagree."""
        return tuple(layer.name for layer in self.layers if layer.disagrees)

    def all_findings(self) -> Iterable[LintFinding]:
        yield from self.findings
        for layer in self.layers:
            yield from layer.findings

    def _all_counted(self) -> bool:
        return all(layer.macs is not None for layer in self.weighted)

    def to_json(self) -> dict[str, Any]:
        share = {"coverage": self.coverage, "coverage_of": self.coverage_of, "refused": self.refused}
        confirmation = {"confirmed_by": self.confirmed_by, "not_confirmed": self.not_confirmed}
        return {
            "schema_version": 1,
            "target": self.target,
            **share,
            **confirmation,
            **({"sizes": dict(self.sizes)} if self.sizes else {}),
            "disagreements": list(self.disagreements),
            "findings": [vars(finding) for finding in self.findings],
            "layers": [layer.to_json() for layer in self.layers],
        }
