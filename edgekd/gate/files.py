"""The networks' files in a folder next to a baseline: later runs are timed in turns with them."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError
from edgekd.files import is_file, make_folder, read_object, sha256_file, storage, write_bytes
from edgekd.gate.evidence import NAMED, folder_of
from edgekd.gate.row import GateRow
from edgekd.records.rows import rows_of_deployed

OWN = re.compile(r"[0-9a-f]{16}\.onnx")


def has_files(baseline: Path) -> bool:
    """Return whether networks' files were kept next to ``baseline``."""
    return any(OWN.fullmatch(path.name) for path in folder_of(baseline).glob("*.onnx"))


def keep_files(run: Path, baseline: Path) -> list[Path]:
    """Copy the deployed network's files from the run in the folder ``run`` to :func:`folder_of` ``baseline``.

    They are named by their hashes. Files of an earlier baseline stay until :func:`remove_other_files`.

    Raises:
        EdgekdError: the run is not complete, or its report lacks the files' hashes.
    """
    if not run.is_dir():
        raise EdgekdError(f"{run} is no folder, and the networks' files lie in the run's: give that, or leave --files")
    report = read_object(run / "report.json", "give the folder of a finished run")
    rows = [row for row in rows_of_deployed(report) if row.get("file")]
    if not all(row.get("file_sha256") for row in rows):
        raise EdgekdError(f"{run}: its report is of an older edgekd and names no hashes; run the recipe again")
    files = {_name(row["file_sha256"]): _whole(run, row) for row in rows}
    folder = make_folder(folder_of(baseline))
    for name, file in files.items():
        with storage(file):
            content = file.read_bytes()
        write_bytes(folder / name, content)
    return sorted(folder / name for name in files)


def remove_other_files(baseline: Path, kept: Collection[Path]) -> None:
    """Remove the networks' files next to ``baseline`` but those that were ``kept`` for it, once it is written."""
    # What else lies there, such as Git's attributes, is not ours.
    for path in folder_of(baseline).glob("*.onnx"):
        if OWN.fullmatch(path.name) and path not in kept and is_file(path):
            with storage(path):
                path.unlink()


def kept_file(baseline: Path, row: GateRow) -> Path:
    """Return the kept file that ``row`` of the baseline is of.

    Raises:
        EdgekdError: it was not kept, is missing, or is another one.
    """
    wanted = row.file_sha256
    if wanted is None:
        raise EdgekdError(f"{baseline} does not say which file it is of: promote it again, with --files")
    path = folder_of(baseline) / _name(wanted)
    if not path.is_file():
        raise EdgekdError(
            f"{path} is missing: keep it with 'edgekd baseline promote --files', and commit that folder too"
        )
    with storage(path):
        found = sha256_file(path)
    if found != wanted:
        raise EdgekdError(
            f"{path} is not the file that {baseline} is of (sha256 {found[:12]}, not {wanted[:12]}): where Git LFS "
            "keeps it, 'git lfs pull'; else promote the baseline again, with --files"
        )
    return path


def _name(digest: str) -> str:
    return f"{digest[:NAMED]}.onnx"


def _whole(run: Path, row: Mapping[str, Any]) -> Path:
    file = run / row["file"]
    if not file.is_file() or sha256_file(file) != row["file_sha256"]:
        raise EdgekdError(f"{file}: is missing, or not as the run left it; run the recipe again")
    return file
