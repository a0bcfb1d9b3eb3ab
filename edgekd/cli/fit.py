"""``edgekd fit``: a budget in, the student that keeps it out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.cli.output import tell, whose_reader_may_leave

if TYPE_CHECKING:
    from edgekd.report.verdict import Line
    from edgekd.search.fit_result import FitResult
    from edgekd.strict_json import JsonObject
    from edgekd.tasks.metric import Metric

BUDGET_NOT_MET = 2


def fit(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="The recipe's YAML file; student and stages may be left out or have open fields.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The search's folder; fits/<name> if left out.", show_default=False)
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            help="Hours to spend, all starts together; started again with more hours, the search goes on.",
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Train on this Ray cluster, not here.", metavar="HOST:PORT", show_default=False),
    ] = None,
    set_: Annotated[
        list[str],
        typer.Option("--set", help="Override a setting: budget.accuracy_drop=0.5.", metavar="K=V"),
    ] = [],  # noqa: B006  (typer's way)
) -> None:
    """Search for the fastest student within the budget. Started again, it goes on."""
    from edgekd.cli.interrupt import leave_on_signal

    leave_on_signal("; the same command goes on from here")
    from edgekd.errors import EdgekdError, RecipeError
    from edgekd.pipeline.local_paths import command_line
    from edgekd.report.fit_page import write_fit_page
    from edgekd.search.fit import fit
    from edgekd.search.opening import open_space
    from edgekd.search.ray_cluster import RayCluster

    if hours is not None and not 0 < 3600 * hours < float("inf"):
        raise RecipeError(f"--hours {hours:g}: give a time above 0")
    space = open_space(recipe, set_)
    folder = out or Path("fits") / space.base.name
    runner = RayCluster(address, folder, space.base, space.files) if address is not None else None
    result = fit(space, folder, hours=hours, command=command_line(sys.argv[1:]), runner=runner)
    if result.is_untried:
        raise EdgekdError(result.finish.reason)
    page = write_fit_page(folder)
    if result.made_nothing:
        way = f"what failed is not tried again: mend its cause, and begin anew with another --out; {page} has more"
        raise EdgekdError(f"no student could be made: {result.finish.unreachable} ({result.finish.reason}); {way}")
    with whose_reader_may_leave():
        print_result(result, folder, page)
    if not result.met:
        raise typer.Exit(BUDGET_NOT_MET)


def print_result(result: "FitResult", folder: Path, page: Path) -> None:
    from edgekd.report.verdict import lines
    from edgekd.search.candidates import at_share

    summary, winner = result.summary, result.summary.get("winner")
    count = summary["candidates"]
    trained = f"{count} candidate{'' if count == 1 else 's'} trained, {summary['failed']} failed"
    tell(f"{trained}; {result.finish.reason}")
    if winner and result.report:
        which = f"{winner['arm']}{at_share(winner['share'])}"
        tell(f"winner   trial {winner['trial']}: {which} ({folder / 'winner.yaml'})")
        for line in lines(result.report):
            remark = f" ({line.remark})" if line.remark else ""
            tell(f"{line.name:15} {line.said}: {line.verdict}, {line.margin}{remark}")
        tell(f"chosen   on {on_validation(summary['validation'])}")
        tell(f"bundle   {folder / 'winner' / 'bundle'}")
    tell(f"report   {page}")
    tell(verdict(result))


def on_validation(found: "JsonObject") -> str:
    """Return the winner's change on the samples that it was chosen on, and without what being chosen adds to it."""
    from edgekd.formatting import shortest
    from edgekd.report.fit_page import corrected_by
    from edgekd.tasks.registry import metric_named

    metric = metric_named(found["metric"])

    def shown(of: "Metric", drop: float, error: float) -> str:
        return f"{of.shown_change(of.change(drop))} (± {shortest(of.scale * error, 2)})"

    changes = {metric: found, **{metric_named(name): own for name, own in found.get("others", {}).items()}}
    each = ", ".join(f"{of.title} {shown(of, own['drop'], own['error'])}" for of, own in changes.items())
    words = f"{found['n']} validation samples: {each} to the teacher"
    if "corrected_drop" in found:
        words += f"; {shown(metric, found['corrected_drop'], found['corrected_error'])} {corrected_by(found)}"
    if "assurance" not in found:
        return words
    return f"{words}, which keeps the budget with a probability of {found['assurance']:.0%}"


def verdict(result: "FitResult") -> str:
    """Return the last line: whether the budget is met, and what would have to give where it is not."""
    from edgekd.report.verdict import NO_BUDGET, lines

    if result.met:
        return "Budget met" if result.report and result.report.budget else NO_BUDGET
    reason = f": {result.finish.unreachable}" if result.finish.unreachable else ""
    if result.report is None:
        return f"Budget not met{reason}"
    missed = [missed_bound(each) for each in lines(result.report) if not each.met]
    return f"Budget not met{reason}; the nearest student has {'; '.join(missed)}"


def missed_bound(line: "Line") -> str:
    """Say by how much a bound is missed, or why what it bounds was not measured."""
    from edgekd.formatting import ABSENT

    if line.value != ABSENT:
        return f"{line.name} {line.said}, {line.margin}"
    return f"{line.name} not measured, {line.bound}" + (f" ({line.remark})" if line.remark else "")
