"""``edgekd profile``: the time of each layer in one inference, and how far it is from the machine's limit."""

import json
import platform
import shlex
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd import plain_text
from edgekd.cli.bench_result import open_sizes
from edgekd.cli.output import print_table, runtime_names, tell
from edgekd.errors import MeasurementError
from edgekd.formatting import ABSENT, Column, count, percent, significant, size
from edgekd.log import get_logger
from edgekd.plain_text import rich

if TYPE_CHECKING:
    from rich.table import Table

    from edgekd.report.profile import LayersUnderRoofs

logger = get_logger(__name__)

PICTURES = (".png", ".svg")

COLUMNS = (
    Column("ms", lambda layer: significant(layer.ms)),
    Column("of the time", lambda layer: percent(layer.of_total)),
    Column("MACs", lambda layer: count(layer.macs) if layer.macs else ABSENT),
    Column("bytes", lambda layer: size(layer.bytes) if layer.bytes else ABSENT),
    Column("in", lambda layer: layer.precision, number=False),
    Column("limit ms", lambda layer: significant(layer.limit_ms)),
    Column("of the limit", lambda layer: percent(layer.share)),
    Column("bound by", lambda layer: layer.bound, number=False),
    Column("to win ms", lambda layer: significant(layer.winnable_ms)),
)
LONGEST_OP = len("DequantizeLinear")
# A terminal that cannot hold all columns keeps layers' names and times whole; --json has the others.
NARROW = 120
LEFT_OUT_WHEN_NARROW = ("MACs", "bytes", "limit ms", "of the limit", "bound by")


def profile(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="An ONNX file, a bundle, or for PyTorch a run's stage folder or path.py:function."
        ),
    ],
    runtime: Annotated[
        str | None, typer.Option(help=f"{runtime_names()}. Without it the runtime that the file is for.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime, pinned to as many CPUs.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Images in one inference, where the file leaves it open.")] = 1,
    shape: Annotated[
        str | None, typer.Option(help="Shape of the first input where the model does not say it: 1,3,224,224.")
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help="Size of an open dimension; else that of the signature, or 1. Repeatable."),
    ] = None,
    runs: Annotated[int, typer.Option(help="Inferences, of which each layer's time is the median.")] = 50,
    top: Annotated[
        int, typer.Option(min=1, help="Layers in the table, those furthest above the machine's limit.")
    ] = 15,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The roofline as a picture, .png or .svg.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Every run for chrome://tracing or Perfetto, as JSON.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="All data as JSON; - for standard output.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure again how fast this machine computes and moves data.")
    ] = False,
) -> None:
    """Time each layer of a model and compare it with what this machine can compute and move at best."""
    from edgekd.bench.profile.profiler import machine_roofs, profile_against_roofline
    from edgekd.cli.interrupt import leave_on_signal
    from edgekd.cli.workloads import parse_shape, parse_sizes, runtime_for, workload
    from edgekd.files import write_json
    from edgekd.report.profile import LayersUnderRoofs
    from edgekd.runtime import architecture_of, by_session

    if picture is not None and picture.suffix not in PICTURES:
        raise MeasurementError(f"--picture {picture}: expected a file that ends in {' or '.join(PICTURES)}")
    used = by_session(runtime or runtime_for(model))
    if not used.runs_networks and "cpu" not in used.devices:
        raise MeasurementError(
            f"{model}: layers are timed on this machine's CPU, where {used.title} runs nothing; give the ONNX file; "
            "'edgekd devices layers' times those of its engine on a device"
        )
    profiled = workload(model, runtime or used.name, "cpu", parse_shape(shape), sizes=parse_sizes(size or []))
    leave_on_signal()
    measured = profile_against_roofline(profiled, threads, batch, runs, trace, partial(machine_roofs, fresh=fresh))
    document = measured.to_json()
    found = LayersUnderRoofs.from_json(document)
    if json_file == Path("-"):
        sys.stdout.write(json.dumps(document, indent=1, sort_keys=True) + "\n")
    else:
        show(found, measured.environment.cpu.model, top)
        if json_file:
            write_json(json_file, document)
    for line in warnings(found):
        logger.warning(line)
    if used.profiles and (slow := float_layers(found)):
        target = used.profile_for(architecture_of(platform.machine())).name
        logger.info(
            f"{slow} of this quantised file's layers run in float: "
            f"'edgekd lint {shlex.quote(model)} --target {target}' says why and what to change"
        )
    if picture is not None:
        from edgekd.report.roofline import draw_roofline

        draw_roofline(found, picture)


