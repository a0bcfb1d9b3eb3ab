"""``edgekd profile``: the time of each layer in one inference, and how far it is from the machine's limit."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd import plain_text
from edgekd.errors import MeasurementError
from edgekd.formatting import ABSENT, Column, count, percent, significant, size
from edgekd.log import get_logger
from edgekd.plain_text import rich

if TYPE_CHECKING:
    from rich.table import Table

logger = get_logger(__name__)

PICTURES = (".png", ".svg")

COLUMNS = (
    Column("ms", lambda row: significant(row["ms"])),
    Column("of the time", lambda row: percent(row["of_total"])),
    Column("MACs", lambda row: count(row["macs"]) if row["macs"] else ABSENT),
    Column("bytes", lambda row: size(row["bytes"]) if row["bytes"] else ABSENT),
    Column("in", lambda row: row["precision"], number=False),
    Column("limit ms", lambda row: significant(row["limit_ms"])),
    Column("of the limit", lambda row: percent(row["share"])),
    Column("bound by", lambda row: row["bound"], number=False),
    Column("to win ms", lambda row: significant(row["winnable_ms"])),
)


def profile(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="An ONNX file, a bundle, or for PyTorch a run's stage folder or path.py:function."
        ),
    ],
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime, pinned to as many CPUs.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Images in one inference, where the file leaves it open.")] = 1,
    shape: Annotated[
        str | None, typer.Option(help="Shape of the first input where the model does not say it: 1,3,224,224.")
    ] = None,
    runs: Annotated[int, typer.Option(help="Inferences that each layer's median is taken of.")] = 50,
    top: Annotated[int, typer.Option(min=1, help="Layers in the table, those with the most to win.")] = 15,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The roofline as a picture, .png or .svg.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Every run for chrome://tracing or Perfetto, as JSON.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="All data as JSON; - for standard output.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure what this machine can do again.")] = False,
) -> None:
    """Time each layer of a model and compare it with what this machine can compute and move at best."""
    from edgekd.bench.profile.profiler import profile_against_roofline
    from edgekd.cli.interrupt import leave_on_signal
    from edgekd.cli.workloads import parse_shape, runtime_for, workload

    if picture is not None and picture.suffix not in PICTURES:
        raise MeasurementError(f"--picture {picture}: expected a file that ends in {' or '.join(PICTURES)}")
    if (runtime := runtime_for(model)) == "tensorrt":
        raise MeasurementError(f"{model}: an engine's layers are timed by 'trtexec --dumpProfile'; give the ONNX file")
    profiled = workload(model, runtime, "cpu", parse_shape(shape))
    leave_on_signal()
    document = profile_against_roofline(profiled, threads, batch, runs, trace, fresh)
    show(document, top, json_file)
    if picture is not None:
        from edgekd.report.roofline import draw_roofline

        draw_roofline(document, picture)


def show(document: Mapping[str, Any], top: int, json_file: Path | None) -> None:
    from rich.console import Console

    from edgekd.files import write_json

    if json_file == Path("-"):
        sys.stdout.write(json.dumps(document, indent=1, sort_keys=True) + "\n")
    else:
        console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
        console.print(table(document, top))
        console.print(plain_text.lines("\n".join(sentences(document))), markup=False)
        if json_file:
            write_json(json_file, document)
    for line in warnings(document):
        logger.warning(line)


def warnings(document: Mapping[str, Any]) -> list[str]:
    """Return the warnings, each with its code."""
    from edgekd.bench.environment import BUSY_SHARE
    from edgekd.bench.profile.roofline import NOT_COUNTED

    advice = {
        "summary": "while the layers were timed, which may have slowed them: stop them and profile again",
        "roofs": "while the roofs were measured, which may be too low: --fresh measures them again",
    }
    shares = {part: document[part]["busy"] for part in advice}
    busy = [
        f"others kept {share:.0%} of the CPUs busy {advice[part]} [busy_neighbour]"
        for part, share in shares.items()
        if share > BUSY_SHARE
    ]
    uncounted = dict.fromkeys(layer["op"] for layer in document["layers"] if layer["bound"] == NOT_COUNTED)
    if not uncounted:
        return busy
    return [*busy, f"the arithmetic of {', '.join(uncounted)} is not counted: taken to be at its limit [not_counted]"]


def table(document: Mapping[str, Any], top: int) -> "Table":
    from rich.table import Table

    threads, cpu = document["threads"], document["environment"]["cpu"]["model"]
    title = f"{document['model']} on {cpu}, {threads} thread{'s' * (threads > 1)}, batch {document['batch']}"
    shown = Table(title=rich(title))
    shown.add_column("layer", overflow="fold")
    shown.add_column("op", overflow="fold")
    for column in COLUMNS:
        shown.add_column(column.heading, justify="right" if column.number else "left")
    worst = sorted(document["layers"], key=lambda row: row["winnable_ms"], reverse=True)
    for row in worst[:top]:
        shown.add_row(rich(row["name"]), rich(row["op"]), *(column.cell(row) for column in COLUMNS))
    if len(worst) > top:
        shown.caption = f"the {top} of {len(worst)} steps with the most to win; --top shows more, --json all"
    return shown


def sentences(document: Mapping[str, Any]) -> list[str]:
    """Return the summary in four lines."""
    whole, roofs = document["summary"], document["roofs"]
    peaks = ", ".join(f"{significant(rate)} GMAC/s in {name}" for name, rate in sorted(roofs["peak"].items()))
    (small, fast), (large, slow) = roofs["bandwidth"][0], roofs["bandwidth"][-1]
    memory = f"{significant(fast)} GB/s within {small >> 10} KiB, {significant(slow)} GB/s within {large >> 20} MiB"
    return [
        f"{significant(whole['unprofiled_ms'])} ms an inference; the limit is {significant(whole['limit_ms'])} ms, "
        f"so it runs at {percent(whole['share'])} of what the machine could do",
        f"time in layers: {shares(whole['ms_by_kind'])}; bound by: {shares(whole['ms_by_bound'])}",
        f"this machine reaches {peaks}; {memory}",
        f"under the profiler {significant(whole['total_ms'])} ms: it adds some microseconds "
        f"to each of the {len(document['layers'])} steps",
    ]


def shares(parts: Mapping[str, float]) -> str:
    total = sum(parts.values()) or 1.0
    biggest = sorted(parts.items(), key=lambda item: item[1], reverse=True)
    return ", ".join(f"{name} {percent(ms / total)}" for name, ms in biggest)
