"""The report as one page that needs no network and no scripts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from edgekd.formatting import ABSENT, CALIBRATION, DETAILS, NAMES, columns, count, significant
from edgekd.plain_text import document, line
from edgekd.report.class_plots import class_pictures
from edgekd.report.classes import class_columns, classes_sentence, confusion_columns, shown_classes
from edgekd.report.columns import LAYERS, PARITY, STEPS, WIDTHS, baseline_sentences, precision_sentence
from edgekd.report.plots import Picture, pictures, stage_pictures, widths_of
from edgekd.report.profile import LayersUnderRoofs
from edgekd.report.reliability import reliability_pictures
from edgekd.report.roofline import profile_pictures
from edgekd.report.schema import ByClass, Report, StageRecord
from edgekd.report.steps import steps
from edgekd.report.verdict import headline, lines, warning_lines
from edgekd.stages import STAGES

DRAWN = {"history", "widths"}
HEADINGS = {"params": "Params", "macs": "MACs"}


def render_html(report: Mapping[str, Any]) -> str:
    """Return the whole page. Names in the report are shown as they are and never become markup."""
    checked = Report.from_json(document(report))
    rows = [row.to_json() for row in checked.rows]
    profiles = [LayersUnderRoofs.from_json(profile.to_json()) for profile in checked.profiles]
    return page(
        "page.html.jinja",
        report=checked,
        headline=headline(checked),
        verdict=verdict(checked),
        checks=lines(checked),
        rows=rows,
        results=columns(rows),
        baseline_sentences=baseline_sentences(checked.rows),
        details=columns(rows, DETAILS),
        key_columns=sum(column in NAMES for column in columns(rows)),
        pictures=pictures(checked),
        stages=[(stage, metrics_of(stage), widths_of(stage), stage_pictures(stage)) for stage in checked.stages],
        steps=[step._asdict() for step in steps(checked)],
        step_columns=STEPS,
        width_columns=WIDTHS,
        calibrated=[row for row in rows if "expected_calibration_error" in row or "negative_log_likelihood" in row],
        calibration_pictures=reliability_pictures(checked.rows),
        calibration_columns=columns(rows, CALIBRATION),
        profile_pictures=profile_pictures(profiles),
        profiles=[(profile, precision_sentence(profile)) for profile in profiles],
        layer_columns=LAYERS,
        parity=checked.parity,
        parity_columns=PARITY,
        environment=list(flat(checked.environment)),
        warnings=warning_lines(checked),
        **class_by_class(checked.by_class),
    )


def page(template: str, **shown: Any) -> str:
    """Fill ``template`` of this folder with ``shown``, escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=one_line,
    )
    environment.filters |= {"svg": svg}
    return environment.get_template(template).render(shown)


def one_line(value: Any) -> Any:
    """Return text as one line that cannot turn the direction of what follows, and anything else as it is."""
    return line(value) if type(value) is str else value


def class_by_class(by_class: ByClass | None) -> dict[str, Any]:
    if by_class is None:
        return {}
    return {
        "classes_sentence": classes_sentence(by_class),
        "class_pictures": class_pictures(by_class),
        "class_rows": [each.to_json() for each in shown_classes(by_class)],
        "class_columns": class_columns(by_class),
        "confusions": [each.to_json() for each in by_class.confusions],
        "confusion_columns": confusion_columns(by_class),
    }


def svg(picture: Picture) -> Markup:
    return Markup(picture.svg)  # matplotlib has escaped the names in it


def verdict(report: Report) -> str:
    if report.budget is None or not report.budget.checks:
        return "none"
    return "met" if report.budget.met else "unmet"


def metrics_of(stage: StageRecord) -> list[tuple[str, str]]:
    found = [("Time", f"{significant(stage.seconds)} s")] if stage.seconds is not None else []
    kind = STAGES.get(stage.name)
    described = kind.described if kind else frozenset()
    for key, value in stage.metrics.items():
        if key not in DRAWN | described:
            found += [(HEADINGS.get(name, name.replace("_", " ")), text) for name, text in flat({key: value})]
    return found + (kind.describe(stage.metrics) if kind else [])


def flat(value: Mapping[str, object], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested values by dotted names, as text."""
    for key, inner in value.items():
        name = f"{above}{key}"
        if isinstance(inner, Mapping):
            yield from flat(inner, f"{name}.")
        elif isinstance(inner, list | tuple):
            yield name, ", ".join(map(text_of, inner)) or ABSENT
        else:
            yield name, text_of(inner)


def text_of(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ABSENT}[value]
    if isinstance(value, int):
        return count(value)
    return significant(value) if isinstance(value, float) else str(value)
