"""Records of an exported network: each of its files, with its size and its predictions on the test set."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

from edgekd.export import Parity
from edgekd.pipeline.names import EMULATED, REFERENCE
from edgekd.quantize.placement import PlacementResult
from edgekd.strict_json import JsonObject
from edgekd.tasks.task import Task


@dataclass(frozen=True)
class FileRecord:
    """One file of a network, and what it predicts on the test set.

    Attributes:
        file, predictions: names in the export's folder, of the ONNX file and of a .npy with a row for each sample
            (N, ...), see :meth:`edgekd.tasks.task.Task.to_rows`.
        profile: what the file is written for.
        precision: that of its layers that compute products: int8 where any is.
        placement: how its int8 layers were chosen, where that was by measurement.
        runtime: what gave the predictions.
        parity: how far its outputs are from the network's.
        departs_at: the first layer at which the runtime leaves what the file says, looked for where predictions differ.
        int8_coverage: share of the multiply-accumulates in int8, 0..1; None for a network that has none to speak of.
        convolutions, float_convolutions: how many there are, and the names of those that run in float.
        decoder: the options by which the task decodes the file's outputs, chosen on the validation samples.
        details: the task's further figures of the predictions, see :meth:`edgekd.tasks.task.Task.details`.
    """

    file: str
    profile: str
    precision: str
    placement: PlacementResult | None
    runtime: str
    predictions: str
    parity: Parity
    departs_at: str | None
    size_bytes: int
    operators: Mapping[str, int]
    int8_coverage: float | None
    convolutions: int
    float_convolutions: Sequence[str]
    decoder: JsonObject = field(default_factory=dict)
    details: JsonObject = field(default_factory=dict)

    @property
    def ran_in(self) -> str:
        """Return the runtime that gave the predictions, of emulated ones the one that emulated."""
        return REFERENCE if self.runtime == EMULATED else self.runtime

    def fitted(self, task: Task) -> Task:
        """Return the task of the data with this file's decoder."""
        return type(task)(task.names, **self.decoder)

    def to_json(self) -> JsonObject:
        placement = self.placement.to_json() if self.placement else None
        known = {name: value for name, value in asdict(self).items() if name not in ("details", "decoder")}
        decoder = {"decoder": self.decoder} if self.decoder else {}
        return {**known, "placement": placement, **decoder, **self.details}

    @classmethod
    def from_json(cls, document: JsonObject) -> "FileRecord":
        names = {each.name for each in fields(cls)}
        known = {name: value for name, value in document.items() if name in names}
        placement = known.pop("placement")
        return cls(
            **{**known, "parity": Parity(**known["parity"])},
            placement=PlacementResult.from_json(placement) if placement else None,
            details={name: value for name, value in document.items() if name not in names},
        )


@dataclass(frozen=True)
class Evaluation:
    """An exported network: ``files`` with the one that is measured here first, and what it costs on paper.

    ``precision`` is that of the network itself, ``n`` the number of test samples; ``decoder`` is the network's own
    where it has no files.
    """

    files: tuple[FileRecord, ...]
    precision: str
    n: int
    params: int
    macs: int
    decoder: JsonObject = field(default_factory=dict)

    def fitted(self, task: Task) -> Task:
        """Return ``task`` with the decoder of the network."""
        return self.here.fitted(task) if self.files else type(task)(task.names, **self.decoder)

    @property
    def here(self) -> FileRecord:
        """Return the file that is measured on this machine."""
        return self.files[0]

    def written_for(self, profile: str) -> FileRecord | None:
        """Return the file that is written for ``profile``, or None if the network's training serves it none."""
        return next((file for file in self.files if file.profile == profile), None)

    def to_json(self) -> JsonObject:
        """Return the document of earlier versions: the first file's entries and the network's own in one object."""
        here, *others = (file.to_json() for file in self.files)
        network = {"precision_pytorch": self.precision, "n": self.n, "params": self.params, "macs": self.macs}
        return {**here, **network, "others": others}

    @classmethod
    def from_json(cls, document: JsonObject) -> "Evaluation":
        here = dict(document)
        others = here.pop("others")
        precision, n, params, macs = (here.pop(name) for name in ("precision_pytorch", "n", "params", "macs"))
        files = tuple(FileRecord.from_json(each) for each in (here, *others))
        return cls(files, precision, n, params, macs)
