"""Where samples come from: ``load_data(Data(source="digits"), seed=0)`` gives train, validation and test."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekd.data.dataset import DataSet as DataSet
    from edgekd.data.dataset import load_data as load_data
    from edgekd.data.options import Data as Data
    from edgekd.data.samples import InMemory as InMemory
    from edgekd.data.samples import Samples as Samples
    from edgekd.data.samples import Streamed as Streamed
    from edgekd.data.samples import in_order as in_order

# Recipes import the options of this room, and no PyTorch.
EXPORTS = {
    "dataset": ("DataSet", "load_data"),
    "options": ("Data",),
    "samples": ("InMemory", "Samples", "Streamed", "in_order"),
}


def __getattr__(name: str) -> Any:
    for module, names in EXPORTS.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
