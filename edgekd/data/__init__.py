"""Data sets: ``load_data(Data(source="digits"), seed=0)``."""

from typing import TYPE_CHECKING

from edgekd.lazy import exporter

if TYPE_CHECKING:
    from edgekd.data.dataset import DataSet as DataSet
    from edgekd.data.dataset import load_data as load_data
    from edgekd.data.options import Data as Data
    from edgekd.data.samples import InMemory as InMemory
    from edgekd.data.samples import Samples as Samples
    from edgekd.data.samples import Streamed as Streamed
    from edgekd.data.samples import in_order as in_order

# Recipes import the options of this room, and no PyTorch.
__getattr__ = exporter(
    __name__,
    {
        "dataset": ("DataSet", "load_data"),
        "options": ("Data",),
        "samples": ("InMemory", "Samples", "Streamed", "in_order"),
    },
)
