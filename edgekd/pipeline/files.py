"""One network as the files of the targets' runtimes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto
from torch import nn
from torch.fx import GraphModule

from edgekd.bench.target import TimingTarget
from edgekd.errors import ExportError
from edgekd.export import half, to_onnx
from edgekd.files import write_bytes
from edgekd.preprocess import Preprocess
from edgekd.profiles import PROFILES, must_serve
from edgekd.quantize.files import to_runtime
from edgekd.quantize.placement import (
    NO_BOUNDS,
    Bounds,
    EvidenceOf,
    PlacementResult,
    choose_untimed,
    search_placement,
)
from edgekd.quantize.placement.choice import FLOAT
from edgekd.quantize.placement.search import EVERYTHING
from edgekd.quantize.qdq import to_qdq
from edgekd.spec import Spec
from edgekd.stages.network import quantization_of

ONNX = "model.onnx"
MEASURED = "measured"  # of the recipe's ``placement``


@dataclass(frozen=True)
class RuntimeFile:
    """A file in a folder, and how its placement was found where that was measured."""

    name: str
    profile: str
    precision: str
    placement: PlacementResult | None = None


@dataclass(frozen=True)
class Placing:
    """Which layers of the file for ``profile`` are int8 is measured ``at`` a place, with so many ``threads``.

    Where ``at`` is None nothing can be timed, and the file is all int8 or all float. ``evidence`` gives that of a
    placement's file on the validation samples; ``bounds`` are what it must keep.
    """

    profile: str
    threads: int
    at: TimingTarget | None
    bounds: Bounds = NO_BOUNDS
    evidence: EvidenceOf | None = None


def write_files(
    folder: Path,
    network: nn.Module,
    spec: Spec,
    preprocess: Preprocess,
    classes: Sequence[str],
    profiles: Sequence[str],
    placing: Placing | None = None,
    twin: str | None = None,
) -> list[RuntimeFile]:
    """Write a file for each profile: the first is ``model.onnx``, the others have their profile in the name.

    Args:
        network: as :func:`edgekd.stages.network.restore` gives it.
        profiles: of runtimes.
        placing: where the network asks for measured placement; all of it is int8 where this is left out.
        twin: the name of a further file, the first with all layers in float, where the network asks for that too.

    Raises:
        ExportError: a profile cannot be served from this training.
    """
    write = _Writer(network, spec, preprocess, classes, placing)
    files = []
    for index, profile in enumerate(profiles):
        model, precision, placed = write(profile)
        name = ONNX if index == 0 else f"model-{profile}.onnx"
        write_bytes(folder / name, model.SerializeToString(deterministic=True))
        files.append(RuntimeFile(name, profile, precision, placed))
    if twin and write.is_measured:
        write_bytes(folder / twin, write(profiles[0], EVERYTHING)[0].SerializeToString(deterministic=True))
    return files


class _Writer:
    """Exports the network once, and makes each runtime's file of that."""

    def __init__(
        self,
        network: nn.Module,
        spec: Spec,
        preprocess: Preprocess,
        classes: Sequence[str],
        placing: Placing | None,
    ):
        self.network, self.placing = network, placing
        self.quantization = quantization_of(spec)
        self.exported: ModelProto = (
            to_qdq(network, preprocess, classes, inputs=spec.inputs)
            if isinstance(network, GraphModule)
            else to_onnx(network, preprocess, classes, inputs=spec.inputs)
        )

    @property
    def is_measured(self) -> bool:
        return isinstance(self.network, GraphModule) and self.quantization.placement == MEASURED

    def __call__(self, profile: str, in_float: tuple[str, ...] = ()) -> tuple[ModelProto, str, PlacementResult | None]:
        if not isinstance(self.network, GraphModule):
            is_half = self.quantization.precision == "float16" or PROFILES.find(profile).float16
            return (half(self.exported), "float16", None) if is_half else (self.exported, "float32", None)
        trained = self.quantization.profile
        assert trained is not None
        must_serve(trained, profile)
        placed = self._placed(profile)
        keep_float = placed.keep_float if placed else in_float
        model = to_runtime(self.exported, self.network, trained, profile, keep_float)
        return model, "float32" if placed and placed.chosen == FLOAT else "int8", placed

    def _placed(self, profile: str) -> PlacementResult | None:
        how = self.placing
        if how is None or how.profile != profile or not self.is_measured:
            return None
        if how.at is None:
            return choose_untimed(self.exported, profile, how.bounds, how.evidence)
        return search_placement(
            self.exported, profile, threads=how.threads, bounds=how.bounds, evidence=how.evidence, at=how.at
        )


def served(trained: str | None, wanted: Sequence[str]) -> list[str]:
    """Return those of ``wanted`` that a network trained for ``trained`` has files for, else one that it does have."""
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
