"""Weights beside an ONNX file are found by what the graph says, not by what files are called."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from edgekd.errors import ModelError
from edgekd.external import external_files
from edgekd.lint.graph import LintGraph, macs_of

WEIGHT = np.ones((4, 3, 3, 3), np.float32)


def outside(name: str, location: str, **where: int) -> TensorProto:
    tensor = numpy_helper.from_array(WEIGHT, name)
    set_external_data(tensor, location, **where)
    tensor.ClearField("raw_data")
    return tensor


def model(weights: list[TensorProto], dims: tuple[int | str, ...] = (1, 3, 8, 8), nodes: tuple = ()) -> onnx.ModelProto:
    conv = helper.make_node("Conv", ["x", weights[0].name], ["y"], pads=[1] * 4)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, each) for name, each in (("x", dims), ("y", None))]
    graph = helper.make_graph([conv, *nodes], "g", ends[:1], ends[1:], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    return made


def with_weights_outside(path: Path, *locations: str) -> tuple[Path, list[Path]]:
    """The model and the files of its weights."""
    path.write_bytes(model([outside(f"w{n}", name) for n, name in enumerate(locations)]).SerializeToString())
    files = [path.parent / name for name in dict.fromkeys(locations)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(WEIGHT.tobytes())
    return path, files


@pytest.mark.parametrize(
    "locations",
    [
        ["weights.bin"],
        ["net.onnx.data"],
        ["a.bin", "b.bin"],
        ["a.bin", "a.bin"],
        ["deep/er/w"],
        ["./w.bin"],
        ["name, odd"],
    ],
)
def test_whatever_the_files_are_called(tmp_path, locations):
    path, files = with_weights_outside(tmp_path / "net.onnx", *locations)
    (tmp_path / "net.onnx_data").write_bytes(b"of another model")
    assert external_files(path, ModelError) == tuple(files)


def test_weights_in_attributes_and_subgraphs(tmp_path):
    constant = helper.make_node("Constant", [], ["c"], value=outside("c", "c.bin"))
    inner = helper.make_graph([constant], "inner", [], [], [outside("v", "v.bin")])
    branch = helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner)
    (tmp_path / "net.onnx").write_bytes(model([outside("w", "w.bin")], nodes=(branch,)).SerializeToString())
    for name in "cvw":
        (tmp_path / f"{name}.bin").write_bytes(WEIGHT.tobytes())
    found = external_files(tmp_path / "net.onnx", ModelError)
    assert {path.name for path in found} == {"c.bin", "v.bin", "w.bin"}


@pytest.mark.parametrize("location", ["w" * 5000, "w" * 300 + "/w", "nul\0"])
def test_a_name_that_no_file_can_have(tmp_path, location):
    path = tmp_path / "net.onnx"
    path.write_bytes(model([outside("w", location)]).SerializeToString())
    with pytest.raises(ModelError, match="keeps weights in a missing file: .{1,100}; put it next to the model"):
        external_files(path, ModelError)


def test_a_length_of_more_digits_than_a_number_has(tmp_path):
    path, _ = with_weights_outside(tmp_path / "net.onnx", "w.bin")
    made = onnx.load(path, load_external_data=False)
    made.graph.initializer[0].external_data.add(key="length", value="9" * 5000)
    path.write_bytes(made.SerializeToString())
    assert external_files(path, ModelError) == (tmp_path / "w.bin",)


def test_weights_inside(tmp_path):
    onnx.save(model([numpy_helper.from_array(WEIGHT, "w")]), tmp_path / "net.onnx")
    assert external_files(tmp_path / "net.onnx", ModelError) == ()


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("gone.bin", "net.onnx keeps weights in a missing file: gone.bin; put it next to the model"),
        (".", "net.onnx keeps weights in a missing file: ."),
        ("../w.bin", "in '../w.bin', which is not a file in its folder"),
        ("a/../../w.bin", "which is not a file in its folder"),
        ("..\\w.bin", "which is not a file in its folder"),
        ("/etc/passwd", "in '/etc/passwd', which is not a file in its folder"),
        ("C:\\w.bin", "which is not a file in its folder"),
        ("", "in '', which is not a file in its folder"),
        ("short.bin", "short.bin is too short for the weights 'w' of net.onnx"),
    ],
)
def test_files_that_are_not_taken(tmp_path, location, says):
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "short.bin").write_bytes(b"1234")
    weight = outside("w", location, offset=0, length=WEIGHT.nbytes)
    (tmp_path / "in" / "net.onnx").write_bytes(model([weight]).SerializeToString())
    with pytest.raises(ModelError) as error:
        external_files(tmp_path / "in" / "net.onnx", ModelError)
    assert says in str(error.value)


@pytest.mark.parametrize("content", [b"", b"text", b"\x00" * 50])
def test_no_onnx_file(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    if content:
        with pytest.raises(ModelError, match=r"net\.onnx is no ONNX file"):
            external_files(tmp_path / "net.onnx", ModelError)


@pytest.mark.parametrize(
    ("dims", "macs"),
    [
        ((1, 3, 8, 8), 64 * 108),
        ((-1, 3, 8, 8), 64 * 108),
        ((0, 3, 8, 8), 64 * 108),
        (("batch", 3, 8, 8), 64 * 108),
        ((1, 3, -1, 8), None),
        ((1, 3, 8, 0), None),
        ((-1, 3, -1, -1), None),
    ],
)
def test_an_open_dimension_is_never_a_number(dims, macs):
    graph = LintGraph(model([numpy_helper.from_array(WEIGHT, "w")], dims))
    assert macs_of(graph.nodes[0], graph) == macs
