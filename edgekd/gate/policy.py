"""The gate's policy, from TOML: which metrics may get worse, and by how much."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from edgekd import strict_toml
from edgekd.errors import EdgekdError
from edgekd.files import read_content
from edgekd.gate.rules import COUNTS, KINDS, Rule, Tolerance, default_rules, is_share
from edgekd.nearest import among, nearest
from edgekd.records.readers import LARGEST
from edgekd.tasks.registry import metrics_by_name

TABLE = "tool.edgekd.gate"


# More than this of a share is points by mistake; more confidence than this lets everything pass.
MOST_OF_A_SHARE, MOST_CONFIDENCE = 0.1, 0.9999
MOST = "points = 10"
CHOICES = {"direction": ("higher", "lower", "same"), "level": ("fail", "warn", "information")}


@dataclass(frozen=True)
class Policy:
    """Rules by metric, the confidence of each bound, in (0.5, 1), and the metrics that the policy names.

    >>> Policy.of({"metrics": {"accuracy": {"points": 1}}}).rules["accuracy"].absolute
    0.01
    """

    confidence: float = 0.95
    rules: Mapping[str, Rule] = field(default_factory=default_rules)
    named: frozenset[str] = frozenset()

    @classmethod
    def of(cls, document: Mapping[str, Any], source: str = "the policy") -> "Policy":
        """Read a policy from ``confidence`` and the ``metrics`` that change the default rules.

        Raises:
            EdgekdError: a metric or key is unknown, or a value is impossible or has no effect.
        """
        if not isinstance(document, Mapping):
            raise EdgekdError(f"{source}: expected a table with confidence and metrics")
        _must_know(document, ("confidence", "metrics"), source)
        confidence, metrics = document.get("confidence", cls.confidence), document.get("metrics", {})
        if not isinstance(metrics, Mapping):
            raise EdgekdError(f"{source}: metrics: expected tables such as [metrics.accuracy]")
        if number(confidence) is None or not 0.5 < confidence <= MOST_CONFIDENCE:
            said = f"{confidence!r} is not above 0.5 and at most {MOST_CONFIDENCE}, such as 0.95"
            raise EdgekdError(f"{source}: confidence: {said}")
        rules = {**default_rules(), **{name: _rule(name, keys, source) for name, keys in metrics.items()}}
        return cls(confidence, rules, frozenset(metrics))


def load_policy(path: Path | None = None) -> Policy:
    """Load a policy from a TOML file of its own, or from the table ``tool.edgekd.gate`` of a ``pyproject.toml``.

    Without ``path`` it is taken from ``./pyproject.toml``; without that table it is the default policy.

    Raises:
        EdgekdError: the file is missing, no TOML, or holds an unknown key or an impossible value.
    """
    project = Path("pyproject.toml")
    if path is None:
        return _of_project(_read(project), project) if project.is_file() else Policy()
    document = _read(path)
    return _of_project(document, path) if path.name == project.name else Policy.of(document, str(path))


def _of_project(document: dict[str, Any], path: Path) -> Policy:
    table: Any = document
    for key in ("tool", "edgekd", "gate"):
        if not isinstance(table, Mapping):
            raise EdgekdError(f"{path}: expected [{TABLE}] to be a table within tables")
        if key == "gate":
            _must_know(table, ("gate",), f"{path}: tool.edgekd")
        table = table.get(key, {})
    return Policy.of(table, f"{path}: {TABLE}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return strict_toml.parse(read_content(path, limit=strict_toml.LARGEST))
    except EdgekdError as error:
        raise EdgekdError(f"cannot read the policy: {error}; give an existing TOML file") from error
    except ValueError as error:
        raise EdgekdError(f"{path} is no TOML: {error}; mend that line") from error


def _rule(name: str, changed: Any, source: str) -> Rule:
    known = default_rules()
    if name not in known:
        raise EdgekdError(f"{source}: unknown metric {name!r}{among(name, known)}")
    where = f"{source}: metrics.{name}"
    keys = _checked(changed, name, Rule, where)
    if "warn" in keys:
        keys["warn"] = Tolerance(**_checked(keys["warn"], name, Tolerance, f"{where}.warn"))
    rule = replace(known[name], **keys)
    if says := _does_nothing(name, rule, keys, known[name]) or _cannot_be(name, rule):
        raise EdgekdError(f"{where}: {says}")
    return rule


def _does_nothing(name: str, rule: Rule, keys: Mapping[str, Any], default: Rule) -> str | None:
    """Say which key changes nothing, and what would."""
    if name in KINDS and (idle := [key for key in keys if key not in ("level", "direction")]):
        return f"{idle[0]} does nothing, since {name} may not change at all; level says what a change is"
    # A better value of these is known, and judged as such.
    is_fixed = name in (*metrics_by_name(), *KINDS, "latency_ratio")
    if is_fixed and rule.direction != default.direction:
        return f"direction does nothing but as {default.direction!r}; leave it out"
    if rule.level == "information" and (idle := [key for key in keys if key in ("absolute", "relative", "warn")]):
        return f"{idle[0]} does nothing where the figure is only shown; give level = 'fail' or 'warn' too"
    if keys.get("level") == "information" and rule.bounds:
        return "a floor or ceiling does nothing where the figure is only shown; leave out level, or give 'warn'"
    if rule.warn and rule.warn.absolute >= rule.absolute and rule.warn.relative >= rule.relative:
        return "warn does nothing, since it allows as much as the rule itself; give it less"
    return None


def _cannot_be(name: str, rule: Rule) -> str | None:
    """Say which value is of another unit, or lets everything or nothing pass."""
    for each in (rule, *([rule.warn] if rule.warn else [])):
        if each.relative >= 1:
            return f"relative = {each.relative:g} is a share, {100 * each.relative:g} %; 5 % is relative = 0.05"
        if is_share(name) and each.absolute > MOST_OF_A_SHARE:
            said = f"absolute = {each.absolute:g} is a share, {100 * each.absolute:g} points"
            return f"{said}; one point is points = 1 or absolute = 0.01, and {MOST} is the most"
        if name in COUNTS and each.absolute != int(each.absolute):
            way = f"; in megabytes it is mb = {each.absolute:g}" if name == "size_bytes" else ""
            return f"absolute = {each.absolute:g} is no whole number, and {name} is one{way}"
        if name == "latency_ratio" and each.absolute >= 1:
            return f"absolute = {each.absolute:g} is {each.absolute:g} times the teacher's time; 5 % is relative = 0.05"
    for key, bound in (("floor", rule.floor), ("ceiling", rule.ceiling)):
        if bound is not None and is_share(name) and bound > 1:
            return f"{key} = {bound:g} is above 1, and {name} is a share; {bound:g} % is {key} = {bound / 100:g}"
        if bound is not None and name in COUNTS and bound != int(bound):
            way = f"; {bound:g} MB are {key} = {1e6 * bound:.0f}" if name == "size_bytes" else ""
            return f"{key} = {bound:g} is no whole number, and {name} is one{way}"
    if rule.floor is not None and rule.ceiling is not None and rule.floor > rule.ceiling:
        return f"the floor {rule.floor:g} is above the ceiling {rule.ceiling:g}, so that nothing could pass"
    return None


def _checked(table: Any, name: str, kind: type, where: str) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise EdgekdError(f"{where}: expected a table such as {{absolute = 0.01}}")
    # The recipe's units, and what makes them the metric's own.
    units = {"points": 0.01} if is_share(name) else {"mb": 1e6} if name == "size_bytes" else {}
    _must_know(table, [*(each.name for each in fields(kind)), *units], where)
    for key, value in table.items():
        if key in CHOICES and value not in CHOICES[key]:
            raise EdgekdError(f"{where}.{key}: {value!r} is none of {', '.join(CHOICES[key])}")
        if key not in (*CHOICES, "warn") and (number(value) is None or value < 0):
            raise EdgekdError(f"{where}.{key}: {value!r} is no number of at least 0")
    found = {key: value for key, value in table.items() if key not in units}
    for unit, by in units.items():
        if unit in table and "absolute" in table:
            raise EdgekdError(f"{where}: {unit} and absolute are one tolerance in two units; give one of them")
        if unit in table:
            found["absolute"] = _own(name, table[unit], by, f"{where}.{unit}")
    return found


def _own(name: str, value: float, by: float, where: str) -> float:
    """A tolerance in the metric's own unit."""
    if is_share(name) and not value * by <= MOST_OF_A_SHARE:
        raise EdgekdError(f"{where}: {value:g} is too much, and {MOST} is the most; floor bounds the value itself")
    return round(value * by) if name in COUNTS else value * by


def _must_know(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise EdgekdError(f"{where}: unknown key {key!r}{nearest(key, known)}; it takes {', '.join(known)}")


def number(value: Any) -> float | None:
    """Return ``value`` if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= LARGEST and math.isfinite(value) else None
