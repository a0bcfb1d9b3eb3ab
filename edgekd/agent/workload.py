"""A model to time, and the runtime and device that run it, as plain data that can be sent to another machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

from edgekd.errors import MeasurementError
from edgekd.ranges import COUNT


@dataclass(frozen=True)
class Workload:
    """A model, and the runtime and device that run it.

    ``model`` is a file that the runtime loads by itself; for PyTorch ``path.py:function``, which gives the network.
    ``shape`` is the shape of the first input, batch included, where the model leaves it open. ``sizes`` are those of
    open dimensions that an ONNX file names; of others the size of its signature's examples is taken, or 1.
    ``signature`` is that of a PyTorch network with several inputs, as JSON.
    """

    model: str
    runtime: str = "onnxruntime"
    device: str = "cpu"
    shape: tuple[int, ...] | None = None
    precision: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    signature: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for size in self.shape or ():
            COUNT.check(MeasurementError, shape=size)
        COUNT.check(MeasurementError, **self.sizes)

    def to_json(self) -> dict[str, Any]:
        left_out = {key for key in ("sizes", "signature") if not getattr(self, key)}
        return {key: value for key, value in asdict(self).items() if key not in left_out}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Workload:
        shape = document.get("shape")
        return cls(**{**document, "shape": None if shape is None else tuple(shape)})
