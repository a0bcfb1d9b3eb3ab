"""``edgekd sweep``: every point of a grid, and its front."""

from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli.output import tell


def sweep(
    recipe: Annotated[Path, typer.Argument(help="The recipe's YAML file.", show_default=False)],
    grid: Annotated[
        list[str],
        typer.Option("--grid", help="Values of a setting: stages.prune.macs=0.3,0.5,0.7. Repeatable.", metavar="K=V,V"),
    ] = [],  # noqa: B006  (typer's way)
    out: Annotated[
        Path | None, typer.Option(help="The sweep's folder; sweeps/<name> if left out.", show_default=False)
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Train on this Ray cluster, not here.", metavar="HOST:PORT", show_default=False),
    ] = None,
    set_: Annotated[list[str], typer.Option("--set", help="Override a setting: prune.epochs=2.", metavar="K=V")] = [],  # noqa: B006
) -> None:
    """Try every point of a grid, and show the front of quality and cost. Started again, it goes on."""
    from edgekd.cli.interrupt import leave_on_signal

    leave_on_signal("; the same command goes on from here")
    from edgekd.errors import EdgekdError
    from edgekd.report.fit_page import write_fit_page
    from edgekd.report.fit_record import read_fit
    from edgekd.search.opening import open_space
    from edgekd.search.ray_cluster import RayCluster
    from edgekd.search.sweep import grid_overrides, sweep

    space = open_space(recipe, [*set_, *grid_overrides(grid)], apart=False)
    folder = out or Path("sweeps") / space.base.name
    runner = RayCluster(address, folder, space.base, space.files) if address is not None else None
    failed = sweep(space, folder, runner)
    fit = read_fit(folder)
    if failed == len(fit.trials):
        raise EdgekdError(f"no point of the grid gave a network; the first: {fit.trials[0].error}")
    for trial in fit.front:
        assert trial.figures is not None
        words = ", ".join([trial.arm, *(f"{name} {value}" for name, value in (trial.choices or {}).items())])
        own, *others = fit.changes(trial.figures).items()
        change = ", ".join([own[1], *(f"{change} of {title}" for title, change in others)])
        cost = f"{fit.cost(trial):.1%} of the teacher's {fit.cost_name}"
        tell(f"trial {trial.number:<3} {words}: {cost}, {change}")
    tell(f"report   {write_fit_page(folder)}")
