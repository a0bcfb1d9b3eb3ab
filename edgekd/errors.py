"""The errors that edgekd raises.

A message says what is wrong, where, and what to do next.
"""


class EdgekdError(Exception):
    """Base of all errors that a user can mend; ``exit_code`` is the command's."""

    exit_code = 1


class RecipeError(EdgekdError):
    """The recipe, or a command-line override of it, has an impossible value."""


class DataError(EdgekdError):
    """The data set is missing, damaged, or does not match the recipe."""


class ModelError(EdgekdError):
    """A network cannot be built, loaded, pruned or quantised as asked."""


class TrainingError(EdgekdError):
    """Training went wrong in a way that more of it does not mend."""


class ExportError(EdgekdError):
    """A file for a runtime cannot be written, or does not do what the network does."""


class MeasurementError(EdgekdError):
    """Something cannot be measured as asked."""


class DisturbedError(MeasurementError):
    """Something could not be measured beside what else the machine was doing; another try may succeed."""


class DeviceError(EdgekdError):
    """A device cannot be reached, or does not do what it is asked."""


class UnavailableError(DeviceError):
    """A device cannot be used now, for whatever reason: it is unknown, cannot be reached, was lost, or has no room."""


class ClusterError(EdgekdError):
    """A cluster cannot be reached, refuses, or is not fit for a search."""


class BundleError(EdgekdError):
    """A bundle is changed, incomplete, or not a bundle."""


class StorageError(EdgekdError):
    """The disk refused: full, read-only, no permission, or in use by another run."""


def first_line(error: BaseException) -> str:
    """Return the first line of ``error``, or its type if it has no message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
