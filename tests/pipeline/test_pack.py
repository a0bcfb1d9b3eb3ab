"""A finished run packed again, from its files alone."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgekd.artifact_cache import write_sums
from edgekd.bundle.predict import Predictor
from edgekd.bundle.verify import verify
from edgekd.errors import BundleError
from edgekd.files import sha256_file
from edgekd.pipeline.names import NAMED_SAMPLES, SAMPLES
from edgekd.pipeline.pack import by_label, must_be_images, pack_run, read_samples
from edgekd.preprocess import Preprocess
from tests.bundle.models import named_samples
from tests.bundle.test_pack import contents


@pytest.fixture
def run(toy_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_run, tmp_path / "run"))


def test_the_same_run_packs_to_the_same_bytes(toy_run: Path, tmp_path: Path) -> None:
    bundle = contents(toy_run / "bundle")
    assert contents(pack_run(toy_run, tmp_path / "one")) == bundle
    more = {"raw_input": True, "licenses": {"model": "MIT"}}
    assert contents(pack_run(toy_run, tmp_path / "two", **more)) == contents(pack_run(toy_run, tmp_path / "3", **more))


def test_what_it_was_made_of(toy_run: Path) -> None:
    report = json.loads((toy_run / "report.json").read_text())
    manifest = verify(toy_run / "bundle")
    lineage = manifest.lineage
    assert lineage["recipe"] == {"name": "toy", "sha256": report["recipe_sha256"]}
    assert lineage["data"]["fingerprint"] == report["data"]["fingerprint"]
    keys = {stage["name"]: stage["key"] for stage in report["stages"]}
    assert lineage["teachers"] == [{"model": "small_cnn", "key": keys["teacher"]}]
    assert lineage["stages"] == [{"name": name, "key": keys[name]} for name in ("distill", "prune", "quantize")]
    assert {"edgekd", "python", "torch", "onnx", "onnxruntime", "numpy"} <= set(lineage["tools"])
    assert {row["model"] for row in manifest.measurements} == {"teacher", "quantized"}
    assert not any({"file", "predictions"} & set(row) for row in manifest.measurements)
    assert manifest.licenses == {}


def test_its_files_are_the_runs(toy_run: Path) -> None:
    rows = json.loads((toy_run / "report.json").read_text())["rows"]
    files = {row["model"]: row["file"] for row in rows if row["runtime"] == "onnxruntime"}
    for name, model in (("model.cpu.onnx", "quantized"), ("model.onnx", "pruned")):
        assert sha256_file(toy_run / "bundle" / name) == sha256_file(toy_run / files[model])
    assert Predictor(toy_run / "bundle").self_test().passed


def test_some_golden_samples_are_image_files_too(toy_run: Path, tmp_path: Path) -> None:
    images = sorted((toy_run / "bundle" / "golden").glob("*.pgm"))
    assert [path.name for path in images] == ["image-1.pgm", "image-2.pgm", "image-3.pgm"]
    samples = read_samples(next((toy_run / "exports").glob("*quantized*")) / "model.onnx")
    assert isinstance(samples, np.ndarray)
    for path, place in zip(images, (0, 3, 7), strict=True):
        header, pixels = path.read_bytes()[:11], path.read_bytes()[11:]
        assert header == b"P5\n8 8\n255\n" and pixels == samples[place].tobytes()
    without = pack_run(toy_run, tmp_path / "without", images=False)
    assert not list((without / "golden").glob("image*")) and "Golden images" not in (without / "README.md").read_text()


def test_golden_samples_are_from_all_over_the_test_set(
    toy_run: Path, toy_samples: tuple[np.ndarray, np.ndarray]
) -> None:
    images, _ = toy_samples
    predictor = Predictor(toy_run / "bundle")
    golden = np.load(toy_run / "bundle" / "golden" / "input.npy")
    chosen = np.linspace(0, len(images) - 1, 8).astype(int)
    assert np.array_equal(golden, predictor.preprocess.apply(images[chosen]))


def test_a_stage_licences_a_name_and_a_card(run: Path, tmp_path: Path) -> None:
    said = {"model": "apache-2.0", "data": "CC-BY-4.0 OR LicenseRef-Ours"}
    bundle = pack_run(run, tmp_path / "b", stage="distilled", name="digits", licenses=said, raw_input=True)
    manifest = verify(bundle)
    assert (manifest.name, manifest.model) == ("digits", "model.cpu.onnx")
    assert manifest.licenses == {"model": "Apache-2.0", "data": "CC-BY-4.0 OR LicenseRef-Ours"}
    assert manifest.lineage["network"] == "distilled"
    assert [stage["name"] for stage in manifest.lineage["stages"]] == ["distill"]
    assert "license: apache-2.0\n" in (bundle / "README.md").read_text()
    assert "- data: CC-BY-4.0 OR LicenseRef-Ours" in (bundle / "README.md").read_text()
    assert (pack_run(run, card="# ours\n") / "README.md").read_text() == "# ours\n"


def test_the_file_that_takes_raw_images_answers_the_same(
    toy_run: Path, toy_samples: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    images, _ = toy_samples
    for stage in ("distilled", "quantized"):
        predictor = Predictor(pack_run(toy_run, tmp_path / stage, stage=stage, raw_input=True))
        raw = predictor.run_raw(images.transpose(0, 2, 3, 1))["logits"]
        assert np.allclose(raw, predictor.run(predictor.preprocess.apply(images)), atol=1e-5)


def test_the_card_has_the_verdict_on_the_network_that_was_judged(toy_run: Path, tmp_path: Path) -> None:
    card = (toy_run / "bundle" / "README.md").read_text()
    assert "## Budget\n\n**Budget met.**\n\n- accuracy drop: " in card and "at most 100 points: met (" in card
    assert re.search(r"^## Figures\n\n- .*[0-9]× smaller.*\n", card, re.MULTILINE)
    other = (pack_run(toy_run, tmp_path / "b", stage="distilled", images=False) / "README.md").read_text()
    assert "## Budget" not in other and "## Figures\n\n|" in other


def test_a_run_that_finds_labels_is_packed_with_the_files_own_thresholds(run: Path, tmp_path: Path) -> None:
    """The files of a run of classes, said to be of labels."""
    report, thresholds = json.loads((run / "report.json").read_text()), np.linspace(0.1, 0.9, 10).tolist()
    report |= {"task": "multilabel", "budget": None, "by_class": None}
    for row in report["rows"]:
        del row["right"]
        row |= {"map": row.pop("accuracy"), "map_ci95": row.pop("accuracy_ci95"), "macro_f1": 0.5}
        row["evidence"] = {"file": "evidence.npz", "sha256": "ab" * 32}
    (run / "report.json").write_text(json.dumps({key: value for key, value in report.items() if value is not None}))
    [file] = run.glob("exports/03-*/model.onnx")
    exported = json.loads(file.with_name("metrics.json").read_text())
    file.with_name("metrics.json").write_text(json.dumps({**exported, "decoder": {"thresholds": thresholds}}))
    with pytest.raises(BundleError, match=r"metrics\.json: is not as the run left it"):
        pack_run(run, tmp_path / "b")
    file.with_name("SHA256SUMS").unlink()
    write_sums(file.parent)
    manifest = verify(pack_run(run, tmp_path / "b"))
    assert (manifest.task, manifest.decoder) == ("multilabel", {"thresholds": thresholds})
    assert Predictor(tmp_path / "b").self_test().passed
    assert {"map", "macro_f1"} < set(manifest.measurements[0]) and "evidence" not in manifest.measurements[0]
    assert "| Mean average precision | Macro F1 |" in (tmp_path / "b" / "README.md").read_text()
    # The decoder of another network was never fitted, so it has the usual thresholds.
    assert verify(pack_run(run, tmp_path / "c", stage="distilled")).decoder == {"thresholds": [0.5] * 10}


def test_what_cannot_be_packed_says_why(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="it has teacher, distilled, pruned, quantized"):
        pack_run(run, stage="quantised")
    with pytest.raises(BundleError, match="no SPDX expression"):
        pack_run(run, licenses={"model": "my own"})
    with pytest.raises(BundleError, match="no run has finished"):
        pack_run(tmp_path / "none")
    [file] = run.glob("exports/02-*/model.onnx")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"model\.onnx: is not as the run left it"):
        pack_run(run)
    file.write_bytes(whole)
    sums = file.with_name("SHA256SUMS")
    # An older one wrote no sum of the sums.
    sums.write_text("".join(line for line in sums.read_text().splitlines(True)[1:] if SAMPLES not in line))
    file.with_name(SAMPLES).unlink()
    with pytest.raises(BundleError, match="of an older edgekd"):
        pack_run(run)
    file.unlink()
    with pytest.raises(BundleError, match="is missing"):
        pack_run(run)
    assert verify(run / "bundle")


def test_the_command_needs_no_torch(run: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from edgekd.cli.main import main; sys.argv[0] = 'edgekd'\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    arguments = ["bundle", "pack", run, "--out", tmp_path / "b", "--license", "MIT", "--raw-input", "--json"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "False\n")
    assert {"model.raw.onnx", "model.cpu.onnx", "manifest.json"} <= set(json.loads(done.stdout)["files"])
    assert verify(tmp_path / "b").licenses == {"model": "MIT"}


def test_samples_of_several_inputs_lie_by_name(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    given = named_samples()
    np.savez(file.with_name(NAMED_SAMPLES), **given)
    found = read_samples(file)
    assert isinstance(found, dict) and list(found) == ["image", "tokens"]
    for name, each in given.items():
        np.testing.assert_array_equal(found[name], each, strict=True)
    with pytest.raises(BundleError, match="--raw-input is for images; this network takes several inputs, leave it out"):
        must_be_images(found, Preprocess("tensors", (), (), ()))


def test_a_run_without_a_target_in_the_runtime_of_bundles_is_packed_all_the_same() -> None:
    def row(model: str, runtime: str, file: str | None) -> SimpleNamespace:
        return SimpleNamespace(model=model, runtime=runtime, file=file, precision="int8")

    rows = [row("teacher", "pytorch", None), row("teacher", "tensorrt", "a"), row("student", "tensorrt", "b")]
    found = by_label(SimpleNamespace(rows=rows), Path("run"))
    assert {label: each.file for label, each in found.items()} == {"teacher": "a", "student": "b"}
    rows += [row("teacher", "onnxruntime", "c")]
    assert [each.file for each in by_label(SimpleNamespace(rows=rows), Path("run")).values()] == ["c"]
    with pytest.raises(BundleError, match="no file"):
        by_label(SimpleNamespace(rows=rows[:1]), Path("run"))
