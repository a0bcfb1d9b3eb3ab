"""``edgekd bench``: how fast ONNX files are on this CPU, side by side."""

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from edgekd.errors import MeasurementError
from edgekd.figures import Column, Row, between, milliseconds, part, significant, size, times_faster

if TYPE_CHECKING:
    from rich.table import Table

T = TypeVar("T")


def median(row: Row) -> str:
    return milliseconds("p50")(row) + between(part("ci95_p50", of="latency_ms")(row), significant)


FIGURES = (
    Column("p50", median),
    Column("p90", milliseconds("p90")),
    Column("p99", milliseconds("p99")),
    Column("times as fast", lambda row: times_faster(row.get("latency_vs_reference"))),
    Column("first", lambda row: significant(row["first_ms"])),
    Column("load", lambda row: significant(row["load_ms"])),
    Column("size", lambda row: size(row["size_bytes"])),
    Column("peak memory", lambda row: size(row["peak_rss_bytes"])),
)


def bench(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="ONNX files or bundle folders.")],
    against: Annotated[
        Path | None, typer.Option(help="The model that ratios are taken to; without it the first one.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime, pinned to as many CPUs.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for each model.")] = 5.0,
    batch: Annotated[int, typer.Option(min=1, help="Images in one inference, where the file leaves it open.")] = 1,
    shape: Annotated[
        str | None,
        typer.Option(help="Shape of the first input where the file leaves it open: 1,3,224,224."),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="All figures as JSON; - for standard output."),
    ] = None,
) -> None:
    """Time models in turns in a process of their own, with intervals and the ratio to one of them."""
    from edgekd.cli.interrupt import leave_on_signal

    dims = parse_shape(shape)
    files = labelled(reference_first(models, against))
    leave_on_signal()
    document = measure(files, threads, seconds, batch, dims)
    show(document, json_file)


def reference_first(models: list[Path], against: Path | None) -> list[Path]:
    """A reference that is among several models is measured once; one model against itself, twice."""
    if against is None:
        return models
    others = [path for path in models if path != against]
    return [against, *(others or models)]


def labelled(given: list[Path]) -> dict[str, Path]:
    """Each model as it was given, and the ONNX file that is meant; the reference comes first."""
    files: dict[str, Path] = {}
    for path in given:
        label, number = str(path), 1
        while label in files:
            number += 1
            label = f"{path} ({number})"
        files[label] = onnx_file(path)
    return files


def onnx_file(path: Path) -> Path:
    if path.is_dir():
        return bundled(path)
    if not path.is_file():
        raise MeasurementError(f"no such file: {path}; give .onnx files or bundle folders")
    if path.suffix != ".onnx":
        raise MeasurementError(f"{path} is no .onnx file; 'edgekd run' writes them into exports/ and bundle/")
    return path


def bundled(folder: Path) -> Path:
    manifest = folder / "manifest.json"
    try:
        model = (folder / json.loads(manifest.read_text())["model"]).resolve()
    except FileNotFoundError:
        raise MeasurementError(f"{folder} is no bundle (no manifest.json); give an .onnx file") from None
    except (ValueError, KeyError, TypeError) as error:
        raise MeasurementError(f"{manifest} names no model; pack the bundle again, or give the file") from error
    if not model.is_relative_to(folder.resolve()) or not model.is_file():
        raise MeasurementError(f"{manifest}: the model is not in the bundle; run 'edgekd bundle verify {folder}'")
    return model


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    dims = text.replace("x", ",").split(",")
    if not all(dim.strip().isdecimal() and int(dim) > 0 for dim in dims):
        raise MeasurementError(f"--shape {text}: expected positive numbers with commas, such as 1,3,224,224")
    return tuple(map(int, dims))


def measure(
    files: dict[str, Path], threads: int, seconds: float, batch: int, shape: tuple[int, ...] | None
) -> dict[str, Any]:
    from edgekd.bench import compare_in_child, fingerprint, memory_in_child

    reference = next(iter(files))
    environment = fingerprint()
    expected = len(files) * (seconds + 2)
    memory = {name: memory_in_child(path, batch, shape) for name, path in files.items()}
    latency = with_progress(
        lambda: compare_in_child(files, reference, threads, seconds, batch=batch, shape=shape),
        f"timing {len(files)} model{'s' * (len(files) > 1)} (s)",
        round(expected),
    )
    rows = [
        {"model": name, "file": str(path), "size_bytes": path.stat().st_size}
        | memory[name].to_json()
        | latency[name].to_json()
        for name, path in files.items()
    ]
    return {"schema_version": 1, "environment": environment, "reference": reference, "models": rows}


def with_progress(call: Callable[[], T], what: str, expected_s: int) -> T:
    from edgekd.progress import track

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call)
        for _ in track(seconds_until(future), what, expected_s):
            pass
        return future.result()


def seconds_until(future: "Future[Any]") -> Iterator[None]:
    while wait([future], timeout=1).not_done:
        yield


def show(document: dict[str, Any], json_file: Path | None) -> None:
    from rich.console import Console

    from edgekd.files import write_json
    from edgekd.progress import say

    if json_file == Path("-"):
        sys.stdout.write(json.dumps(document, indent=1, sort_keys=True) + "\n")
    else:
        Console(width=None if sys.stdout.isatty() else 160).print(table(document))
        if json_file:
            write_json(json_file, document)
    for message, names in cautions(document).items():
        say(f"warning: {names}: {message}")


def cautions(document: dict[str, Any]) -> dict[str, str]:
    """Each message once, with the models it is about."""
    about: dict[str, list[str]] = {}
    for row in document["models"]:
        for caution in row["warnings"]:
            about.setdefault(f"{caution['message']} [{caution['code']}]", []).append(row["model"])
    return {message: ", ".join(names) for message, names in about.items()}


def table(document: dict[str, Any]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    cpu, first = document["environment"]["cpu"]["model"], document["models"][0]
    several = "s" * (first["threads"] > 1)
    shown = Table(title=escape(f"{cpu}, {first['threads']} thread{several}, batch {first['batch']}, in ms"))
    shown.add_column("model", overflow="fold")
    for column in FIGURES:
        shown.add_column(column.heading, justify="right")
    for row in document["models"]:
        shown.add_row(escape(row["model"]), *(column.cell(row) for column in FIGURES))
    if len(document["models"]) > 1:
        shown.caption = escape(f"times as fast as {first['model']}")
    return shown
