"""The report as one page that needs no network and no scripts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from edgekd.formatting import ABSENT, CALIBRATION, DETAILS, NAMES, columns, count, significant, size
from edgekd.plain_text import document, line
from edgekd.report.advice import next_steps
from edgekd.report.columns import LAYERS, PARITY, WIDTHS, baseline_sentences, precision_sentence, step_columns
from edgekd.report.panels import curve_pictures, panel_pictures
from edgekd.report.plots import Picture, pictures, stage_pictures, widths_of
from edgekd.report.profile import LayersUnderRoofs
from edgekd.report.reliability import reliability_pictures
from edgekd.report.roofline import profile_pictures
from edgekd.report.schema import Report, StageRecord
from edgekd.report.steps import steps
from edgekd.report.verdict import figures, headline, lines, sentences, warning_lines
from edgekd.stages import STAGES
from edgekd.tasks.metric import result_columns

DRAWN = {"history", "widths"}
HASH_DIGITS = 12
# Of a run's folder, where the page lies.
FILES = {
    "bundle": "the bundle for the device: file, labels, preprocessing, golden samples and a model card",
    "report.json": "the figures of this page, for programs and for 'edgekd check'",
    "recipe.lock.yaml": "the recipe with every value that was used",
}
COMMANDS = {
    "On the device: it has the files that were packed, and computes as this machine does": (
        "edgekd bundle verify bundle --self-test"
    ),
    "Predict with the deployed network; the bundle's card has the programs that do it without edgekd": (
        "edgekd predict bundle FILE"
    ),
    "Make this run the baseline of a gate in CI": "edgekd baseline promote . baseline.json --files",
}
HEADINGS = {"params": "Params", "macs": "MACs"}


def render_html(report: Report, folder: Path | None = None) -> str:
    """Return the whole page. Names in the report are shown as they are and never become markup.

    ``folder`` is the report's: the files in it tell how surely some metrics changed.
    """
    checked = Report.from_json(document(report.to_json()))
    rows, metrics = [row.to_json() for row in checked.rows], checked.metrics
    results, breakdown = columns(rows, result_columns(metrics)), checked.breakdown()
    panel = breakdown.panel() if breakdown else None
    profiles = [LayersUnderRoofs.from_json(profile.to_json()) for profile in checked.profiles]
    return page(
        "page.html.jinja",
        report=checked,
        headline=headline(checked),
        figures=figures(checked),
        verdict=verdict(checked),
        checks=lines(checked),
        next_steps=next_steps(checked),
        rows=rows,
        results=results,
        metric=metrics[0],
        kinds=checked.kind.kind_of_names,
        sentences=[*sentences(checked), *baseline_sentences(checked.rows)],
        details=[column for column in columns(rows, DETAILS) if column.heading != "File"],
        key_columns=sum(column in NAMES for column in results),
        pictures=pictures(checked),
        stages=[
            (stage, metrics_of(stage), widths_of(stage), stage_pictures(stage, metrics[0])) for stage in checked.stages
        ],
        steps=steps(checked, folder),
        step_columns=step_columns(metrics[0]),
        width_columns=WIDTHS,
        calibrated=[row for row in rows if "expected_calibration_error" in row or "negative_log_likelihood" in row],
        calibration_pictures=reliability_pictures(checked.rows),
        calibration_columns=columns(rows, [metrics[0].column(), *CALIBRATION]),
        profile_pictures=profile_pictures(profiles),
        profiles=[(profile, precision_sentence(profile)) for profile in profiles],
        layer_columns=LAYERS,
        commands=COMMANDS.items(),
        files=files_of(checked),
        parity=checked.parity,
        parity_columns=PARITY,
        environment=[(in_words(name), text) for name, text in flat(checked.environment)],
        warnings=warning_lines(checked),
        panel=panel,
        panel_pictures=panel_pictures(panel) if panel else [],
        panel_curves=curve_pictures(panel) if panel else [],
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
    environment.filters |= {"svg": svg, "short_hash": short_hash, "link": link, "figure": figure}
    return environment.get_template(template).render(shown)


def one_line(value: Any) -> Any:
    """Return text as one line that cannot turn the direction of what follows, and anything else as it is."""
    return line(value) if type(value) is str else value


def figure(text: Any) -> Any:
    """Return a table's figure, which a table of many columns may break in front of its interval and nowhere else."""
    if type(text) is not str:
        return text
    value, opening, interval = line(text).partition(" (")
    parts = [value, f"({interval}"] if opening else [value]
    return Markup(" ").join(Markup('<span class="whole">{}</span>').format(part) for part in parts)


def svg(picture: Picture) -> Markup:
    return Markup(picture.svg)  # matplotlib has escaped the names in it


def short_hash(digest: str) -> Markup:
    """Return the start of a hash, with the whole of it in its title."""
    return Markup('<code title="{}">{}</code>').format(line(digest), line(digest[:HASH_DIGITS]))


def link(path: str) -> Markup:
    """Return a link to a file or folder next to the page, whatever the name holds."""
    return Markup('<a href="./{}">{}</a>').format(quote(path), line(path))


def files_of(report: Report) -> list[tuple[str, str]]:
    """Return what lies next to the page, with its meaning."""
    files = {row.file: f"{row.model} in {row.precision}, for {row.place_text}" for row in report.rows if row.file}
    return [*files.items(), *FILES.items()]


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
            found += [(HEADINGS.get(name, in_words(name)), text) for name, text in flat({key: value})]
    return found + (kind.describe(stage.metrics) if kind else [])


def in_words(key: str) -> str:
    """Return a dotted key of a report as words."""
    return key.replace(".", " ").replace("_bytes", "").replace("_", " ")


def flat(value: Mapping[str, object], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested values by dotted names, as text."""
    for key, inner in value.items():
        name = f"{above}{key}"
        if isinstance(inner, Mapping):
            yield from flat(inner, f"{name}.")
        elif isinstance(inner, list | tuple):
            yield name, ", ".join(map(text_of, inner)) or ABSENT
        else:
            yield name, size(inner) if key.endswith("_bytes") and isinstance(inner, int) else text_of(inner)


def text_of(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ABSENT}[value]
    if isinstance(value, int):
        return count(value)
    return significant(value) if isinstance(value, float) else str(value)
