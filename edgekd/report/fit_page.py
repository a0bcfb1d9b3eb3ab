"""The page of a search, and its Markdown: the front, what was tried and why it was left, the winner's recipe."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import yaml

from edgekd.files import write_text
from edgekd.formatting import ABSENT, Column, escape_markdown, markdown_table, percent, significant
from edgekd.report.fit_plots import FEWEST, fit_pictures, outcome
from edgekd.report.fit_record import (
    CANDIDATES,
    MADE_NOTHING,
    WINNER_RECIPE,
    FitRecord,
    SearchCandidate,
    read_fit,
    short_names,
)
from edgekd.report.html import page
from edgekd.report.load import WINNER, readable
from edgekd.report.verdict import NO_BUDGET, lines
from edgekd.tasks.metric import Metric

PAGE = "report.html"


def write_fit_page(folder: Path) -> Path:
    """Write the page of the search in ``folder`` there, and return its path.

    Raises:
        EdgekdError: there is no search, or its record is damaged.
    """
    with readable(str(folder)):
        text = render_fit(read_fit(folder))
    write_text(folder / PAGE, text)
    return folder / PAGE


def render_fit(fit: FitRecord) -> str:
    """Return the page of a search. Names in it are shown as they are and never become markup."""
    return page(
        "fit.html.jinja",
        name=fit.name,
        headline=fit_headline(fit),
        verdict=fit_verdict(fit),
        checks=lines(fit.report) if fit.report else [],
        facts=facts(fit),
        pictures=fit_pictures(fit),
        trials=fit.trials,
        trial_columns=trial_columns(fit),
        kinds=list(kinds(fit).items()),
        kind_columns=KINDS,
        recipe=without_folders(fit.recipe).splitlines(),
        command=f"edgekd run {WINNER_RECIPE}",
        winner_page=f"{WINNER}/{PAGE}" if fit.report else "",
        fewest=FEWEST,
        about_pictures=about_pictures(fit),
    )


def about_pictures(fit: FitRecord) -> str:
    """Return how the pictures are to be read."""
    found = [
        "Changes are from the teacher, on the validation samples, with 95 % intervals",
        "Numbers are those of trials on the front; the star won, and dots were trained shorter",
    ]
    less = [each.title for each in (fit.metric, *fit.others) if each.better == "lower"]
    found += [f"Less is better of {' and '.join(less)}"] if less else []
    found += ["The dotted line is the budget's bound"] if fit.largest_drop is not None else []
    return ". ".join(found) + "."


def without_folders(recipe: str) -> str:
    """Return the YAML with …/name for each absolute path, which says on whose machine the search ran."""
    parts, done = [], 0
    for token in yaml.scan(recipe):
        if isinstance(token, yaml.ScalarToken) and token.value.startswith("/"):
            quote = token.style if token.style in ("'", '"') else ""
            parts += [recipe[done : token.start_mark.index], f"{quote}…/{PurePosixPath(token.value).name}{quote}"]
            done = token.end_mark.index
    return "".join([*parts, recipe[done:]])


def render_fit_markdown(fit: FitRecord) -> str:
    """Return the verdict and the trials for a pull request."""
    facts_list = "\n".join(f"- {escape_markdown(name)}: {escape_markdown(text)}" for name, text in facts(fit))
    table = markdown_table(trial_columns(fit), fit.trials)
    return f"### {escape_markdown(fit.name)}\n\n**{escape_markdown(fit_headline(fit))}**\n\n{facts_list}\n\n{table}\n"


def fit_headline(fit: FitRecord) -> str:
    """Say whether the search has ended, and whether its winner keeps the budget."""
    if not fit.summary:
        return "The search has not ended; the same command goes on with it"
    if fit.summary.get("sweep"):
        return f"{len(fit.trials)} points of a grid, {len(fit.front)} of them on the front"
    if _is_untried(fit):
        return "Nothing was trained; the same command goes on with more time"
    if fit.summary.get(MADE_NOTHING):
        return "No student could be made"
    if not fit.budget.promises:
        return NO_BUDGET
    return "Budget met" if fit.summary.get("met") else "Budget not met"


def _is_untried(fit: FitRecord) -> bool:
    return not fit.summary.get("candidates") and "unreachable" in fit.summary and fit.summary["unreachable"] is None


def fit_verdict(fit: FitRecord) -> str:
    """Return the page's class for the headline."""
    if not fit.summary or fit.summary.get("sweep") or _is_untried(fit) or not fit.budget.promises:
        return "none"
    return "met" if fit.summary.get("met") else "unmet"


