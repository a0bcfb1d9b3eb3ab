import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from edgekd.bundle.pack import pack
from edgekd.bundle.predict import Predictor
from edgekd.bundle.verify import verify
from edgekd.cli.bundle import app as bundle_app
from edgekd.cli.predict import predict as predict_command
from edgekd.errors import BundleError, DataError

from .models import golden_of, linear_model

RUN = CliRunner()


def test_it_predicts_what_is_in_the_picture(bundle: Path, draw: Callable[[str], Path]) -> None:
    found = Predictor(bundle).predict([draw("left"), draw("right"), draw("dark")])
    assert [each["label"] for each in found] == ["left", "right", "dark"]
    assert found[0]["file"].endswith("left.png")
    # left: mean 0 of the whole, +1 on the left, -1 on the right, times 0.99
    expected = np.exp([0, 0.99, -0.99]) / np.exp([0, 0.99, -0.99]).sum()
    assert np.isclose(found[0]["probability"], expected[1], atol=1e-6)
    assert [best["label"] for best in found[0]["top"]] == ["left", "dark", "right"]
    assert np.isclose(sum(best["probability"] for best in found[0]["top"]), 1)


def test_a_damaged_picture_is_named(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "part.png").write_text("no")
    with pytest.raises(DataError, match=r"part\.png"):
        Predictor(bundle).predict([tmp_path / "part.png"])


def test_a_changed_bundle_does_not_run(bundle: Path) -> None:
    (bundle / "labels.txt").write_text("other\n")
    with pytest.raises(BundleError, match=r"labels\.txt"):
        Predictor(bundle)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_is_filled_up(parts: dict[str, Any], tmp_path: Path, batch: int) -> None:
    model = linear_model(tmp_path / "fixed.onnx", batch)
    fed, got = golden_of(model, 6)
    parts |= {"models": {"float32": model}, "golden": (fed[:5], got[:5])}
    predictor = Predictor(pack(tmp_path / "bundle", **parts))
    assert predictor.self_test().passed and predictor.self_test().n == 5
    assert np.allclose(predictor.run(fed[:4]), got[:4])


def test_the_self_test(bundle: Path) -> None:
    result = Predictor(bundle).self_test()
    assert result.passed and result.same_class == result.judged <= result.n == 4
    assert result.max_abs_difference < 1e-6


def spoil(bundle: Path, **self_test: Any) -> Predictor:
    predictor = Predictor(bundle)
    predictor.manifest = dataclasses.replace(predictor.manifest, self_test=self_test)
    return predictor


def test_the_self_test_fails_on_other_outputs(bundle: Path) -> None:
    predictor = Predictor(bundle)
    run = predictor.run
    predictor.run = lambda batch: run(batch) + 10  # type: ignore[method-assign]
    shifted = predictor.self_test()
    assert not shifted.passed and shifted.same_class == shifted.judged
    predictor.run = lambda batch: run(batch)[:, ::-1]  # type: ignore[method-assign]
    assert not predictor.self_test().passed


def test_classes_closer_than_the_tolerance_are_not_judged(bundle: Path) -> None:
    assert spoil(bundle, tolerance=1e9).self_test().judged == 0
    with pytest.raises(BundleError, match="self-test"):
        spoil(bundle).self_test()


def test_command_verify(bundle: Path) -> None:
    done = RUN.invoke(bundle_app, ["verify", str(bundle)], catch_exceptions=False)
    assert done.output == "ok: halves, 9 files as packed\n"
    done = RUN.invoke(bundle_app, ["verify", str(bundle), "--json", "--self-test"], catch_exceptions=False)
    assert json.loads(done.output)["self_test"]["passed"] is True
    (bundle / "labels.txt").unlink()
    with pytest.raises(BundleError, match=r"labels\.txt is missing"):
        RUN.invoke(bundle_app, ["verify", str(bundle)], catch_exceptions=False)


def test_command_show(bundle: Path) -> None:
    text = RUN.invoke(bundle_app, ["show", str(bundle)], catch_exceptions=False).output
    assert "input  input  FP32 [-1, 1, 8, 8]" in text and "labels  dark, left, right" in text
    assert "| quantized |" in text
    shown = json.loads(RUN.invoke(bundle_app, ["show", str(bundle), "--json"], catch_exceptions=False).output)
    assert shown == json.loads(json.dumps(dataclasses.asdict(verify(bundle))))


def test_command_predict(bundle: Path, draw: Callable[[str], Path]) -> None:
    app = Typer()
    app.command()(predict_command)
    files = [str(draw("left")), str(draw("right"))]
    text = RUN.invoke(app, [str(bundle), *files, "--top", "2"], catch_exceptions=False).output.splitlines()
    assert text[0].endswith("left.png: left 66.2 %, dark 24.6 %") and len(text) == 2
    found = json.loads(RUN.invoke(app, [str(bundle), *files, "--json"], catch_exceptions=False).output)
    assert [each["label"] for each in found] == ["left", "right"]


def test_the_verify_command_starts_light(bundle: Path) -> None:
    code = (
        "import sys; from edgekd.cli.bundle import app; app(['verify', sys.argv[1]], standalone_mode=False);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'onnx', 'onnxruntime')))"
    )
    subprocess.run([sys.executable, "-c", code, bundle], check=True, timeout=30)
