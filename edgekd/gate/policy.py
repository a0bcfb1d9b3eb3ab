"""What may change between two reports, and by how much: data, from TOML."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from edgekd import strict_toml
from edgekd.errors import EdgekdError
from edgekd.files import read_content
from edgekd.registry import nearest

TABLE = "tool.edgekd.gate"


@dataclass(frozen=True)
class Tolerance:
    """How far a metric may get worse: the larger of ``absolute``, in its own unit, and ``relative``, a share of the
    baseline's; both at least 0."""

    absolute: float = 0.0
    relative: float = 0.0

    def allows(self, baseline: float) -> float:
        return max(self.absolute, self.relative * abs(baseline))


@dataclass(frozen=True)
class Rule(Tolerance):
    """Of one metric.

    ``direction`` says which way is better, or that nothing may change. A worsening beyond the tolerance is a failure
    or, by ``level``, a warning or a mere figure; one beyond ``warn`` is a warning. ``floor`` and ``ceiling`` bound the
    value itself, whatever the baseline's is.
    """

    direction: Literal["higher", "lower", "same"] = "same"
    level: Literal["fail", "warn", "information"] = "fail"
    warn: Tolerance | None = None
    floor: float | None = None
    ceiling: float | None = None


CHOICES = {"direction": ("higher", "lower", "same"), "level": ("fail", "warn", "information")}
NOT_NEGATIVE = ("absolute", "relative")
DEFAULTS: dict[str, Rule] = {
    "accuracy": Rule(direction="higher", absolute=0.005),
    "latency_ratio": Rule(direction="lower", relative=0.05),
    "size_bytes": Rule(direction="lower"),
    "params": Rule(direction="lower"),
    "macs": Rule(direction="lower"),
    "int8_coverage": Rule(direction="higher"),
    "precision": Rule(direction="same"),
    "operators": Rule(direction="same"),
    "latency_ms": Rule(direction="lower", level="information"),
}


@dataclass(frozen=True)
class Policy:
    """Rules by metric, and the confidence of each bound, in (0.5, 1).

    >>> Policy.of({"metrics": {"accuracy": {"absolute": 0.01}}}).rules["accuracy"].absolute
    0.01
    """

    confidence: float = 0.95
    rules: Mapping[str, Rule] = field(default_factory=lambda: DEFAULTS)

    @classmethod
    def of(cls, document: Mapping[str, Any], source: str = "the policy") -> "Policy":
        """``document`` holds ``confidence`` and ``metrics``, whose keys take the place of the usual ones.

        Raises:
            EdgekdError: a metric, key or value is not known.
        """
        _must_know(document, ("confidence", "metrics"), source)
        confidence, metrics = document.get("confidence", cls.confidence), document.get("metrics", {})
        if not isinstance(metrics, Mapping):
            raise EdgekdError(f"{source}: metrics: expected tables such as [metrics.accuracy]")
        if number(confidence) is None or not 0.5 < confidence < 1:
            raise EdgekdError(f"{source}: confidence: {confidence!r} is not between 0.5 and 1, such as 0.95")
        return cls(confidence, {**DEFAULTS, **{name: _rule(name, keys, source) for name, keys in metrics.items()}})


def load_policy(path: Path | None = None) -> Policy:
    """From a TOML file of its own, or the table ``tool.edgekd.gate`` of a ``pyproject.toml``.

    Without ``path`` it is looked for in ``./pyproject.toml``, and is the usual one where there is none.

    Raises:
        EdgekdError: the file is missing, no TOML, or says what cannot be.
    """
    project = Path("pyproject.toml")
    if path is None:
        return _of_project(_read(project), project) if project.is_file() else Policy()
    document = _read(path)
    return _of_project(document, path) if path.name == project.name else Policy.of(document, str(path))


def _of_project(document: dict[str, Any], path: Path) -> Policy:
    table = document.get("tool", {}).get("edgekd", {}).get("gate", {})
    return Policy.of(table, f"{path}: {TABLE}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return strict_toml.parse(read_content(path, limit=strict_toml.LARGEST))
    except EdgekdError as error:
        raise EdgekdError(f"cannot read the policy: {error}; give an existing TOML file") from error
    except ValueError as error:
        raise EdgekdError(f"{path} is no TOML: {error}; mend that line") from error


def _rule(name: str, changed: Any, source: str) -> Rule:
    if name not in DEFAULTS:
        raise EdgekdError(f"{source}: unknown metric {name!r}{nearest(name, DEFAULTS)}; known: {', '.join(DEFAULTS)}")
    where = f"{source}: metrics.{name}"
    keys = _checked(changed, Rule, where)
    if "warn" in keys:
        keys["warn"] = Tolerance(**_checked(keys["warn"], Tolerance, f"{where}.warn"))
    return replace(DEFAULTS[name], **keys)


def _checked(table: Any, kind: type, where: str) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise EdgekdError(f"{where}: expected a table such as {{absolute = 0.01}}")
    _must_know(table, [each.name for each in fields(kind)], where)
    for key, value in table.items():
        if key in CHOICES and value not in CHOICES[key]:
            raise EdgekdError(f"{where}.{key}: {value!r} is none of {', '.join(CHOICES[key])}")
        if key not in (*CHOICES, "warn") and (number(value) is None or (key in NOT_NEGATIVE and value < 0)):
            least = " of at least 0" if key in NOT_NEGATIVE else ""
            raise EdgekdError(f"{where}.{key}: {value!r} is no number{least}")
    return dict(table)


def _must_know(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise EdgekdError(f"{where}: unknown key {key!r}{nearest(key, known)}; it takes {', '.join(known)}")


def number(value: Any) -> float | None:
    """``value`` where it is a finite number."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None
