"""The page on bundles: its commands and its Python run as they stand; signing where its tool is installed."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.cli import interrupt
from edgekd.cli.main import main

PAGE = (Path(__file__).parents[1] / "docs" / "bundle.md").read_text()
DIFFERENT = 2


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [text for named, text in found if named == language]


def edgekd_commands() -> list[str]:
    return [line for block in blocks("") for line in block.splitlines() if line.startswith("edgekd ")]


def call(command: str, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


@pytest.fixture
def place(
    toy_run: Path,
    toy_samples: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder with the page's run, photos and test samples."""
    shutil.copytree(toy_run, tmp_path / "runs" / "quickstart")
    (tmp_path / "photos").mkdir()
    images, labels = toy_samples
    for name, image in zip("abc", images, strict=False):
        Image.fromarray(image[0]).save(tmp_path / "photos" / f"{name}.png")
    np.savez(tmp_path / "test.npz", images=images, labels=labels)
    monkeypatch.setattr(interrupt, "leave_on_signal", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run_in_order_and_then_the_python(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = edgekd_commands()
    assert len(commands) == 8
    for command in commands:
        # The bundle with licences and a raw file is another than the run's own.
        assert call(command, monkeypatch) == (DIFFERENT if " diff " in command else 0), command
    capsys.readouterr()
    for text in blocks("python"):
        exec(text, {})
    assert re.fullmatch(r"accuracy [\d.]+ \([\d.]+, [\d.]+\) on 100\n", capsys.readouterr().out)


@pytest.mark.skipif(
    shutil.which("model_signing") is None, reason="'pip install model-signing' brings what is missing here"
)
def test_signing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("edgekd bundle pack runs/quickstart --out parts", monkeypatch) == 0
    block = next(each for each in blocks("sh") if "model_signing" in each)
    lines = [line for line in block.splitlines() if not line.startswith("pip ")]
    assert [line.split()[0] for line in lines] == ["openssl", "openssl", "model_signing", "model_signing"]
    for line in lines:
        subprocess.run(shlex.split(line), check=True)
    labels = place / "parts" / "labels.txt"
    labels.write_bytes(bytes([labels.read_bytes()[0] ^ 1]) + labels.read_bytes()[1:])
    assert subprocess.run(shlex.split(lines[-1])).returncode != 0
