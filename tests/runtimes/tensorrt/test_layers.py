import json

import pytest

from edgekd.runtimes.tensorrt.layers import (
    BuiltLayer,
    LayerTensor,
    layer_from_json,
    layer_precisions,
    logged_layers,
    named,
    parse_layers,
)

# Of TensorRT for RTX 1.7.1, as it builds a Q/DQ convolution for SM89.
LIST = """Layers:
Name: __mye631_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: 
Name: conv, 1_myl0_2, LayerType: correlation, Inputs: [ { Name: q.1_10_myl0, Dimensions: [-1,16,16,16], Strides: [4096,1,256,16], StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }], Constants: [ { Name: dconst_myl0, Dimensions: [32,16,3,3], Strides: [144,1,48,16], StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }, { Name: scale_myl0, Dimensions: [1,32,1,1], Strides: [32,1,32,32], StrideOrder: [3,0,2,1], Datatype: Float, Format: (NHWC) Channel major format }], Outputs: [ { Name: out_11_myl0, Dimensions: [-1,32,16,16], Strides: [8192,1,512,32], StrideOrder: [3,0,2,1], Datatype: Float, Format: (NHWC) Channel major format }], TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: conv, 1][ONNX Layer: dq]
Name: __myl_Relu_myl0_1, LayerType: kgen, Inputs: [ { Name: out_11_myl0, Dimensions: [], Strides: [], StrideOrder: [], Datatype: Half, Format: (Linear) Row major linear format }], Constants: [], Outputs: [], TacticName: __myl_Relu_0xa2, StreamId: 0, Metadata: [ONNX Layer: relu]

I/O Tensors:
 Name: x, IOMode: Input, DataType: Float, Dimensions: [-1,16,16,16], Location: Device, IsShapeInferenceIO: false
"""  # noqa: E501, W291


def test_the_builders_list():
    shapes, conv, relu = logged_layers(LIST).values()
    assert shapes == BuiltLayer("__mye631_0_myl0_0", "shape_call")
    assert (conv.name, conv.kind) == ("conv, 1_myl0_2", "correlation")
    assert conv.inputs == (LayerTensor((-1, 16, 16, 16), "int8"),)
    assert conv.outputs == (LayerTensor((-1, 32, 16, 16), "float32"),)
    assert conv.metadata == "[ONNX Layer: conv, 1][ONNX Layer: dq]"
    assert relu.inputs == (LayerTensor((), "float16"),)


def test_precisions_are_counted_by_type():
    assert layer_precisions(logged_layers(LIST)) == {"correlation": {"int8": 1}, "kgen": {"float16": 1}}


def test_the_inspector_and_the_list_are_read_alike():
    conv = {"Name": "conv, 1_myl0_2", "LayerType": "correlation", "Metadata": "[ONNX Layer: conv, 1][ONNX Layer: dq]"}
    conv["Inputs"] = [{"Name": "q", "Dimensions": [-1, 16, 16, 16], "Datatype": "Int8"}]
    conv["Outputs"] = [{"Name": "out", "Dimensions": [-1, 32, 16, 16], "Datatype": "Float"}]
    [inspected] = parse_layers(json.dumps({"Layers": [conv]})).values()
    assert inspected == logged_layers(LIST)[conv["Name"]]


@pytest.mark.parametrize("text", ["", "Layers:\n", "Layers:\nName: a, LayerType: b\n"])
def test_a_list_of_another_kind_is_no_list(text):
    assert logged_layers(text) == {}


def test_precision_is_that_of_the_weights():
    tensor = {"Name": "x", "Format/Datatype": "Row major linear FP16 format"}
    weights = {"Type": "Int8", "Count": 9}
    assert layer_from_json({"Name": "a", "Weights": weights, "Inputs": [tensor]}).precision == "int8"
    assert layer_from_json({"Name": "a", "Weights": {**weights, "Count": 0}, "Inputs": [tensor]}).precision == "float16"
    assert layer_from_json({"Name": "a", "Inputs": ["x"]}).precision == ""


@pytest.mark.parametrize(
    ("text", "precision"), [("Half", "float16"), ("BF16", "bfloat16"), ("FP8", "float8"), ("Channel major format", "")]
)
def test_spellings(text, precision):
    assert named(text) == precision


def layers(**tensor):
    tensors = [{"Name": "x", "Location": "Device", "Dimensions": [1, 16, 8, 8], **tensor}]
    layer = {"Name": "conv1 + relu", "LayerType": "CaskConvolution", "Inputs": tensors, "Outputs": tensors}
    return json.dumps({"Layers": [layer], "Bindings": ["x"]})


@pytest.mark.parametrize(
    ("tensor", "type_"),
    [
        ({"Format/Datatype": "Row major linear FP32"}, "float32"),
        ({"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}, "int8"),
        ({"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}, "float16"),
        ({"Format": "Row major linear", "Datatype": "Half"}, "float16"),
        ({"Format": "Row major linear", "Datatype": "BFloat16"}, "bfloat16"),
        ({"Format": "Row major linear", "Datatype": "Float"}, "float32"),
    ],
)
def test_what_a_layer_takes_and_gives(tensor, type_):
    [layer] = parse_layers(layers(**tensor)).values()
    assert (layer.name, layer.kind) == ("conv1 + relu", "CaskConvolution")
    assert layer.inputs == layer.outputs == (LayerTensor((1, 16, 8, 8), type_),)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"Layers": 3}', '{"Layers": [{"Name": 1}]}', layers()[:-1], '{"Layers": ' + "[" * 100_000]
)
def test_an_engine_that_was_not_built_in_detail_tells_no_layers(text):
    assert parse_layers(text) == {}


def test_a_type_that_is_not_told_is_left_out():
    [layer] = parse_layers(layers(**{"Format/Datatype": "N/A"})).values()
    assert [each.precision for each in layer.inputs] == [""]
    assert parse_layers('{"Layers": [{"Name": "a"}, "b"]}') == {"a": BuiltLayer("a"), "b": BuiltLayer("b")}


@pytest.mark.parametrize("odd", [{"Inputs": 3}, {"Inputs": [{"Dimensions": "1x2"}]}, {"Weights": {"Count": "9"}}])
def test_a_layer_described_oddly_is_read_as_far_as_it_goes(odd):
    assert parse_layers(json.dumps({"Layers": [{"Name": "a", **odd}]}))["a"].name == "a"
