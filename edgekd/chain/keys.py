"""What a stage's result depends on, as a hash."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekd.data import DataSet
from edgekd.files import canonical_json, sha256, sha256_file
from edgekd.models import source_files


def stage_key(
    name: str,
    version: int,
    section: dict[str, Any],
    inputs: Sequence[str],
    data: DataSet,
    seed: int,
) -> str:
    """``inputs`` are hashes of the networks that the stage starts from."""
    samples = {"fingerprint": data.fingerprint, "batch_size": data.batch_size, "augment": data.augment}
    return sha256(canonical_json([name, version, section, list(inputs), samples, seed]))


def network_key(model: str, args: dict[str, Any], checkpoint: Path | None, new_head: bool = False) -> str:
    """Of a network before its first stage: its builder with the user's code, and its checkpoint's content."""
    files = source_files(model)
    name = Path(model).name if files else model
    contents = [sha256_file(path) for path in [*files, *([checkpoint] if checkpoint else [])]]
    return sha256(canonical_json([name, args, contents, *(["new head"] if new_head else [])]))
