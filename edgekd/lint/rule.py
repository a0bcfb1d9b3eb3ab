"""A rule is a function of one layer; a registry holds those of a runtime for one kind of layer, gravest first."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from edgekd.lint.result import EFFECTS, LintFinding, LintVerdict
from edgekd.lint.site import LintSite
from edgekd.registry import Registry

Rule = Callable[[LintSite], LintVerdict | None]
Rules = Registry[Rule]


class Rulebook(NamedTuple):
    """``deciding`` rules say whether a layer runs in int8; ``of_int8`` what comes of it then."""

    deciding: Rules
    of_int8: Rules


def judge(site: LintSite, book: Rulebook) -> tuple[LintFinding, ...]:
    """What the rules find in a layer, the gravest first; those of the same effect in the order of the registries."""
    found = tuple(_findings(site, book.deciding))
    if runs_in_int8(found):
        found += tuple(_findings(site, book.of_int8))
    return tuple(sorted(found, key=lambda finding: EFFECTS.index(finding.effect)))


def _findings(site: LintSite, rules: Rules) -> Iterator[LintFinding]:
    for code, rule in rules.items():
        if (said := rule(site)) is not None:
            yield LintFinding(code, *said)


def runs_in_int8(findings: tuple[LintFinding, ...]) -> bool:
    return not any(finding.effect in ("refused", "float") for finding in findings)


def joined(kind: str, *parts: Rules) -> Rules:
    """One registry of the rules of several, in their order."""
    whole: Rules = Registry(kind)
    for part in parts:
        whole.update(part)
    return whole
