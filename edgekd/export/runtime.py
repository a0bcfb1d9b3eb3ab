"""Outputs of an exported file in a runtime of this machine, and the convolutions that run in int8 there."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgekd.agent.session import Session
from edgekd.bench.plan import Workload
from edgekd.errors import ExportError, MeasurementError
from edgekd.machine_lock import training
from edgekd.runtime import DEFAULT, RUNTIMES, by_session
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.tensors import Inputs, arguments_of


def runtime_logits(
    path: Path, batches: Iterable[Inputs], optimised: bool = True, threads: int = 0, runtime: str = DEFAULT
) -> Tensor:
    """Return the output ``logits`` (N, ...) of the file, or its first if there is none, by :func:`runtime_outputs`."""
    outputs = runtime_outputs(path, batches, optimised, threads, runtime)
    found = (each.get(LOGITS, next(iter(each.values()))) for each in outputs)
    return torch.from_numpy(np.concatenate([each.numpy() for each in found]))


def all_outputs(outputs: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the outputs (N, ...) of all batches together, by name."""
    parts = list(outputs)
    return {name: torch.from_numpy(np.concatenate([each[name].numpy() for each in parts])) for name in parts[0]}


def runtime_outputs(
    path: Path, batches: Iterable[Inputs], optimised: bool = True, threads: int = 0, runtime: str = DEFAULT
) -> Iterator[dict[str, Tensor]]:
    """Yield the outputs of the file by name in ``runtime`` on this machine's CPU, batch by batch.

    Args:
        batches: a tensor each for a file with one input; else tensors in the order of its inputs, or by their names.
        optimised: without optimisations ONNX Runtime computes the operators as the file has them, which checks files
            for other runtimes.
        threads: 0 for as many as the runtime takes by itself.

    Raises:
        ExportError: the runtime cannot load or run the file, or a batch has other inputs.
    """
    session = open_file(path, runtime, optimised, threads)
    for batch in batches:
        feeds = {name: tensor.numpy() for name, tensor in _by_name(batch, session.input_names, path).items()}
        with training():
            found = outputs_of(session, feeds)
        yield {name: torch.from_numpy(array) for name, array in found.items()}


def open_file(path: Path, runtime: str = DEFAULT, optimised: bool = True, threads: int = 0) -> Session:
    """Load the file in ``runtime`` on this machine's CPU, for its outputs.

    Raises:
        ExportError: the runtime cannot load it.
    """
    workload = Workload(str(path), runtime, args={} if optimised else {"optimised": False})
    try:
        session: Session = by_session(runtime).part("session").SESSION(workload, threads, seed=None)
        return session
    except MeasurementError as error:
        raise ExportError(str(error)) from error


def outputs_of(session: Session, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs by name for the inputs ``feeds``, by name too.

    Raises:
        ExportError: the runtime refuses them.
    """
    try:
        return session.outputs(feeds)
    except MeasurementError as error:
        raise ExportError(str(error)) from error


def _by_name(batch: Inputs, names: Sequence[str], path: Path) -> Mapping[str, Tensor]:
    given = batch if isinstance(batch, Mapping) else dict(enumerate(arguments_of(batch)))
    if len(given) != len(names) or (isinstance(batch, Mapping) and set(given) != set(names)):
        raise ExportError(f"{path} takes {', '.join(names)}; the batch has {', '.join(map(str, given))}")
    return dict(zip(names, given.values(), strict=True)) if given is not batch else batch


def float_convolutions(path: Path, runtime: str = DEFAULT) -> tuple[list[str], int]:
    """Return the names of the convolutions that ``runtime`` computes in float here, and the number of all of them.

    Raises:
        ExportError: the runtime cannot load the file.
    """
    found: tuple[list[str], int] = RUNTIMES[runtime].part("confirm").float_convolutions(path)
    return found
