"""What a stage's result depends on, as a hash."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekd.data import DataSet
from edgekd.files import canonical_json, sha256, sha256_file
from edgekd.spec import Spec

# Goes up when the same checkpoint would give other weights.
CHECKPOINT_RULE = "averaged weights first"


def stage_key(
    name: str,
    version: int,
    section: dict[str, Any],
    inputs: Sequence[str],
    data: DataSet,
    seed: int,
) -> str:
    """Hash what a stage's result depends on; ``inputs`` are hashes of the networks that it starts from."""
    samples = {"fingerprint": data.fingerprint, "batch_size": data.batch_size, "augment": data.augment}
    return sha256(canonical_json([name, version, section, list(inputs), samples, seed]))


def network_key(spec: Spec, checkpoint: Path | None, new_head: bool = False, checkpoint_key: str | None = None) -> str:
    """Hash a network before its first stage: its builder with the user's code, and what its checkpoint holds."""
    contents = [*spec.code, *([sha256_file(checkpoint)] if checkpoint else [])]
    choices = [
        *(["new head"] if new_head else []),
        *([CHECKPOINT_RULE] if checkpoint else []),
        *([checkpoint_key] if checkpoint_key else []),
    ]
    return sha256(canonical_json([spec.builder_name, spec.args, contents, *choices]))
