"""The number of threads that a run computes with: it decides the order of sums, and so the last bits of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from edgekd.log import get_logger
from edgekd.pipeline.log import RunLog
from edgekd.train.processors import take_fitting_threads

logger = get_logger(__name__)


@contextmanager
def threads_given_back() -> Iterator[None]:
    """Leave the caller's number of threads as it was."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def hold_threads(log: RunLog) -> None:
    """Compute with as many threads as the run began with, and remember how many these are.

    A run that begins now takes as many as there are free processors, unless the environment says how many.
    """
    began, now = log.threads(), torch.get_num_threads()
    if began is None:
        take_fitting_threads()
        log.write("threads", threads=torch.get_num_threads())
    elif began != now:
        torch.set_num_threads(began)
        logger.info(
            f"going on with {began} CPU threads, as this run began, not {now}: the weights depend on it (--fresh: anew)"
        )
