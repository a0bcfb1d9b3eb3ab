"""``edgekd bench``: the latency of models, side by side, on this machine or on a device."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd.errors import DeviceError, MeasurementError
from edgekd.formatting import ABSENT, Column, Row, between, milliseconds, part, significant, size, times_faster
from edgekd.log import get_logger
from edgekd.plain_text import rich

if TYPE_CHECKING:
    from rich.table import Table

    from edgekd.bench.plan import Plan, Workload
    from edgekd.devices.targets import LocalTarget, RemoteTarget

logger = get_logger(__name__)

NO_DIFFERENCE = "no difference seen"


def percentile(name: str) -> Column:
    figure, interval = milliseconds(name), part(f"ci95_{name}", of="latency_ms")
    return Column(name, lambda row: figure(row) + between(interval(row), significant))


def per_second(row: Row) -> str:
    return significant(1000 * row["batch"] / row["latency_ms"]["mean"])


def verdict(row: Row) -> str:
    against = row.get("latency_vs_reference")
    if not against:
        return ABSENT
    low, high = against.get("ci95") or (0.0, 0.0)
    return times_faster(against) + (f", {NO_DIFFERENCE}" if low <= 1 <= high else "")


COLUMNS = (
    percentile("p50"),
    Column("p90", milliseconds("p90")),
    Column("p95", milliseconds("p95")),
    Column("p99", milliseconds("p99")),
    Column("times as fast", verdict),
    Column("images/s", per_second),
    Column("energy", lambda row: significant(1000 * row["energy"]["joules"]) + " mJ" if row.get("energy") else ABSENT),
    Column("first", lambda row: significant(row.get("first_ms"))),
    Column("load", lambda row: significant(row.get("load_ms"))),
    Column("copies in, out", lambda row: " + ".join(significant(way["p50"]) for way in row["transfers_ms"].values())),
    Column("size", lambda row: size(row.get("size_bytes"))),
    Column("peak memory", lambda row: size(row.get("peak_rss_bytes"))),
)
# Shown only where it was measured.
OPTIONAL = {"copies in, out": "transfers_ms", "energy": "energy"}


def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="ONNX files, bundles, a run's stage folders, TensorRT engines, or path.py:function for PyTorch.",
        ),
    ],
    against: Annotated[
        str | None, typer.Option(help="The model that ratios are taken to; without it the first one.")
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="onnxruntime, onnxruntime-tensorrt, pytorch, pytorch-compiled, pytorch-cudagraph or tensorrt; "
            "repeat to compare runtimes. Without it what the file is for."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or a registered device (edgekd devices list).")] = "cpu",
    threads: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Threads of the runtime, pinned to as many CPUs; repeatable.", show_default="1"),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="Images in one inference, where the file leaves it open; repeatable.", show_default="1"
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(help="Shape of the first input where the model does not say it: 1,3,224,224."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32, float16 or bfloat16, for PyTorch; a file has its own.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for each model.")] = 3.0,
    max_seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="Time for each model while its result is not clear.", show_default="4 x seconds"),
    ] = None,
    launches: Annotated[
        int,
        typer.Option(
            "--launches",
            "--sittings",
            min=1,
            help="Processes in which each model is loaded anew, at least; a ratio's interval needs 6.",
        ),
    ] = 8,
    decide: Annotated[
        float, typer.Option(min=1e-6, help="The ratio in question (its time over the reference's): goes on around it.")
    ] = 1.0,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Time limit in seconds for each table, loading included.")
    ] = None,
    lock_clocks: Annotated[
        bool,
        typer.Option(
            "--lock-clocks", help="On a Jetson, its clocks at the top of the power mode meanwhile, and back afterwards."
        ),
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="All data and every sample as JSON; - for standard output."),
    ] = None,
) -> None:
    """Time models in turns, each in a process of its own, with intervals and the ratio to one of them."""
    from edgekd.bench.plan import Plan
    from edgekd.cli.interrupt import leave_on_signal
    from edgekd.cli.workloads import parse_shape, workloads
    from edgekd.devices.targets import LocalTarget, resolve_target

    target = resolve_target(device, lock_clocks)
    kind = device if isinstance(target, LocalTarget) else "cpu"
    found = workloads(reference_first(models, against), runtime or [], kind, parse_shape(shape), precision)
    reference = next(iter(found)) if len(found) > 1 else None
    check_times(seconds, max_seconds)
    plans = [
        Plan(found, reference, one, size, seconds, max_seconds, launches, question=decide)
        for one, size in product(threads or [1], batch or [1])
    ]
    leave_on_signal()
    with target:
        measured, cut = document(target, plans, timeout)
    show(measured, json_file)
    if cut:
        raise cut


def check_times(seconds: float, max_seconds: float | None) -> None:
    if max_seconds is not None and max_seconds < seconds:
        raise MeasurementError(
            f"--max-seconds {max_seconds:g} is less than --seconds {seconds:g}; raise it or leave it"
        )


def reference_first(models: list[str], against: str | None) -> list[str]:
    """Put the reference first: one that is among several models is measured once, a model against itself twice."""
    if against is None:
        return models
    others = [model for model in models if model != against]
    return [against, *(others or models)]


def document(
    target: "LocalTarget | RemoteTarget", plans: "list[Plan]", timeout_s: float | None
) -> tuple[dict[str, Any], DeviceError | None]:
    """Measure ``plans``, and return the document with the error that ended it early, if one did."""
    environment, rows, cut = target.environment(), [], None
    for number, plan in enumerate(plans):
        try:
            rows += rows_of(target, plan, timeout_s)
        except DeviceError as error:
            if number == 0:
                raise
            cut = DeviceError(f"{number} of {len(plans)} tables were measured before this: {error}")
            break
    about = {"schema_version": 2, "environment": environment, "reference": plans[0].reference}
    return {**about, "models": rows, **({"cut": str(cut)} if cut else {})}, cut


def rows_of(target: "LocalTarget | RemoteTarget", plan: "Plan", timeout_s: float | None) -> list[dict[str, Any]]:
    from edgekd.cli.workloads import size_bytes

    records = target.latency(plan, timeout_s, progress=lambda launches: progress(launches, plan))
    memory = {name: record.to_json() for name, record in target.memory(plan).items()}
    return [
        described(name, workload, size_bytes(workload)) | memory.get(name, {}) | records[name].to_json()
        for name, workload in plan.workloads.items()
    ]


def described(name: str, workload: "Workload", size: int | None) -> dict[str, Any]:
    row = {"model": name, "file": workload.model, "precision": workload.precision, "size_bytes": size}
    return {key: value for key, value in row.items() if value is not None}


def progress(launches: Iterator[Any], plan: "Plan") -> Iterable[Any]:
    from edgekd.progress import track

    return track(launches, f"launches, {threads_and_batch(plan.threads, plan.batch)}", plan.launches)


def threads_and_batch(threads: int, batch: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}, batch {batch}"


def show(document: Mapping[str, Any], json_file: Path | None) -> None:
    import json

    from rich.console import Console

    from edgekd.files import write_json

    if json_file == Path("-"):
        sys.stdout.write(json.dumps(document, indent=1, sort_keys=True) + "\n")
    else:
        for shown in tables(document):
            Console(width=None if sys.stdout.isatty() else 180).print(shown)
        if json_file:
            write_json(json_file, document)
    for message, names in warnings(document).items():
        logger.warning(f"{names}: {message}")


def warnings(document: Mapping[str, Any]) -> dict[str, str]:
    """Return each warning once, with the models that it is about."""
    about: dict[str, list[str]] = {}
    for row in document["models"]:
        for warning in row["warnings"]:
            about.setdefault(f"{warning['message']} [{warning['code']}]", []).append(row["model"])
    return {message: ", ".join(dict.fromkeys(names)) for message, names in about.items()}


def tables(document: Mapping[str, Any]) -> "Iterator[Table]":
    """Yield a table for each number of threads and each batch, which are never mixed."""
    rows = document["models"]
    for threads, batch in dict.fromkeys((row["threads"], row["batch"]) for row in rows):
        ours = [row for row in rows if (row["threads"], row["batch"]) == (threads, batch)]
        yield table(ours, document["environment"]["cpu"]["model"], document["reference"])


def table(rows: list[Row], cpu: str, reference: str | None) -> "Table":
    from rich.table import Table

    first = rows[0]
    where = cpu if first["device"] == "cpu" else first["providers"][0]
    shown = Table(title=rich(f"{where}, {threads_and_batch(first['threads'], first['batch'])}, in ms"))
    shown.add_column("model", overflow="fold")
    columns = [column for column in COLUMNS if column.heading not in OPTIONAL or first.get(OPTIONAL[column.heading])]
    for column in columns:
        shown.add_column(column.heading, justify="right")
    for row in rows:
        marked = row["model"] + ("" if row["valid"] else " (!)")
        shown.add_row(rich(marked), *(column.cell(row) for column in columns))
    if len(rows) > 1:
        shown.caption = rich(f"times as fast as {reference}; in brackets 95 % intervals")
    return shown
