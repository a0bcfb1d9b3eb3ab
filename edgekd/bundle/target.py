"""A target of a bundle and the file that is for it. Standard library only, as for all of the manifest."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgekd.errors import BundleError
from edgekd.nearest import among
from edgekd.runtime import architecture_of

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

    @property
    def is_for_this_processor(self) -> bool:
        """Tell whether the file is surely for a processor like this machine's."""
        theirs, here = self.processor.split(" ")[0], platform.machine()
        return (architecture_of(theirs) or theirs) == (architecture_of(here) or here)

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def target_named(name: str, targets: Sequence[BundleTarget]) -> BundleTarget:
    """Return the target ``name``.

    Raises:
        BundleError: there is none, with the names of those there are.
    """
    known = {each.name: each for each in targets}
    if not known:
        raise BundleError(f"target {name!r}: the bundle names no targets; leave the target out")
    if name not in known:
        raise BundleError(f"the bundle has no target {name!r}{among(name, known)}")
    return known[name]


def file_for(name: str) -> str:
    """Return the name of the file in a bundle that is for the target ``name``."""
    return f"model.{name}.onnx"
