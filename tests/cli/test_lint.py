import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console

from edgekd.cli.lint import load, table
from edgekd.cli.workloads import Wanted, onnx_file, workload
from edgekd.lint import lint as lint_model
from tests.lint.graphs import U8, Net, clean


@pytest.fixture
def half(tmp_path):
    """Two convolutions of the same size, one of them in int8."""
    net = Net()
    y = net.pair(net.conv(net.pair("x"), name="one"))
    onnx.save(net.model(net.conv(y, name="[two]")), tmp_path / "half.onnx")
    return tmp_path / "half.onnx"


def test_a_line_for_each_layer_and_one_for_the_whole(edgekd, half):
    outcome = edgekd("lint", half, "--target", "onnxruntime-x86-vnni")
    assert (outcome.code, outcome.err) == (0, "")
    two = next(line for line in outcome.out.splitlines() if "[two]" in line)
    assert two.split()[:6] == ["[two]", "Conv", "147", "k", "float", "output_float"]
    whole, confirmed = outcome.out.splitlines()[-2:]
    assert whole == "50.0 % of the MACs of convolutions and matrix products in int8: 1 of 2 layers"
    assert confirmed.startswith("confirmed by ONNX Runtime")


def test_the_rules_come_before_the_layers(edgekd, half):
    outcome = edgekd("lint", half, "--target", "onnxruntime-x86-vnni", "--no-confirm")
    assert outcome.out.startswith("output_float (float): 1 of 2 layers; put a QuantizeLinear behind it, alone\n")


def test_a_file_that_is_not_quantised_is_said_once(edgekd, tmp_path):
    net = Net()
    weight = net.constant(np.ones((16, 16, 3, 3)), np.float32)
    onnx.save(net.model(net.conv(net.conv("x", weight), weight)), tmp_path / "float.onnx")
    outcome = edgekd("lint", tmp_path / "float.onnx", "--target", "tensorrt", "--min-coverage", "0.5")
    assert outcome.code == 2
    assert outcome.out.count("this file is not quantised") == 1
    assert len(outcome.out.splitlines()) == 3


def test_a_narrow_terminal_keeps_names_whole(half):
    found = lint_model(load(half), "onnxruntime-x86-vnni", confirm=False)
    file = io.StringIO()
    Console(width=80, file=file).print(table(found, "half.onnx", wide=False))
    assert "output_float" in file.getvalue()
    assert max(map(len, file.getvalue().splitlines())) <= 80


def test_json(edgekd, half):
    document = json.loads(edgekd("lint", half, "--target", "onnxruntime-arm", "--json", "--no-confirm").out)
    assert (document["coverage"], document["coverage_of"], document["not_confirmed"]) == (0.5, "MACs", "not asked")
    one, two = document["layers"]
    assert (one["int8"], one["rule"], one["confirmed"]) == (True, None, None)
    assert (two["int8"], two["rule"], two["findings"][0]["effect"]) == (False, "output_float", "float")
    assert document["model"] == str(half)


@pytest.mark.parametrize(("least", "code"), [("0.5", 0), ("0.51", 2)])
def test_coverage_below_the_least(edgekd, half, least, code):
    assert edgekd("lint", half, "--target", "onnxruntime-arm", "--min-coverage", least).code == code


def test_a_file_that_tensorrt_refuses(edgekd, tmp_path):
    onnx.save(clean(U8(128), bias="float"), tmp_path / "affine.onnx")
    outcome = edgekd("lint", tmp_path / "affine.onnx", "--target", "tensorrt", "--min-coverage", "0.9")
    assert outcome.code == 2
    assert "tensorrt refuses this file: nothing of it runs" in outcome.out
    assert outcome.out.splitlines()[-1] == "not confirmed: tensorrt refuses the file by rule, so it was not asked"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.onnx", "--target", "tensorrt"], "no such file: nowhere.onnx"),
        (["text.onnx", "--target", "tensorrt"], "text.onnx is no ONNX file"),
        (["empty.onnx", "--target", "tensorrt"], "empty.onnx is no ONNX file"),
        (["half.onnx", "--target", "tensort"], "unknown target of the linter 'tensort' (did you mean 'tensorrt'?)"),
        (["half.onnx"], "Missing option '--target'"),
        (["half.onnx", "--target", "tensorrt", "--min-coverage", "90"], "Invalid value for '--min-coverage'"),
    ],
)
def test_bad_input_is_one_line(edgekd, half, monkeypatch, arguments, message):
    monkeypatch.chdir(half.parent)
    (half.parent / "text.onnx").write_text("no graph")
    (half.parent / "empty.onnx").touch()
    outcome = edgekd("lint", *arguments)
    assert (outcome.code, outcome.out) == (1, "")
    [line] = outcome.err.splitlines()
    assert message in line


def test_it_starts_without_torch_and_without_a_runtime():
    code = "import sys, edgekd.lint, edgekd.cli.lint; print({'torch', 'onnx', 'onnxruntime'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"


def test_of_a_bundle_the_file_of_the_target_is_read(tmp_path):
    targets = [
        {"device": "cpu", "runtime": "onnxruntime", "profile": "onnxruntime-x86", "file": "model.cpu.onnx"},
        {"device": "orin", "runtime": "tensorrt", "profile": "tensorrt", "file": "model.orin.onnx"},
    ]
    (tmp_path / "manifest.json").write_text(json.dumps({"model": "model.cpu.onnx", "targets": targets}))
    for name in ("model.cpu.onnx", "model.orin.onnx"):
        (tmp_path / name).touch()
    orin = {"device": "orin", "runtime": "tensorrt"}
    assert onnx_file(tmp_path, Wanted([orin], "orin")).name == "model.orin.onnx"
    assert onnx_file(tmp_path, Wanted([{**orin, "runtime": "onnxruntime"}], "orin")).name == "model.cpu.onnx"
    assert workload(str(tmp_path), "tensorrt", "cpu", place="orin").model.endswith("model.orin.onnx")


def test_of_a_bundle_a_file_that_serves_the_target_is_read_and_named(edgekd, half, tmp_path):
    def packed(model: str, *profiles: str) -> Path:
        folder = tmp_path / "-".join(profiles)
        folder.mkdir()
        targets = [{"profile": each, "file": f"{each}.onnx"} for each in profiles]
        (folder / "manifest.json").write_text(json.dumps({"model": f"{model}.onnx", "targets": targets}))
        for each in profiles:
            (folder / f"{each}.onnx").write_bytes(half.read_bytes())
        return folder

    def linted(folder: Path, target: str) -> tuple[str, str]:
        outcome = edgekd("lint", folder, "--target", target, "--no-confirm", "--json")
        document = json.loads(outcome.out)
        assert document["model"] == str(folder)
        return Path(document["file"]).name, outcome.err

    both = packed("tensorrt", "tensorrt", "onnxruntime-x86")
    # Weights of 7 bits run on processors with VNNI too.
    assert linted(both, "onnxruntime-x86-vnni") == ("onnxruntime-x86.onnx", "")
    name, said = linted(both, "onnxruntime-arm")
    assert name == "tensorrt.onnx" and "is written for onnxruntime-arm; tensorrt.onnx, its model, is read" in said
    # Those of 8 bits saturate on processors without.
    assert (
        "is written for onnxruntime-x86;"
        in linted(packed("onnxruntime-x86-vnni", "onnxruntime-x86-vnni"), "onnxruntime-x86")[1]
    )
