"""Errors of forward passes, as the inputs that a network does not take."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from edgekd.errors import ModelError, first_line
from edgekd.tasks.tensors import shapes_of


@contextmanager
def must_take(network: nn.Module, inputs: Sequence[Tensor]) -> Iterator[None]:
    """Turn whatever a forward pass in the block raises into an error that names the shapes of ``inputs``.

    Raises:
        ModelError: the network does not take them.
    """
    try:
        yield
    except Exception as error:  # the forward pass is the user's code
        raise ModelError(
            f"{type(network).__name__} does not take inputs of {shapes_of(inputs)}: {first_line(error)}"
        ) from error