def facts(fit: FitRecord) -> list[tuple[str, str]]:
    """Return what the search came to, as headings and texts."""
    summary, winner, metric = fit.summary, fit.winner, fit.metric
    failed = sum(trial.error is not None for trial in fit.trials)
    found = [
        ("Made best", metric.title if fit.objective == metric.name else fit.objective),
        ("Candidates", f"{len(fit.trials)} trained{f', {failed} of them without a network' if failed else ''}"),
    ]
    if summary.get("unjudged"):
        found.append(("Judged on", f"{summary['judged']} alone, not on {summary['unjudged']}"))
    if summary.get("seconds"):
        found.append(("Time", f"{significant(summary['seconds'] / 60)} min"))
    if summary.get("reason"):
        found.append(("Ended because", str(summary["reason"])))
    if summary.get("unreachable"):
        found.append(("Why" if summary.get(MADE_NOTHING) else "Out of reach", str(summary["unreachable"])))
    if winner is not None and winner.figures is not None:
        kept = f", {percent(winner.share)} kept" if winner.share < 1 else ""
        found.append(("Winner", f"trial {winner.number}: {winner.arm}{kept}"))
        chosen = "; ".join(f"{change} of {title}" for title, change in fit.changes(winner.figures).items())
        found.append(("On validation", f"{chosen} to the teacher, {winner.figures.n} samples"))
    if (tested := summary.get("tested", 1)) > 1:
        found.append(("Winners on the test samples", f"{tested}, the last of them this one: the search was continued"))
    validation = summary.get("validation") or {}
    if "corrected_drop" in validation:
        drop = validation["corrected_drop"]
        corrected = metric.shown_change(fit.signed(drop))
        found.append(("Corrected for having been chosen", f"{corrected}, {corrected_by(validation)}"))
    return found


def corrected_by(validation: Mapping[str, object]) -> str:
    """Say by what the winner's drop is freed of the luck that chose it; ``validation`` is that of the summary."""
    every = validation.get("corrected_by") == CANDIDATES
    return "by all candidates that it was chosen from" if every else "by the curve through all of its kind"


def trial_columns(fit: FitRecord) -> list[Column]:
    """Return the columns of the table of trials."""

    def change(trial: SearchCandidate) -> str:
        return fit.metric.shown_change(*fit.change(trial.figures)) if trial.figures else ABSENT

    def training(trial: SearchCandidate) -> str:
        return f"{trial.level + 1} of {fit.levels.get(trial.arm, 1)}"

    names = short_names(name for trial in fit.trials for name in trial.choices or {})
    chosen = [_choice(name, short) for name, short in names.items()]
    return [
        Column("Trial", lambda trial: str(trial.number), number=False),
        Column("Kind of student", lambda trial: trial.arm, number=False),
        Column("Kept", lambda trial: percent(trial.share) if trial.share < 1 else "all"),
        *chosen,
        Column("Training", training),
        Column(fit.cost_name.capitalize(), lambda trial: percent(fit.cost(trial)) if trial.figures else ABSENT),
        *[_measured(name, found) for name, found in fit.measured.items()],
        Column(fit.metric.heading, lambda trial: fit.metric.shown(trial.figures.value if trial.figures else None)),
        Column("To the teacher", change),
        *[_further(fit, each) for each in fit.others],
        Column("Seconds", lambda trial: significant(trial.seconds)),
        Column("Outcome", lambda trial: outcome(fit, trial), number=False),
    ]


def _further(fit: FitRecord, metric: Metric) -> Column:
    def change(trial: SearchCandidate) -> str:
        return fit.changes(trial.figures).get(metric.title, ABSENT) if trial.figures else ABSENT

    return Column(f"{metric.heading} to the teacher", change)


def _measured(name: str, found: Mapping[int, float]) -> Column:
    return Column(f"Measured {name}", lambda trial: percent(found.get(trial.number)))


def _choice(name: str, heading: str) -> Column:
    return Column(heading, lambda trial: str((trial.choices or {}).get(name, ABSENT)), number=False)


def kinds(fit: FitRecord) -> Mapping[str, tuple[str, str, str]]:
    """Return for each kind of student: how often it was tried, its least cost, and why it was left."""
    found = {}
    last = "followed to the end" if fit.summary else "followed"
    for arm in fit.levels:
        costs = [fit.cost(each) for each in (*fit.priced, *fit.trials) if each.arm == arm and each.figures]
        tried = sum(trial.arm == arm for trial in fit.trials)
        won = fit.winner is not None and fit.winner.arm == arm
        # One that was left may win all the same, with what was trained of it before.
        why = "won" if won else fit.left.get(arm, last if tried else "not reached")
        found[arm] = (str(tried), percent(min(costs)) if costs else ABSENT, why)
    return found


KINDS = (
    Column("Kind of student", lambda kind: kind[0], number=False),
    Column("Trials", lambda kind: kind[1][0]),
    Column("Least cost", lambda kind: kind[1][1]),
    Column("Why it was left out", lambda kind: kind[1][2], number=False),
)
