"""The part of all ranks but the first in a run: they train whenever rank 0 does, and leave the rest to it."""

from typing import cast

from edgekd.data import DataSet, load_data
from edgekd.errors import DataError
from edgekd.log import quiet
from edgekd.recipe import Recipe
from edgekd.report.schema import Report
from edgekd.stages.job import FitCall, labels_digest
from edgekd.train import distributed


def train_for_rank_zero(recipe: Recipe) -> Report:
    """Train each time that the first process trains, until it is done with ``recipe``, and return its report.

    Nothing is written. Networks come from the first process; data and code are this machine's own.

    Raises:
        EdgekdError: what the first process raises in a training; or it has ended.
    """
    data: DataSet | None = None
    with quiet():  # one of all processes logs
        while isinstance(sent := distributed.broadcast(cast("FitCall | Report", None)), FitCall):
            # Not before: the first process may have had to fetch it.
            data = data or load_data(recipe.data, recipe.seed, recipe.kind, recipe.decoding)
            _train(sent, data)
    return sent


def _train(call: FitCall, data: DataSet) -> None:
    if labels_digest(data) != call.labels:
        raise DataError(
            f"rank {distributed.rank()} has other training samples in {data.name} than rank 0: give every machine "
            "the same data, at the same path"
        )
    job = call.job(data)
    job.train(job.network, call.how, call.training)
