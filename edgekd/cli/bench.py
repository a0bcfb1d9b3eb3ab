"""``edgekd bench``: the latency of models in turns, on this machine or on a device."""

import sys
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd.cli.bench_result import TimedModel, TimedModels, tables, threads_and_batch, warnings
from edgekd.cli.output import print_table, runtime_names
from edgekd.errors import DeviceError, MeasurementError
from edgekd.log import get_logger

if TYPE_CHECKING:
    from edgekd.bench.plan import Plan
    from edgekd.devices.targets import LocalTarget, RemoteTarget

logger = get_logger(__name__)


def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="ONNX files, bundles, a run's stage folders, TensorRT engines, or path.py:function for PyTorch.",
        ),
    ],
    against: Annotated[
        str | None, typer.Option(help="The model that others are compared with; without it the first one.")
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(help=f"{runtime_names()}; repeatable. Without it the runtime that the file is for."),
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
    size: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help="Size of an open dimension; else that of the signature, or 1. Repeatable."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16 or, in PyTorch alone, float16; for PyTorch and OpenVINO."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of timing for each model.")] = 3.0,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="The most seconds for each model, while its interval is still too wide.",
            show_default="4 x seconds",
        ),
    ] = None,
    launches: Annotated[
        int,
        typer.Option(
            "--launches",
            "--sittings",
            min=1,
            help="The least number of processes, in each of which every model is loaded; a ratio's interval needs 6.",
        ),
    ] = 8,
    decide: Annotated[
        float,
        typer.Option(
            min=1e-6,
            help="The ratio in question (time over the reference's): timing goes on until the interval excludes it.",
        ),
    ] = 1.0,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Time limit in seconds for each table, loading included.")
    ] = None,
    lock_clocks: Annotated[
        bool,
        typer.Option(
            "--lock-clocks",
            help="Set a Jetson's clocks to the power mode's maximum while it is timed, and back afterwards.",
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
    from edgekd.cli.workloads import parse_shape, parse_sizes, workloads
    from edgekd.devices.targets import LocalTarget, resolve_target

    target = resolve_target(device, lock_clocks)
    kind = device if isinstance(target, LocalTarget) else "cpu"
    found = workloads(
        reference_first(models, against),
        runtime or [],
        kind,
        parse_shape(shape),
        precision,
        parse_sizes(size or []),
        place=device,
    )
    reference = next(iter(found)) if len(found) > 1 else None
    check_times(seconds, max_seconds)
    plans = [
        Plan(found, reference, one, size, seconds, max_seconds, launches, question=decide)
        for one, size in product(threads or [1], batch or [1])
    ]
    leave_on_signal()
    with target:
        measured = measure_all(target, plans, timeout)
    show(measured, json_file)
    if measured.cut:
        raise measured.cut


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


def measure_all(target: "LocalTarget | RemoteTarget", plans: "list[Plan]", timeout_s: float | None) -> TimedModels:
    """Measure ``plans``, or as many as a device lets."""
    environment, models = target.environment(), list[TimedModel]()
    for number, plan in enumerate(plans):
        try:
            models += measure(target, plan, timeout_s)
        except DeviceError as error:
            if number == 0:
                raise
            cut = DeviceError(f"{number} of {len(plans)} tables were measured before this: {error}")
            return TimedModels(environment, plans[0].reference, models, cut)
    return TimedModels(environment, plans[0].reference, models)


def measure(target: "LocalTarget | RemoteTarget", plan: "Plan", timeout_s: float | None) -> list[TimedModel]:
    from edgekd.cli.workloads import size_bytes

    times = target.latency(plan, timeout_s, progress=lambda launches: progress(launches, plan))
    memory = target.memory(plan)
    return [
        TimedModel(name, workload, size_bytes(workload), times[name], memory.get(name))
        for name, workload in plan.workloads.items()
    ]


def progress(launches: Iterator[Any], plan: "Plan") -> Iterable[Any]:
    from edgekd.progress import track

    return track(launches, f"launches, {threads_and_batch(plan.threads, plan.batch)}", plan.launches)


def show(found: TimedModels, json_file: Path | None) -> None:
    import json

    from rich.console import Console

    from edgekd.files import write_json

    if json_file == Path("-"):
        sys.stdout.write(json.dumps(found.to_json(), indent=1, sort_keys=True) + "\n")
    else:
        console = Console(width=None if sys.stdout.isatty() else 180)
        for shown in tables(found, console.width):
            print_table(console, shown)
        if json_file:
            write_json(json_file, found.to_json())
    for message, names in warnings(found.models).items():
        logger.warning(f"{names}: {message}")
    for name in slower_than_float(found):
        logger.info(
            f"{name} is quantised and slower than {found.reference}: "
            "'edgekd lint FILE --target TARGET' says which layers run in float"
        )


def slower_than_float(found: TimedModels) -> list[str]:
    """Return the quantised ONNX files that are certainly slower than a reference that is not quantised."""
    slower = {
        model.name: model.workload.model
        for model in found.models
        if model.times.latency_vs_reference and (model.times.latency_vs_reference.ci95 or (0,))[0] > 1
    }
    references = {model.workload.model for model in found.models if model.name == found.reference}
    if not slower or any(map(is_quantised_file, references)):
        return []
    return [name for name, file in slower.items() if is_quantised_file(file)]


def is_quantised_file(file: str) -> bool:
    from edgekd.cli.lint import is_quantised

    if not file.endswith(".onnx"):
        return False
    import onnx

    return is_quantised(onnx.load(file, load_external_data=False))
