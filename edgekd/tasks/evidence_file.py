"""Evidence on disk, for comparisons in pairs later: a .npz with an array ``METRIC.FIELD`` for each field.

Reports and baselines name such files by path and hash. Both may come from strangers.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import TYPE_CHECKING

from edgekd.errors import DataError, first_line
from edgekd.files import require_file, sha256, sha256_file, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from edgekd.tasks.metric import Evidence, Metric

# NumPy is imported where it is used, as in :mod:`edgekd.tasks.metric`.


@dataclass(frozen=True)
class EvidenceFile:
    """A file of evidence as a report or a baseline names it: ``file`` is relative to its folder."""

    file: str
    sha256: str

    def to_json(self) -> dict[str, str]:
        return {"file": self.file, "sha256": self.sha256}


def compared_by_file(metrics: Iterable[Metric]) -> list[Metric]:
    """Return the metrics whose evidence is kept in a file; of the others a row holds one bit for each sample."""
    return [metric for metric in metrics if metric.test == "bootstrap"]


def write_evidence(path: Path, evidence: Mapping[str, Evidence]) -> str:
    """Write evidence by the names of its metrics, and return the file's SHA-256; the same evidence has the same bytes.

    Raises:
        StorageError: ``path`` cannot be written.
    """
    from io import BytesIO

    import numpy as np

    arrays = {
        f"{metric}.{field}": np.asarray(rows)
        for metric, each in evidence.items()
        for field, rows in each.arrays().items()
    }
    archive = BytesIO()
    np.savez(archive, allow_pickle=False, **arrays)
    content = archive.getvalue()
    write_bytes(path, content)
    return sha256(content)


def read_evidence(folder: Path, named: EvidenceFile, metrics: Iterable[Metric], advice: str) -> dict[str, Evidence]:
    """Read the evidence of ``metrics`` from a file that a report or a baseline in ``folder`` names.

    Raises:
        DataError: the file is missing, outside of the folder, not the one that was named, or holds no such evidence;
            the message ends with ``advice``.
    """
    path = folder / named.file
    try:
        # A folder on the way may be a link, as those of a run's results may be: the hash says what is behind it.
        if not is_below(named.file):
            raise DataError(f"{path} is outside of {folder}")
        found = sha256_file(require_file(path, DataError))
        if found != named.sha256:
            raise DataError(
                f"{path} is not the evidence that was kept (sha256 {found[:12]}, not {named.sha256[:12]}; where Git "
                "LFS keeps it, 'git lfs pull')"
            )
        return {metric.name: _read(path, metric) for metric in metrics}
    except DataError as error:
        raise DataError(f"{error}; {advice}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {first_line(error)}; {advice}") from error


def is_below(name: str) -> bool:
    """Return whether ``name`` is of a file in a folder or further below, as far as words say it."""
    path = PurePath(name)
    return not path.is_absolute() and ".." not in path.parts


def _read(path: Path, metric: Metric) -> Evidence:
    from edgekd.arrayfiles import read_npz

    kind = metric.evidence_type()
    names = {f"{metric.name}.{field.name}": field.name for field in fields(kind)}  # type: ignore[arg-type]
    arrays = read_npz(path, list(names))
    if single := next((name for name, rows in arrays.items() if not rows.ndim), None):
        raise DataError(f"{path}: {single} is a single value, not a row for each sample")
    try:
        return kind(**{names[name]: rows for name, rows in arrays.items()})
    except DataError as error:
        raise DataError(f"{path}: {metric.name}: {error}") from error
