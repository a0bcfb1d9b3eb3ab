"""The result of ``edgekd bench``: its JSON, its tables and its warnings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekd.errors import DeviceError
from edgekd.formatting import ABSENT, Column, between, significant, size, stands_apart, times_faster
from edgekd.plain_text import rich

if TYPE_CHECKING:
    from rich.table import Table

    from edgekd.bench.environment import Environment
    from edgekd.bench.plan import Workload
    from edgekd.bench.records import LatencyRecord, MemoryRecord
    from edgekd.devices.targets import RemoteEnvironment

NO_DIFFERENCE = "no difference seen"
COST = "cost"
COST_SENTENCE = "p50 to p99: latency as a user saw it; cost: without the time that other processes took, as in ratios"


@dataclass(frozen=True)
class TimedModel:
    """A model's times and, on this machine, its peak memory."""

    name: str
    workload: "Workload"
    size_bytes: int | None
    times: "LatencyRecord"
    memory: "MemoryRecord | None"

    def to_json(self) -> dict[str, Any]:
        file, precision = self.workload.model, self.workload.precision
        about = {"model": self.name, "file": file, "precision": precision, "size_bytes": self.size_bytes}
        known = {key: value for key, value in about.items() if value is not None}
        sizes = {"sizes": dict(self.workload.sizes)} if self.workload.sizes else {}
        return {**known, **sizes, **(self.memory.to_json() if self.memory else {}), **self.times.to_json()}


@dataclass(frozen=True)
class TimedModels:
    """All models in all tables; ``cut`` is the error that ended the measurement early."""

    environment: "Environment | RemoteEnvironment"
    reference: str | None
    models: Sequence[TimedModel]
    cut: DeviceError | None = None

    def to_json(self) -> dict[str, Any]:
        about = {"schema_version": 2, "environment": self.environment.to_json(), "reference": self.reference}
        cut = {"cut": str(self.cut)} if self.cut else {}
        return {**about, "models": [model.to_json() for model in self.models], **cut}


def median(model: TimedModel) -> str:
    latency = model.times.latency_ms
    return significant(latency.p50) + between(latency.ci95_p50, significant)


def cost(model: TimedModel) -> str:
    found = model.times.cost_ms
    return significant(found.p50) + between(found.ci95_p50, significant) if found else ABSENT


def shows_costs(models: Sequence[TimedModel]) -> bool:
    """Tell whether other processes made an inference of some model visibly longer than its cost."""
    times = [model.times for model in models]
    return any(each.cost_ms and stands_apart(each.cost_ms.p50, each.latency_ms.p50) for each in times)


def per_second(model: TimedModel) -> str:
    return significant(1000 * model.times.batch / model.times.latency_ms.mean)


def verdict(model: TimedModel) -> str:
    against = model.times.latency_vs_reference
    if not against:
        return ABSENT
    low, high = against.ci95 or (0.0, 0.0)
    return times_faster(against.ratio, against.ci95) + (f", {NO_DIFFERENCE}" if low <= 1 <= high else "")


def energy(model: TimedModel) -> str:
    spent = model.times.energy
    return significant(1000 * spent.joules) + " mJ" if spent else ABSENT


def copies(model: TimedModel) -> str:
    return " + ".join(significant(way.p50) for way in (model.times.transfers_ms or {}).values())


COLUMNS = (
    Column("p50", median),
    Column("p90", lambda model: significant(model.times.latency_ms.p90)),
    Column("p95", lambda model: significant(model.times.latency_ms.p95)),
    Column("p99", lambda model: significant(model.times.latency_ms.p99)),
    Column(COST, cost),
    Column("times faster", verdict),
    Column("images/s", per_second),
    Column("energy", energy),
    Column("first", lambda model: significant(model.times.first_ms)),
    Column("load", lambda model: significant(model.times.load_ms)),
    Column("copies in, out", copies),
    Column("size", lambda model: size(model.size_bytes)),
    Column("peak memory", lambda model: size(model.memory.peak_rss_bytes if model.memory else None)),
)


# A terminal that cannot hold all columns shows these figures whole; --json has the others.
NARROW = 130
SHOWN_WHEN_NARROW = ("p50", "p99", COST, "times faster", "energy", "copies in, out")


def warnings(models: Sequence[TimedModel]) -> dict[str, str]:
    """Return each warning once, with the models that it is about."""
    about: dict[str, list[str]] = {}
    for model in models:
        for warning in model.times.warnings:
            about.setdefault(f"{warning.message} [{warning.code}]", []).append(model.name)
    return {message: ", ".join(dict.fromkeys(names)) for message, names in about.items()}


def tables(found: TimedModels, width: int) -> "Iterator[Table]":
    """Yield a table for each number of threads and each batch, which are never mixed, for ``width`` characters."""
    groups: dict[tuple[int, int], list[TimedModel]] = {}
    for model in found.models:
        groups.setdefault((model.times.threads, model.times.batch), []).append(model)
    for models in groups.values():
        yield table(models, found.environment.cpu.model, found.reference, width)


def table(models: Sequence[TimedModel], cpu: str, reference: str | None, width: int = NARROW) -> "Table":
    from rich.table import Table

    first = models[0].times
    where = cpu if first.device == "cpu" else first.providers[0]
    shown = Table(
        title=rich(f"{where}, {threads_and_batch(first.threads, first.batch)}, in ms"),
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    shown.add_column("model", overflow="fold")
    left_out = {"copies in, out": not first.transfers_ms, "energy": not first.energy, COST: not shows_costs(models)}
    known = [column for column in COLUMNS if not left_out.get(column.heading)]
    columns = [column for column in known if width >= NARROW or column.heading in SHOWN_WHEN_NARROW]
    for column in columns:
        shown.add_column(column.heading, justify="right")
    for model in models:
        marked = model.name + ("" if model.times.valid else " (!)")
        shown.add_row(rich(marked), *(column.cell(model) for column in columns))
    notes = [f"times faster than {reference}; in brackets 95 % intervals"] if len(models) > 1 else []
    notes += [COST_SENTENCE] if shows_costs(models) else []
    sizes = dict.fromkeys(text for model in models for text in open_sizes(model.workload.sizes))
    shown.caption = rich("; ".join([*notes, *([f"with {', '.join(sizes)} (--size)"] if sizes else [])])) or None
    return shown


def open_sizes(sizes: "Mapping[str, int]") -> list[str]:
    """Return the sizes of open dimensions as ``--size`` takes them."""
    return [f"{name}={size}" for name, size in sizes.items()]


def threads_and_batch(threads: int, batch: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}, batch {batch}"