def show(found: "LayersUnderRoofs", cpu: str, top: int) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    print_table(console, table(found, cpu, top, console.width))
    tell("\n".join(map(plain_text.line, sentences(found))))


def warnings(found: "LayersUnderRoofs") -> list[str]:
    """Return the warnings, each with its code."""
    from edgekd.bench.environment import BUSY_SHARE
    from edgekd.bench.profile.roofline import NOT_COUNTED

    parts = (
        (found.summary, "while the layers were timed, which may have slowed them: stop them and profile again"),
        (found.roofs, "while the roofs were measured, which may be too low: --fresh measures them again"),
    )
    busy = [
        f"others kept {part.busy:.0%} of the CPUs busy {advice} [busy_neighbour]"
        for part, advice in parts
        if part.busy > BUSY_SHARE
    ]
    uncounted = dict.fromkeys(layer.op for layer in found.layers if layer.bound == NOT_COUNTED)
    if not uncounted:
        return busy
    return [*busy, f"the arithmetic of {', '.join(uncounted)} is not counted: taken to be at its limit [not_counted]"]


def float_layers(found: "LayersUnderRoofs") -> int:
    """Return how many layers with arithmetic run in float though the file is quantised, or 0."""
    products = [layer for layer in found.layers if layer.macs]
    quantised = any(layer.precision == "int8" for layer in products) or any(
        layer.op in ("QuantizeLinear", "DequantizeLinear") for layer in found.layers
    )
    return sum(layer.precision != "int8" for layer in products) if quantised else 0


def table(found: "LayersUnderRoofs", cpu: str, top: int, width: int = NARROW) -> "Table":
    from rich.table import Table

    title = f"{found.model} on {cpu}, {found.threads} thread{'s' * (found.threads > 1)}, batch {found.batch}"
    title += "".join(f", {size}" for size in open_sizes(found.sizes))
    shown = Table(title=rich(title), box=None, pad_edge=False, header_style="bold")
    shown.add_column("layer", overflow="fold")
    shown.add_column("op", overflow="fold", min_width=LONGEST_OP)
    columns = [column for column in COLUMNS if width >= NARROW or column.heading not in LEFT_OUT_WHEN_NARROW]
    for column in columns:
        shown.add_column(column.heading, justify="right" if column.number else "left")
    for layer in found.worst(top):
        shown.add_row(rich(layer.name), rich(layer.op), *(column.cell(layer) for column in columns))
    if len(found.layers) > top:
        shown.caption = f"the {top} of {len(found.layers)} steps with the most to win; --top shows more, --json all"
    return shown


def sentences(found: "LayersUnderRoofs") -> list[str]:
    """Return the summary in four lines."""
    whole, roofs = found.summary, found.roofs
    peaks = ", ".join(f"{significant(rate)} GMAC/s in {name}" for name, rate in sorted(roofs.peak.items()))
    (small, fast), (large, slow) = roofs.bandwidth[0], roofs.bandwidth[-1]
    near, far = f"{significant(fast)} GB/s within {int(small) >> 10} KiB", f"{significant(slow)} GB/s within"
    return [
        f"{significant(whole.unprofiled_ms)} ms an inference; the limit is {significant(whole.limit_ms)} ms, "
        f"so it runs at {percent(whole.share)} of what the machine could do",
        f"time in layers: {shares(whole.ms_by_kind)}; bound by: {shares(whole.ms_by_bound)}",
        f"this machine reaches {peaks}; {near}, {far} {int(large) >> 20} MiB",
        f"under the profiler {significant(whole.total_ms)} ms: it adds some microseconds "
        f"to each of the {len(found.layers)} steps",
    ]


def shares(parts: Mapping[str, float]) -> str:
    total = sum(parts.values()) or 1.0
    biggest = sorted(parts.items(), key=lambda item: item[1], reverse=True)
    return ", ".join(f"{name} {percent(ms / total)}" for name, ms in biggest)
