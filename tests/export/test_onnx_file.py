import copy
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edgekd import __version__
from edgekd.errors import ExportError
from edgekd.export import export_onnx, to_onnx
from edgekd.export.onnx_file import keep_zero_padding
from edgekd.models import build
from edgekd.preprocess import Preprocess
from edgekd.quantize import calibrate, convert, prepare

SHAPE = (3, 8, 8)
SCALE = Preprocess("image", SHAPE, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def network() -> nn.Module:
    torch.manual_seed(0)
    made = build("resnet8", SHAPE, 5, width=8)
    made(torch.randn(16, *SHAPE))
    return made.eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same network in float and in int8, the latter twice."""
    folder = tmp_path_factory.mktemp("export")
    made = {"float": export_onnx(network(), folder / "float.onnx", SCALE, ("ä", "b", "c", "d", "e"))}
    graph = prepare(network(), SHAPE)
    calibrate(graph, [torch.randn(32, *SHAPE)])
    for name in ("int8", "again"):
        made[name] = export_onnx(convert(graph), folder / f"{name}.onnx", SCALE)
    return made


def answer(path: Path, inputs: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"input": inputs.numpy()})[0]


@pytest.mark.parametrize("batch", [1, 3])
def test_any_batch_gives_the_logits_of_the_network(files, batch):
    x = torch.randn(batch, *SHAPE)
    with torch.no_grad():
        np.testing.assert_allclose(answer(files["float"], x), network()(x).numpy(), atol=1e-4)
    assert answer(files["int8"], x).shape == (batch, 5)


@pytest.mark.parametrize("name", ["float", "int8"])
def test_the_file_is_valid_and_whole(files, name):
    model = onnx.load(files[name], load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 20}
    assert sorted(path.name for path in files[name].parent.iterdir()) == ["again.onnx", "float.onnx", "int8.onnx"]


def test_inputs_and_outputs(files):
    graph = onnx.load(files["float"]).graph
    [given], [made] = graph.input, graph.output
    assert (given.name, made.name) == ("input", "logits")
    dimensions = [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim]
    assert dimensions == ["batch", 3, 8, 8]
    assert [dim.dim_param or dim.dim_value for dim in made.type.tensor_type.shape.dim] == ["batch", 5]
    assert given.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


@pytest.mark.parametrize("name", ["float", "int8"])
def test_nothing_of_the_machine_is_left(files, name):
    content = files[name].read_bytes()
    for trace in (b"site-packages", b".py", b"stack_trace", b"pkg.torch", str(Path.cwd()).encode()):
        assert trace not in content
    model = onnx.load(files[name])
    assert (model.producer_name, model.producer_version, model.doc_string) == ("edgekd", __version__, "")
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_how_to_feed_it_is_written_in_it(files):
    metadata = {entry.key: json.loads(entry.value) for entry in onnx.load(files["float"]).metadata_props}
    assert metadata == {"edgekd.preprocess": SCALE.to_json(), "edgekd.labels": ["ä", "b", "c", "d", "e"]}
    assert Preprocess.from_json(metadata["edgekd.preprocess"]) == SCALE


def test_two_exports_are_the_same_bytes(files):
    assert files["int8"].read_bytes() == files["again"].read_bytes()


def test_int8_is_a_quarter(files):
    weights = sum(p.numel() for p in network().parameters())
    assert files["float"].stat().st_size > 4 * weights * 0.9
    assert files["int8"].stat().st_size < files["float"].stat().st_size / 1.5


def test_zeros_in_front_of_a_max_pooling_are_zeros(tmp_path):
    network = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(3 * 64, 2)).eval()
    x = -1 - torch.rand(2, *SHAPE)
    with torch.no_grad():
        np.testing.assert_allclose(
            answer(export_onnx(network, tmp_path / "net.onnx", SCALE), x), network(x).numpy(), atol=1e-5
        )


def test_zeros_stay_where_quantisers_stand_between_that_a_deployed_file_may_lack():
    steps = [("Pad", ["x", "pads"]), ("QuantizeLinear", ["a", "scale"]), ("DequantizeLinear", ["b", "scale"])]
    made = [onnx.helper.make_node(name, given, [out]) for (name, given), out in zip(steps, "abc", strict=True)]
    made.append(onnx.helper.make_node("MaxPool", ["c"], ["y"], kernel_shape=[2, 2]))
    made.append(onnx.helper.make_node("Pad", ["x", "pads"], ["z"]))  # no pooling follows
    values = [onnx.helper.make_tensor_value_info(name, 1, ["n", 1, 4, 4]) for name in ("x", "a", "y", "z")]
    graph = onnx.helper.make_graph(made, "pads", values[:1], values[2:], value_info=values[1:2])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    keep_zero_padding(model)
    keep_zero_padding(model)
    assert [list(node.input) for node in model.graph.node if node.op_type == "Pad"] == [
        ["x", "pads", "", "a.axes"], ["x", "pads"],
    ]  # fmt: skip
    assert [onnx.numpy_helper.to_array(each).tolist() for each in model.graph.initializer] == [[0, 1, 2, 3]]


def test_a_network_in_training_mode_is_exported_for_inference(tmp_path):
    """And neither its mode nor its BatchNorm statistics change."""
    network = nn.Sequential(nn.ReLU(), nn.BatchNorm1d(4), nn.Dropout(0.9), nn.Linear(4, 2))
    network(torch.randn(16, 4))
    before = copy.deepcopy(network.state_dict())
    path = export_onnx(network, tmp_path / "net.onnx", vector())
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    x = torch.randn(8, 4)
    with torch.no_grad():
        np.testing.assert_allclose(answer(path, x), network.eval()(x).numpy(), atol=1e-5)


@pytest.mark.parametrize("opset", [18, 21])
def test_the_opset_is_what_was_asked_for(opset):
    model = to_onnx(build("mlp", (4,), 2).eval(), vector(), (), opset)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": opset}


def test_an_opset_that_cannot_be_had(capfd):
    with pytest.raises(ExportError) as error:
        to_onnx(build("small_cnn", (1, 8, 8), 2, width=4).eval(), grey(), (), 16)
    assert str(error.value) == "opset 16 was asked for and 18 written; ask for 18"
    assert capfd.readouterr() == ("", "")


def vector() -> Preprocess:
    return Preprocess("vector", (4,), (0.0,) * 4, (1.0,) * 4)


def grey() -> Preprocess:
    return Preprocess("image", (1, 8, 8), (0.0,), (1.0,))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else -self.layer(x)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [(Branching(), "Could not guard on data-dependent expression"), (nn.Linear(5, 2), "a and b must have same")],
)
def test_a_network_that_cannot_be_exported(tmp_path, capfd, broken, reason):
    with pytest.raises(ExportError) as error:
        export_onnx(broken, tmp_path / "net.onnx", vector())
    message = str(error.value)
    assert message.startswith(f"{type(broken).__name__} cannot be exported to ONNX: {reason}")
    assert "\n" not in message and "\x1b" not in message
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.gpu
def test_a_network_on_a_gpu_is_exported_as_on_the_cpu(files, tmp_path):
    there = network().cuda()
    export_onnx(there, tmp_path / "there.onnx", SCALE, ("ä", "b", "c", "d", "e"))
    assert (tmp_path / "there.onnx").read_bytes() == files["float"].read_bytes()
    assert next(there.parameters()).is_cuda
