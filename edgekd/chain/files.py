"""One network as the files of the targets' runtimes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.fx import GraphModule

from edgekd.artifact import Spec
from edgekd.data import DataSet
from edgekd.errors import ExportError
from edgekd.export import half, to_onnx
from edgekd.export.profile import PROFILES, must_serve
from edgekd.files import write_bytes
from edgekd.quantize.files import to_runtime
from edgekd.quantize.places import to_places
from edgekd.quantize.search import Placed, place

ONNX = "model.onnx"

Accept = Callable[[Path], bool]


@dataclass(frozen=True)
class RuntimeFile:
    """A file in a folder, and how its placement was found where that was measured."""

    name: str
    profile: str
    precision: str
    placement: Placed | None = None

    def to_json(self) -> dict[str, Any]:
        placement = self.placement.to_json() if self.placement else None
        return {"file": self.name, "profile": self.profile, "precision": self.precision, "placement": placement}


def write_files(
    folder: Path,
    network: nn.Module,
    spec: Spec,
    data: DataSet,
    profiles: Sequence[str],
    *,
    threads: int = 1,
    accept: Accept | None = None,
) -> list[RuntimeFile]:
    """The first profile's file is ``model.onnx``; the others have their profile in the name.

    Args:
        network: as :func:`edgekd.chain.network.restore` gives it.
        profiles: of runtimes; a float network has one file for all.
        accept: whether a placement's file is accurate and small enough.

    Raises:
        ExportError: a profile cannot be served from this training.
    """
    if not isinstance(network, GraphModule):
        model = to_onnx(network, data.preprocess, data.classes)
        precision = (spec.quantization or {}).get("precision", "float32")
        if precision == "float16":
            model = half(model)
        write_bytes(folder / ONNX, model.SerializeToString(deterministic=True))
        return [RuntimeFile(ONNX, "float", precision)]
    quantization = spec.quantization or {}
    trained, by_measurement = str(quantization["profile"]), quantization.get("placement") == "measured"
    for profile in profiles:
        must_serve(trained, profile)
    places = to_places(network, data.preprocess, data.classes)
    files = []
    for index, profile in enumerate(profiles):
        here = by_measurement and PROFILES.find(profile).runtime == "onnxruntime" and profile == profiles[0]
        placed = place(places, profile, threads=threads, accept=accept) if here else None
        name = ONNX if index == 0 else f"model-{profile}.onnx"
        model = to_runtime(places, network, trained, profile, placed.keep_float if placed else ())
        write_bytes(folder / name, model.SerializeToString(deterministic=True))
        files.append(RuntimeFile(name, profile, _precision(profile, placed), placed))
    return files


def _precision(profile: str, placed: Placed | None) -> str:
    if placed is not None and placed.chosen == "float":
        return "float32"
    return "int8"


def served(trained: str | None, wanted: Sequence[str]) -> list[str]:
    """Those of ``wanted`` that a network trained for ``trained`` has files for; one of its own where there are none."""
    if trained is None:
        return list(wanted)
    fitting = [profile for profile in wanted if _serves(trained, profile)]
    if fitting:
        return fitting
    return [profile for profile in PROFILES if _serves(trained, profile)][:1]


def _serves(trained: str, profile: str) -> bool:
    try:
        must_serve(trained, profile)
    except ExportError:
        return False
    return True
