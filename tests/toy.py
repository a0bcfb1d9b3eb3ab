"""A whole chain small enough for a test: digits of 8x8 pixels, two tiny networks, seconds of training."""

from pathlib import Path

import pytest

RECIPE = """\
name: toy
seed: 0
data: {source: digits, train_limit: 400, test_limit: 100, batch_size: 50}
teacher:
  model: small_cnn
  args: {width: 16}
  train: {epochs: 2, lr: 0.1}
student: {model: small_cnn, args: {width: 8}}
stages:
  - distill: {epochs: 2}
  - prune: {macs: 0.6, round_to: 2, check_latency: false, epochs: 1}
  - quantize: {epochs: 1, rungs: [qat], placement: int8}
budget: {accuracy_drop: 100}
"""

SHORT = RECIPE.replace("  - prune: {macs: 0.6, round_to: 2, check_latency: false, epochs: 1}\n", "")


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "toy.yaml"
    path.write_text(text)
    return path


def product_hashes(run: Path) -> dict[str, str]:
    """The sha256 of every network and ONNX file of a run, by its path in the run folder."""
    from edgekd.files import sha256_file

    names = ("model.json", "weights.safetensors", "model.onnx", "metrics.json")
    return {
        str(path.relative_to(run)): sha256_file(path)
        for folder in ("stages", "exports")
        for path in sorted((run / folder).rglob("*"))
        if path.name in names
    }


def brief_measurements(patch: pytest.MonkeyPatch, profiles: bool = False) -> None:
    """Figures that are there and mean nothing; ``profiles`` for layers too, which take seconds."""
    from edgekd.chain import measure

    patch.setattr(measure, "SECONDS", 0.1)
    patch.setattr(measure, "SITTINGS", 2)
    patch.setattr(measure, "PROFILE_RUNS", 2)
    if not profiles:
        patch.setattr(measure, "ends", lambda labels: [])
