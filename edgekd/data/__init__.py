"""Where samples come from: ``load_data(Data(source="digits"), seed=0)`` gives train, validation and test."""

from edgekd.data.dataset import DataSet, load_data
from edgekd.data.samples import InMemory, Samples, Streamed, in_order

__all__ = ["DataSet", "InMemory", "Samples", "Streamed", "in_order", "load_data"]
