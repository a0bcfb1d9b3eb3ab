import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf import text_format

from edgekd.bundle import triton
from edgekd.bundle.manifest import Tensor
from edgekd.bundle.pack import pack
from edgekd.bundle.verify import verify
from edgekd.errors import BundleError
from edgekd.preprocess import Preprocess
from edgekd.tasks.classification import Classification
from tests.power_cut import Disk

TRITON_CLIENT = "tritonclient==2.73.0"


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
    for manifest in (None, '{"name": "my web app"}', "[]", "no JSON"):
        if manifest:
            (tmp_path / "home" / "manifest.json").write_text(manifest)
        with pytest.raises(BundleError, match="not overwritten"):
            pack(tmp_path / "home", **parts)
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"
    assert (tmp_path / "home" / "letter.txt").exists()


def test_a_bundle_is_whole_after_a_power_cut(parts: dict[str, Any], bundle: Path, disk_to_cut: Disk) -> None:
    packed = pack(disk_to_cut.folder / "bundle", **parts)
    disk_to_cut.cut()
    assert contents(packed) == contents(bundle)


def test_the_card_shows_the_figures(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: onnx\n")
    assert "| quantized | onnxruntime | int8 | 97.0 % (96.0–98.0) | 1.10 MB | – | – | – | 4.00× (2.00–5.00) |" in card
    assert "- Decode to grey" in card and "mean [0.5]" in card


def test_licences_are_of_spdx(parts: dict[str, Any], tmp_path: Path) -> None:
    bundle = pack(tmp_path / "own", **parts, licenses={"model": "mit OR LicenseRef-Ours", "data": "cc0-1.0"})
    assert verify(bundle).licenses == {"model": "MIT OR LicenseRef-Ours", "data": "CC0-1.0"}
    card = (bundle / "README.md").read_text()
    assert "license: other\n" in card and "- data: CC0-1.0" in card
    with pytest.raises(BundleError, match="not among model, data"):
        pack(tmp_path / "other", **parts, licenses={"code": "MIT"})


@pytest.mark.parametrize(("role", "steps"), [("float32", 0.25), ("float16", 2.0), ("int8", 12.0)])
def test_the_manifest_states_the_steps(parts: dict[str, Any], tmp_path: Path, role: str, steps: float) -> None:
    fed, got = parts["golden"]
    models = {role: parts["models"]["int8"]}
    stated = verify(pack(tmp_path / "b", **parts | {"models": models})).self_test
    assert stated == {"n": 4, "steps": steps, "step": pytest.approx(float(got.max() - got.min()) / 255)}
    assert verify(pack(tmp_path / "b", **parts, steps=3.0)).self_test["steps"] == 3.0
    with pytest.raises(BundleError, match="golden outputs"):
        pack(tmp_path / "c", **parts | {"golden": (fed, got + 1.1 * stated["step"])}, steps=1.0)
    assert pack(tmp_path / "c", **parts | {"golden": (fed, got + 0.9 * stated["step"])}, steps=1.0).is_dir()


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
        ({"task": Classification(("a", "b"))}, "one logit per label"),
        ({"task": Classification(("a", "b", "c\nd"))}, "one line"),
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


@pytest.mark.slow
def test_triton_config_is_of_tritons_own_schema(bundle: Path, tmp_path: Path) -> None:
    """The schema as NVIDIA generates it, from the client's wheel.

    No dependency: the wheel asks for older ml_dtypes and protobuf than edgekd is tested with. The schema itself needs
    protobuf alone.
    """
    target = tmp_path / "wheel"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, TRITON_CLIENT]
    subprocess.run(pip, check=True)
    spec = importlib.util.spec_from_file_location("model_config_pb2", target / "tritonclient/grpc/model_config_pb2.py")
    schema = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(schema)
    config = text_format.Parse((bundle / "triton/halves/config.pbtxt").read_text(), schema.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("halves", "onnxruntime", 64)
    [taken], [given] = config.input, config.output
    assert (taken.name, taken.data_type, list(taken.dims)) == ("input", schema.TYPE_FP32, [1, 8, 8])
    assert (given.name, list(given.dims), given.label_filename) == ("logits", [3], "labels.txt")
    assert {f"TYPE_{each}" for each in triton.DATATYPES} <= set(schema.DataType.keys())
    with pytest.raises(text_format.ParseError):
        text_format.Parse('name: "a"\ninputs {}', schema.ModelConfig())
    thresholds = '{"thresholds":[0.5]}'
    fixed = triton.config(
        'a "quoted" name', [Tensor("x", "FP16", (1, 4))], [Tensor("y", "INT64", (1, 2))], None, {"decoder": thresholds}
    )
    parsed = text_format.Parse(fixed, schema.ModelConfig())
    [(key, value)] = parsed.parameters.items()
    assert (key.removeprefix("edgekd."), value.string_value) == ("decoder", thresholds)
    assert (parsed.name, parsed.max_batch_size, list(parsed.input[0].dims)) == ('a "quoted" name', 0, [1, 4])
    several = triton.config(
        "several",
        [Tensor("image", "FP32", (-1, 1, 8, 8)), Tensor("tokens", "INT64", (-1, -1))],
        [Tensor("peak", "FP32", (-1,)), Tensor("logits", "FP32", (-1, 3))],
        "labels.txt",
    )
    parsed = text_format.Parse(several, schema.ModelConfig())
    assert [list(each.dims) for each in parsed.input] == [[1, 8, 8], [-1]]
    assert [each.label_filename for each in parsed.output] == ["", "labels.txt"]
    peak = parsed.output[0]
    assert (list(peak.dims), peak.HasField("reshape"), list(peak.reshape.shape)) == ([1], True, [])


def test_triton_config_of_a_fixed_batch() -> None:
    text = triton.config("one", [Tensor("x", "FP32", (1, 4))], [Tensor("y", "FP32", (1, 2))], None)
    assert "max_batch_size: 0" in text and re.findall(r"dims: (.*)", text) == ["[1, 4]", "[1, 2]"]


@pytest.mark.parametrize("name", ["notes.txt", ".git/HEAD", "triton/mine", "golden/.DS_Store"])
def test_somebody_elses_file_in_a_bundle_is_not_lost(
    parts: dict[str, Any], bundle: Path, tmp_path: Path, name: str
) -> None:
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_text("theirs")
    with pytest.raises(BundleError, match="next to a bundle, so it is not overwritten; choose another folder, or move"):
        pack(bundle, **parts | {"name": "second"})
    pack(bundle, **parts, aside=True)
    assert (bundle / name).read_text() == "theirs"  # nothing changed, so nothing had to make way
    pack(bundle, **parts | {"name": "second"}, aside=True)
    assert verify(bundle).name == "second"
    assert (bundle.parent / "edgekd-aside" / bundle.name / name).read_text() == "theirs"


@pytest.mark.parametrize("kind", ["link", "broken link", "file", "damaged manifest"])
def test_what_is_no_bundle_is_refused_or_moved_aside(
    parts: dict[str, Any], bundle: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("theirs")
    elif kind == "damaged manifest":
        bundle.rename(out)
        (out / "manifest.json").write_text("{")
    else:
        out.symlink_to(bundle if kind == "link" else tmp_path / "nowhere")
    stood = out.lstat().st_ino
    with pytest.raises(BundleError, match="exists and is no bundle, so it is not overwritten"):
        pack(out, **parts)
    pack(out, **parts, aside=True)
    assert verify(out) and not out.is_symlink()
    assert (tmp_path / "edgekd-aside" / "out").lstat().st_ino == stood
