"""``edgekd run``: a recipe from end to end."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.cli.output import tell, whose_reader_may_leave

if TYPE_CHECKING:
    from edgekd.pipeline.plan import RunPlan
    from edgekd.recipe import Recipe
    from edgekd.report.schema import Report
    from edgekd.train import Epoch

BUDGET_NOT_MET = 2


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe's YAML file.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="The run folder; runs/<name> if left out.", show_default=False)
    ] = None,
    set_: Annotated[
        list[str],
        typer.Option("--set", help="Override a setting: prune.macs=0.4, data.batch_size=64.", metavar="K=V"),
    ] = [],  # noqa: B006  (typer's way)
    fresh: Annotated[bool, typer.Option(help="Remove what earlier runs made in the folder, and start over.")] = False,
    beside: Annotated[
        Path | None,
        typer.Option(
            help="A baseline promoted with --files: the result is timed in turns with its file, for 'edgekd check'.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Load the data, build the networks, print what would be done.")] = False,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard events into the run folder too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
) -> None:
    """Run a recipe: train, distil, prune, quantise, export, measure, bundle. Started again, it goes on."""
    from edgekd.cli.interrupt import leave_on_signal

    leave_on_signal("; the same command goes on from here")
    from edgekd.pipeline.check import check_recipe
    from edgekd.pipeline.local_paths import command_line
    from edgekd.pipeline.target_plan import describe_targets
    from edgekd.recipe import load_recipe

    loaded = load_recipe(recipe, set_)
    folder = out or Path("runs") / loaded.name
    command = command_line(sys.argv[1:])
    report = None
    if not (dry_run or fresh or beside) and os.environ.get("WORLD_SIZE", "1") == "1":
        from edgekd.pipeline.finished import finished

        report = finished(folder, loaded, command)
    if report is None:
        # Before PyTorch is imported, so that mistakes are known at once. A run probes its devices itself.
        checked = check_recipe(recipe, set_, reach=dry_run)
        from edgekd.pipeline.plan import plan
        from edgekd.pipeline.run import run
        from edgekd.train import distributed

        if dry_run and not distributed.is_rank_zero():
            return
        if dry_run:
            print_plan(loaded, plan(checked.recipe), describe_targets(checked.recipe, checked.targets))
            return
        watch = tensorboard_writer(folder) if tensorboard else None
        report = run(loaded, folder, fresh=fresh, command=command, watch=watch, baseline=beside)
        if not distributed.is_rank_zero():
            return
    with whose_reader_may_leave():
        if as_json:
            print(json.dumps(report.to_json(), indent=1, sort_keys=True))
        else:
            print_result(report, folder)
    if report.budget is not None and not report.budget.met:
        raise typer.Exit(BUDGET_NOT_MET)


def print_plan(recipe: "Recipe", plan: "RunPlan", targets: "Sequence[str]" = ()) -> None:
    data = plan.data
    tell(f"{recipe.name}: {' -> '.join(['teacher', *(stage.name for stage in recipe.stages)])}")
    tell(f"data     {data.name} {data.fingerprint[:12]}, input {tuple(data.input_shape)}, {len(data.classes)} classes")
    tell(f"         {len(data.train)} training, {len(data.validation)} validation, {len(data.test)} test samples")
    for role, size in plan.sizes.items():
        tell(f"{role}  {size.params:,} parameters, {size.macs:,} multiply-accumulates")
    for line in (*plan.notes, *targets):
        tell(line)


def print_result(report: "Report", folder: Path) -> None:
    from rich.console import Console

    from edgekd.report.table import render_table

    # A pipe has no width; tables cut to 80 columns lose their numbers. Commands to copy are longer than a line.
    Console(width=None if sys.stdout.isatty() else 140).print(
        render_table(report, {"report": folder / "report.html", "bundle": folder / "bundle"}), crop=False
    )


def tensorboard_writer(folder: Path) -> "Callable[[str, Epoch], None]":
    from torch.utils.tensorboard import SummaryWriter

    from edgekd.files import storage

    @cache  # made at the first epoch, when the run folder is this run's own
    def writer() -> SummaryWriter:
        return SummaryWriter(str(folder / "tensorboard"))

    def watch(stage: str, epoch: "Epoch") -> None:
        with storage(folder / "tensorboard"):
            for name, value in epoch.scalars().items():
                writer().add_scalar(f"{stage}/{name}", value, epoch.number)
            writer().flush()

    return watch
