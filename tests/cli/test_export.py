"""Files for runtimes from a finished run."""

import json
from pathlib import Path

import onnx
import pytest

from edgekd.pipeline.run import run
from edgekd.recipe import load_recipe
from tests.toy import RECIPE, blank_pictures, fixed_times, write_recipe

TARGETS = ("onnxruntime-x86", "onnxruntime-arm", "tensorrt")


def quick(stage: str) -> str:
    text = RECIPE.replace(
        "  - distill: {epochs: 2}\n  - prune: {macs: 0.6, round_to: 2, check_latency: false, epochs: 1}\n", ""
    )
    text = text.replace("student: {model: small_cnn, args: {width: 8}}\n", "").replace("epochs: 2, lr", "epochs: 1, lr")
    return text.replace("quantize: {epochs: 1, rungs: [qat], placement: int8}", stage)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Quantised for every runtime, and for one."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        fixed_times(patch)
        blank_pictures(patch)
        for profile in ("portable", "onnxruntime-x86"):
            stage = f"quantize: {{epochs: 0, rungs: [ptq], calibration: minmax, placement: int8, profile: {profile}}}"
            run(load_recipe(write_recipe(folder, quick(stage))), folder / profile)
    return folder


def with_targets(*targets: str) -> list[str]:
    return [word for target in targets for word in ("--target", target)]


def test_a_file_for_each_target(edgekd, finished, tmp_path):
    outcome = edgekd("export", finished / "portable", *with_targets(*TARGETS), "--out", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    documents = json.loads(outcome.out)
    assert [each["target"] for each in documents] == list(TARGETS)
    for each in documents:
        path = Path(each["file"])
        assert path == tmp_path / "out" / each["target"] / "model.onnx"
        assert each["size_bytes"] == path.stat().st_size
        assert (each["precision"], each["int8_coverage"]) == ("int8", 1.0)
        onnx.checker.check_model(str(path), full_check=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(TARGETS)


def test_the_same_bytes_as_the_run_wrote(edgekd, finished, tmp_path):
    """And how input is prepared, and the classes, are as they were."""
    edgekd("export", finished / "portable", *with_targets("onnxruntime-x86"), "--out", tmp_path)
    [written] = (finished / "portable" / "exports").glob("01-*/model.onnx")
    again = tmp_path / "onnxruntime-x86" / "model.onnx"
    ours, theirs = (onnx.load(path) for path in (again, written))
    assert ours.metadata_props == theirs.metadata_props
    assert again.read_bytes() == written.read_bytes()


def test_a_stages_own_folder(edgekd, finished, tmp_path):
    """The teacher is a float network, and its file too."""
    [teacher] = (finished / "portable" / "stages").glob("00-teacher-*")
    outcome = edgekd("export", teacher, *with_targets("onnxruntime-x86"), "--out", tmp_path, "--json")
    [document] = json.loads(outcome.out)
    assert (document["precision"], document["int8_coverage"]) == ("float32", 0.0)


def test_what_is_printed(edgekd, finished, tmp_path):
    outcome = edgekd("export", finished / "portable", *with_targets("onnxruntime-x86"), "--out", tmp_path)
    first, *_ = outcome.out.splitlines()
    assert first.startswith(f"onnxruntime-x86: {tmp_path / 'onnxruntime-x86' / 'model.onnx'} (")
    assert "100 % of its MACs in int8" in first or "100.0 % of its MACs in int8" in first


@pytest.mark.parametrize(
    ("profile", "arguments", "message"),
    [
        ("portable", ["--target", "tensort"], "unknown quantisation profile 'tensort' (did you mean 'tensorrt'?)"),
        (
            "portable",
            ["--target", "portable"],
            "portable is a way to train, no runtime; export for ",
        ),
        (
            "onnxruntime-x86",
            ["--target", "tensorrt"],
            "a network quantised for onnxruntime-x86 gives no file for tensorrt: its activations have zero points, "
            "which tensorrt refuses; quantise with 'profile: portable'",
        ),
        ("nowhere", ["--target", "tensorrt"], "holds no network: give a run folder"),
        ("portable", [], "Missing option '--target'"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(edgekd, finished, tmp_path, profile, arguments, message):
    outcome = edgekd("export", finished / profile, *arguments, "--out", tmp_path / "out")
    assert (outcome.code, outcome.out) == (1, "")
    [line] = outcome.err.splitlines()
    assert message in line
    assert not list((tmp_path / "out").rglob("*"))


def test_a_second_export_replaces_the_first_or_says_so(edgekd, finished, tmp_path):
    arguments = ["export", finished / "portable", *with_targets("onnxruntime-x86"), "--out", tmp_path]
    codes = [edgekd(*arguments).code for _ in range(2)]
    assert codes[0] == 0
    assert [path.name for path in (tmp_path / "onnxruntime-x86").iterdir()] == ["model.onnx"]
