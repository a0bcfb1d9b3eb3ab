import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgekd.bundle import triton
from edgekd.bundle.manifest import Tensor
from edgekd.bundle.pack import pack
from edgekd.bundle.verify import verify
from edgekd.errors import BundleError
from edgekd.preprocess import Preprocess


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_is_in_it(bundle: Path, parts: dict[str, Any]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    found = contents(bundle)
    assert set(found) == {
        "manifest.json", "model.onnx", "model.int8.onnx", "labels.txt", "README.md", "golden/input.npy",
        "golden/output.npy", "triton/halves/config.pbtxt", "triton/halves/labels.txt", "triton/halves/1/model.onnx",
    }  # fmt: skip
    assert {file["path"] for file in manifest["files"]} == set(found) - {"manifest.json"}
    for file in manifest["files"]:
        assert file["sha256"] == hashlib.sha256(found[file["path"]]).hexdigest()
        assert file["bytes"] == len(found[file["path"]])
    assert manifest["model"] == "model.int8.onnx" and manifest["platform"] == "onnxruntime_onnx"
    assert manifest["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    assert manifest["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}]
    assert Preprocess.from_json(manifest["preprocess"]) == parts["preprocess"]
    assert manifest["measurements"] == parts["measurements"] and manifest["lineage"] == parts["lineage"]
    assert found["triton/halves/1/model.onnx"] == found["model.int8.onnx"]
    assert found["labels.txt"] == b"dark\nleft\nright\n"


def test_the_same_parts_give_the_same_bytes(parts: dict[str, Any], bundle: Path, tmp_path: Path) -> None:
    parts["models"] = dict(reversed(parts["models"].items()))
    assert contents(pack(tmp_path / "again", **parts)) == contents(bundle)


def test_packing_again_replaces_a_bundle_and_nothing_else(parts: dict[str, Any], bundle: Path, tmp_path: Path) -> None:
    pack(bundle, **parts | {"name": "second"})
    assert verify(bundle).name == "second" and not (bundle / "triton" / "halves").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(BundleError, match="not overwritten"):
        pack(tmp_path / "home", **parts)
    assert (tmp_path / "home" / "letter.txt").exists()


def test_the_card_shows_the_figures(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: onnx\n")
    assert "| quantized | onnxruntime | int8 | 97.0 % (96.0–98.0) | 1.10 MB | – | – | – | 4.00× (2.00–5.00) |" in card
    assert "- Decode to grey" in card and "mean [0.5]" in card


def test_a_card_of_your_own(parts: dict[str, Any], tmp_path: Path) -> None:
    assert (pack(tmp_path / "own", **parts, card="# mine\n") / "README.md").read_text() == "# mine\n"


def weights_outside(path: Path) -> Path:
    model = onnx.load(path)
    onnx.save_model(model, path, save_as_external_data=True, size_threshold=0, location="w.bin")
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "../up"}, "name"),
        ({"labels": ["a", "b"]}, "one logit per label"),
        ({"labels": ["a", "b", "c\nd"]}, "one line"),
        ({"primary": "float16"}, "not among"),
        ({"models": {}}, "primary"),
        ({"preprocess": Preprocess("image", (3, 8, 8), (0.5,) * 3, (0.5,) * 3)}, r"gives FP32 \[-1, 3, 8, 8\]"),
        ({"measurements": [{"accuracy": float("nan"), "model": "a", "runtime": "b", "precision": "c"}]}, "JSON"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    parts: dict[str, Any], tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(BundleError, match=says):
        pack(tmp_path / "bundle", **parts | change)
    assert not (tmp_path / "bundle").exists()


def test_wrong_golden_outputs_are_refused(parts: dict[str, Any], tmp_path: Path) -> None:
    fed, got = parts["golden"]
    for wrong, says in [(got + 1, "golden outputs"), (got * np.nan, "NaN"), (got[:2], "one logit")]:
        with pytest.raises(BundleError, match=says):
            pack(tmp_path / "bundle", **parts | {"golden": (fed, wrong)})
    assert not list(tmp_path.glob(".bundle*"))


def test_weights_in_another_file_are_refused(parts: dict[str, Any], tmp_path: Path) -> None:
    weights_outside(parts["models"]["int8"])
    with pytest.raises(BundleError, match="inline"):
        pack(tmp_path / "bundle", **parts)


def test_a_file_that_is_no_model_is_refused(parts: dict[str, Any], tmp_path: Path) -> None:
    parts["models"]["int8"].write_bytes(b"not a model")
    with pytest.raises(BundleError, match=r"b\.onnx: not an ONNX file"):
        pack(tmp_path / "bundle", **parts)


def test_triton_config(bundle: Path) -> None:
    assert (bundle / "triton/halves/config.pbtxt").read_text() == (
        'name: "halves"\nplatform: "onnxruntime_onnx"\nbackend: "onnxruntime"\nmax_batch_size: 64\n'
        'input {\n  name: "input"\n  data_type: TYPE_FP32\n  dims: [1, 8, 8]\n}\n'
        'output {\n  name: "logits"\n  data_type: TYPE_FP32\n  dims: [3]\n  label_filename: "labels.txt"\n}\n'
    )


def test_triton_config_of_a_fixed_batch() -> None:
    text = triton.config("one", [Tensor("x", "FP32", (1, 4))], [Tensor("y", "FP32", (1, 2))], None)
    assert "max_batch_size: 0" in text and re.findall(r"dims: (.*)", text) == ["[1, 4]", "[1, 2]"]
