"""The verdict for a pull request, as GitHub's Markdown."""

from edgekd.formatting import escape_markdown
from edgekd.gate.verdict import Finding, Verdict

MARKS = {"fail": "❌", "warn": "⚠️", "better": "✅", "ok": "✅", "information": "·"}
PROMOTE = "edgekd baseline promote RUN BASELINE --files"


def render_markdown(verdict: Verdict) -> str:
    """Return the headline, what is wrong with what to do, then all figures, and a line break at the end."""
    parts = [f"### {'❌' if not verdict.passed else '✅'} {escape_markdown(verdict.headline())}"]
    parts += ["\n".join(_grave(finding) for finding in (*verdict.at("fail"), *verdict.at("warn")))]
    rows = [_cells(finding) for finding in verdict.findings]
    parts += ["\n".join(["| | Where | Metric | Baseline | Now | |", "|---|---|---|---:|---:|---|", *rows])]
    if verdict.passed and (why := verdict.why_promote()):
        parts.append(f"{escape_markdown(why.capitalize())}: `{PROMOTE}`")
    return "\n\n".join(part for part in parts if part) + "\n"


def _grave(finding: Finding) -> str:
    where = escape_markdown(f"{finding.metric} ({finding.where})")
    return f"- {MARKS[finding.level]} **{where}**: {escape_markdown(finding.what)}. {escape_markdown(finding.advice)}."


def _cells(finding: Finding) -> str:
    cells = (finding.where, finding.metric, finding.baseline, finding.current, finding.cell)
    return f"| {MARKS[finding.level]} | {' | '.join(map(escape_markdown, cells))} |"
