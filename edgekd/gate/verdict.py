"""The gate's result: one finding for each metric of each row."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["fail", "warn", "better", "ok", "information"]
ORDER: tuple[Level, ...] = ("fail", "warn", "better", "ok", "information")


@dataclass(frozen=True)
class Finding:
    """The result for one metric at one place: ``what`` says by how much, how surely, and what was allowed.

    ``place`` is the key of its rows in files, ``where`` its name for people. ``brief`` says in a table what ``what``
    says, where fewer words do.
    """

    place: str
    metric: str
    level: Level
    baseline: str
    current: str
    what: str
    advice: str = ""
    where: str = "everywhere"
    brief: str = ""

    @property
    def cell(self) -> str:
        """Return the text of a table's cell."""
        return self.brief or self.what

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "brief"}


@dataclass(frozen=True)
class Verdict:
    """Findings, the most severe first."""

    name: str
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, name: str, findings: list[Finding]) -> "Verdict":
        return cls(name, tuple(sorted(findings, key=lambda finding: ORDER.index(finding.level))))

    @property
    def passed(self) -> bool:
        return self.judged and not self.at("fail")

    @property
    def judged(self) -> bool:
        """Tell whether any metric was compared or bounded."""
        return any(finding.level != "information" for finding in self.findings)

    def at(self, level: Level) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == level)

    def headline(self) -> str:
        """Return the verdict in one line."""
        failed, warned, better = (len(self.at(level)) for level in ("fail", "warn", "better"))
        said = f"{failed} of {len(self.findings)} checks failed" if failed else "passed"
        more = [f"{warned} warning{'s' if warned > 1 else ''}"] if warned else []
        more += [f"{better} better than the baseline"] if better else []
        return f"{self.name}: {', '.join([said, *more])}"

    def why_promote(self) -> str | None:
        """Return when the run is worth being the baseline, or None where it is as good as the baseline."""
        if not self.passed:
            return "if this is meant"
        if not self.at("better"):
            return None
        warned = f", with warnings on {_metrics(self.at('warn'))}" if self.at("warn") else ""
        return f"better in {_metrics(self.at('better'))}{warned}; to keep it"

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "name": self.name,
            "passed": self.passed,
            "findings": [finding.to_json() for finding in self.findings],
        }


def _metrics(findings: Iterable[Finding]) -> str:
    return ", ".join(dict.fromkeys(each.metric for each in findings))
