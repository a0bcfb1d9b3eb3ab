"""Evidence of a baseline's networks, in files next to it that are named by their hashes."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError
from edgekd.files import is_file, read_object, reason_of, sha256, storage, write_bytes
from edgekd.gate.row import GateRow
from edgekd.tasks.evidence_file import EvidenceFile

NAMED = 16  # digits of the hash
OWN = re.compile(r"[0-9a-f]{16}\.npz")


def folder_of(baseline: Path) -> Path:
    """Return the folder of the baseline's files, which need not exist."""
    return baseline.with_name(f"{baseline.stem}-files")


def keep_evidence(rows: Mapping[str, GateRow], folder: Path | None, baseline: Path) -> dict[str, GateRow]:
    """Copy the files that ``rows`` name in ``folder`` next to ``baseline``, and return rows that name those.

    Raises:
        EdgekdError: a file is missing or has changed since it was read.
    """
    return {
        place: row if row.evidence is None else replace(row, evidence=_copied(row.evidence, folder, baseline))
        for place, row in rows.items()
    }


def named_evidence(baseline: Path) -> set[str]:
    """Return the files next to it that a baseline names; none where there is no baseline that can be read."""
    try:
        rows = read_object(baseline, "").get("rows")
    except EdgekdError:
        return set()
    named = (row.get("evidence") for row in _tables(rows))
    return {str(each.get("file")) for each in named if isinstance(each, Mapping)}


def _tables(table: object) -> list[Mapping[str, Any]]:
    return [each for each in table.values() if isinstance(each, Mapping)] if isinstance(table, Mapping) else []


def remove_evidence(baseline: Path, names: set[str]) -> None:
    """Remove those of the files ``names`` that :func:`keep_evidence` wrote next to ``baseline``."""
    for name in sorted(names):
        path = baseline.parent / name
        if path.parent == folder_of(baseline) and OWN.fullmatch(path.name) and is_file(path):
            with storage(path):
                path.unlink()


def _copied(named: EvidenceFile, folder: Path | None, baseline: Path) -> EvidenceFile:
    path = folder_of(baseline) / f"{named.sha256[:NAMED]}.npz"
    source = (folder or Path()) / named.file
    try:
        content = source.read_bytes()
    except OSError as error:
        raise EdgekdError(f"cannot read {source}: {reason_of(error)}; run the recipe again") from error
    if sha256(content) != named.sha256:
        raise EdgekdError(f"{source} has changed since it was read; run the recipe again")
    write_bytes(path, content)
    return EvidenceFile(path.relative_to(baseline.parent).as_posix(), named.sha256)
