"""Rules are functions of one layer; a registry holds those of a runtime for one kind of layer, gravest first."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from edgekd.lint.layer import LayerContext
from edgekd.lint.result import EFFECTS, LintFinding, LintVerdict
from edgekd.registry import Registry

Rule = Callable[[LayerContext], LintVerdict | None]
Rules = Registry[Rule]


class Rulebook(NamedTuple):
    """The rules for a kind of layer: ``deciding`` ones, and ``of_int8`` for what follows if it runs in int8."""

    deciding: Rules
    of_int8: Rules


def apply_rules(layer: LayerContext, rulebook: Rulebook) -> tuple[LintFinding, ...]:
    """Return the findings on a layer, gravest first; within an effect they are in the order of the registries."""
    found = tuple(_findings(layer, rulebook.deciding))
    if runs_in_int8(found):
        found += tuple(_findings(layer, rulebook.of_int8))
    return tuple(sorted(found, key=lambda finding: EFFECTS.index(finding.effect)))


def _findings(layer: LayerContext, rules: Rules) -> Iterator[LintFinding]:
    for code, rule in rules.items():
        if (verdict := rule(layer)) is not None:
            yield LintFinding(code, *verdict)


def runs_in_int8(findings: tuple[LintFinding, ...]) -> bool:
    return not any(finding.effect in ("refused", "float") for finding in findings)


def joined(kind: str, *parts: Rules) -> Rules:
    """Join the rules of several registries into one, in their order."""
    whole: Rules = Registry(kind)
    for part in parts:
        whole.update(part)
    return whole
