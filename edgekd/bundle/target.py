"""A target of a bundle and the file that is for it. Standard library only, as for all of the manifest."""

from dataclasses import asdict, dataclass
from typing import Any

KINDS = dict.fromkeys(("name", "device", "runtime", "processor", "profile", "precision", "file"), str)
NUMBER, FLAG = {"threads": int}, {"measured": bool}


@dataclass(frozen=True)
class BundleTarget:
    """A place where the network runs, and its ``file`` in the bundle.

    Attributes:
        name: of the target in names of files.
        profile: what the file is written for: a runtime's rules for one kind of processor.
        measured: whether the file was timed on the target; its predictions were checked in any case.
        threads: of the runtime, or None where it takes no number of them.
    """

    name: str
    device: str
    runtime: str
    processor: str
    profile: str
    precision: str
    file: str
    measured: bool
    threads: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def file_for(name: str) -> str:
    """Return the name of the file in a bundle that is for the target ``name``."""
    return f"model.{name}.onnx"
