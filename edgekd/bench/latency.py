"""How long ONNX files take, in turns, in this process; :mod:`edgekd.bench.isolate` gives them another."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from edgekd.bench.caution import Caution
from edgekd.bench.clock import Nanoseconds, is_steady
from edgekd.bench.compare import MIN_ROUNDS, interleave, ratio_to, summarise
from edgekd.bench.environment import Neighbours, affinity, governor_cautions, usable_cpus
from edgekd.bench.records import LatencyRecord
from edgekd.bench.session import OnnxSession
from edgekd.bench.statistics import relative_spread
from edgekd.errors import MeasurementError

WIDE = 0.1
DRIFT = 0.05


def compare_models(
    paths: Mapping[str, Path],
    reference: str | None = None,
    threads: int = 1,
    seconds: float = 5.0,
    seed: int = 0,
    batch: int = 1,
    shape: tuple[int, ...] | None = None,
) -> dict[str, LatencyRecord]:
    """Times the models in turns, about ``seconds`` each; every one but ``reference`` gets its ratio to it."""
    if reference is not None and reference not in paths:
        raise MeasurementError(f"the reference {reference!r} is not among the models: {', '.join(paths)}")
    sessions = {name: OnnxSession(path, threads, shape=shape) for name, path in paths.items()}
    batches = {name: session.input_shape(batch)[0] for name, session in sessions.items()}
    feeds = {name: session.example(batch, seed) for name, session in sessions.items()}
    first = {name: session.first_run_ms(feeds[name]) for name, session in sessions.items()}
    neighbours = Neighbours()
    runs = {name: partial(session.run, feeds[name]) for name, session in sessions.items()}
    blocks = interleave(runs, seconds, seed=seed)
    around = [*machine_cautions(threads), *neighbours.cautions()]
    ratios = {
        name: ratio_to(blocks[name], blocks[reference], seed)
        for name in paths
        if reference is not None and name != reference
    }
    return {
        name: LatencyRecord(
            latency_ms=summarise(blocks[name]),
            latency_vs_reference=ratios.get(name),
            load_ms=session.load_ms,
            first_ms=first[name],
            threads=threads,
            batch=batches[name],
            cpus=affinity(),
            providers=session.providers,
            raw_ms=[(block / 1e6).tolist() for block in blocks[name]],
            warnings=(*around, *sample_cautions(blocks[name])),
        )
        for name, session in sessions.items()
    }


def machine_cautions(threads: int) -> list[Caution]:
    cautions = governor_cautions()
    if threads > usable_cpus():
        message = f"{threads} threads shared {usable_cpus()} CPUs: this is not their speed; lower --threads"
        cautions.append(Caution("too_few_cpus", message))
    return cautions


def sample_cautions(blocks: list[Nanoseconds]) -> list[Caution]:
    cautions = []
    if len(blocks) < MIN_ROUNDS:
        message = f"{len(blocks)} rounds in the time given, {MIN_ROUNDS} are needed; give more --seconds"
        cautions.append(Caution("too_few_samples", message))
    spread = relative_spread(np.concatenate(blocks))
    if spread > WIDE:
        message = f"the middle half of the runs spreads over {spread:.0%} of the median: no quiet machine"
        cautions.append(Caution("wide_spread", message))
    if not is_steady(np.array([np.median(block) for block in blocks]), DRIFT):
        message = f"the last third of the rounds differs by over {DRIFT:.0%} from the third before it"
        cautions.append(Caution("not_steady", message))
    return cautions
