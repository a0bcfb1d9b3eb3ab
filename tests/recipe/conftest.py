from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.errors import RecipeError
from edgekd.recipe import load_recipe

SMALL = """\
name: small
data: {source: digits}
teacher: {model: resnet8, train: {epochs: 1}}
student: {model: small_cnn}
stages:
  - distill
  - prune: {macs: 0.5}
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a recipe into the current directory, so that messages call it by its bare name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes = SMALL, name: str = "r.yaml") -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def complaint(write: Callable[..., Path]) -> Callable[..., str]:
    """What loading a recipe's text complains about."""

    def complaint(text: str | bytes = SMALL, *overrides: str) -> str:
        with pytest.raises(RecipeError) as error:
            load_recipe(write(text), overrides)
        return str(error.value)

    return complaint
