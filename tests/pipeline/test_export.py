import json
import os
from pathlib import Path

import onnx
import pytest
import torch

from edgekd.artifact import capture
from edgekd.errors import EdgekdError, ExportError
from edgekd.export import export_onnx, output_parity, runtime_outputs, signature_of
from edgekd.models import build
from edgekd.models.build import code_of
from edgekd.pipeline.export import KEY_DIGITS, export, last_stage
from edgekd.preprocess import Preprocess
from edgekd.spec import MODEL, Spec
from tests.several_tensors import batches, image_and_text


def stage(root: Path, name: str) -> Path:
    folder = root / "stages" / name
    folder.mkdir(parents=True)
    (folder / MODEL).write_text("{}")
    return folder


def test_the_last_stage_of_a_run(tmp_path):
    stage(tmp_path, "00-teacher-aaaa")
    last = stage(tmp_path, "02-quantize-aaaa")
    stage(tmp_path, "01-prune-ffff")
    assert last_stage(tmp_path) == last


@pytest.mark.parametrize("key", ["f" * 64, "0" * 64])
def test_of_a_run_that_was_changed_the_one_that_its_report_names(tmp_path, key):
    for each in ("f", "0"):
        stage(tmp_path, f"02-quantize-{each * KEY_DIGITS}")
    (tmp_path / "report.json").write_text(json.dumps({"stages": [{"name": "quantize", "key": key}]}))
    assert last_stage(tmp_path).name == f"02-quantize-{key[:KEY_DIGITS]}"


@pytest.mark.parametrize("report", ["", "[]", '{"stages": []}', '{"stages": [{"name": "prune", "key": "1"}]}'])
def test_a_report_that_names_none_of_them(tmp_path, report):
    stage(tmp_path, "01-prune-ffff")
    last = stage(tmp_path, "02-quantize-aaaa")
    (tmp_path / "report.json").write_text(report)
    assert last_stage(tmp_path) == last


def test_a_stage_is_its_own(tmp_path):
    given = stage(tmp_path, "00-teacher-aaaa")
    stage(tmp_path, "01-prune-aaaa")
    assert last_stage(given) == given


def test_a_folder_without_a_network(tmp_path):
    with pytest.raises(ExportError, match="holds no network: give a run folder, or a stage's folder"):
        last_stage(tmp_path)


def test_a_damaged_network(tmp_path):
    with pytest.raises(EdgekdError, match="is not a network that edgekd saved, or is damaged"):
        export(stage(tmp_path, "00-teacher-aaaa"), ["onnxruntime-x86"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("lies_there", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_says_nothing_of_the_network(tmp_path, lies_there):
    folder = tmp_path / "stages/00-teacher-aaaa"
    capture(build("small_cnn", (1, 8, 8), 2), Spec("small_cnn", (1, 8, 8), 2, {})).save(folder)
    (tmp_path / "exports/00-teacher-aaaa").mkdir(parents=True)
    lies_there(tmp_path / "exports/00-teacher-aaaa/model.onnx")
    with pytest.raises(ExportError, match="nothing says how its input is prepared"):
        export(folder, ["onnxruntime-x86"], tmp_path / "out")


def test_a_network_of_several_inputs(tmp_path):
    """Its files take them by name, at every length, and are prepared as the run's own files say: not at all."""
    (tmp_path / "net.py").write_text(
        "from tests.several_tensors import ImageAndText\n\n\ndef made(num_classes):\n"
        "    return ImageAndText(classes=num_classes)\n"
    )
    network, signature = image_and_text()
    builder = f"{tmp_path / 'net.py'}:made"
    spec = Spec(builder, (), 4, code=code_of(builder, (), 4, {}, signature), signature=signature)
    capture(network, spec).save(tmp_path / "stages/00-teacher-aaaa")
    beside = tmp_path / "exports/00-teacher-aaaa/model.onnx"
    beside.parent.mkdir(parents=True)
    export_onnx(network, beside, Preprocess("tensors", (), (), ()), "abcd", inputs=signature)
    for written in export(tmp_path, ["onnxruntime-arm", "tensorrt"], tmp_path / "out"):
        model = onnx.load(written.path)
        assert signature_of(model) == signature
        metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
        assert (metadata["edgekd.preprocess"]["kind"], metadata["edgekd.labels"]) == ("tensors", list("abcd"))
        with torch.no_grad():
            ours = [signature.named(network(*each)) for each in batches(signature)]
        found = output_parity(ours, runtime_outputs(written.path, batches(signature)))
        assert list(found) == ["logits", "embedding"]
        assert max(each.max_abs_difference for each in found.values()) < (
            1e-3 if written.target == "tensorrt" else 1e-5
        )


def test_an_unknown_target_before_anything_is_read(tmp_path):
    with pytest.raises(ExportError, match="did you mean 'onnxruntime-arm'"):
        export(tmp_path / "nowhere", ["onnxruntime-arn"], tmp_path / "out")
