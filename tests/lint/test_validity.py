import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import ModelError
from edgekd.lint import lint
from edgekd.lint.validity import check_graph


def model(*nodes, weights=()):
    edges = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 4, 4])] for name in ("x", "y")]
    return helper.make_model(
        helper.make_graph(nodes, "g", *edges, weights), opset_imports=[helper.make_opsetid("", 17)]
    )


def weight(**changed):
    tensor = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")
    for name, value in changed.items():
        if name == "dims":
            del tensor.dims[:]
            tensor.dims.extend(value)
        else:
            setattr(tensor, name, value)
    return tensor


CONV = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")


def test_what_is_whole_passes():
    check_graph(model(CONV, weights=[weight()]))
    check_graph(model(helper.make_node("Odd", ["x"], ["y"], domain="some.where")))
    packed = helper.make_tensor("w", TensorProto.INT4, [3], bytes(2), raw=True)
    check_graph(model(helper.make_node("Relu", ["x"], ["y"]), weights=[packed]))


@pytest.mark.parametrize(
    ("nodes", "weights", "said"),
    [
        ([helper.make_node("Conv", ["x"], ["y"])], [], "has 1 inputs, and takes 2"),
        ([helper.make_node("Conv", ["x", ""], ["y"])], [], "lacks its input 'W'"),
        ([helper.make_node("Conv", ["x", "w"], [])], [weight()], "has 0 outputs"),
        ([helper.make_node("QuantizeLinear", ["x"], ["y"])], [], "has 1 inputs, and takes 2"),
        ([helper.make_node("Relu", ["x", "x", "x"], ["y"])], [], "has 3 inputs"),
        ([helper.make_node("Identity", ["y"], ["y"])], [], "takes 'y' before it is made"),
        (
            [helper.make_node("Identity", ["b"], ["a"]), helper.make_node("Identity", ["a"], ["b"])],
            [],
            "takes 'b' before it is made",
        ),
        (
            [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["y"])],
            [],
            "makes 'y' a second time",
        ),
        ([CONV], [weight(raw_data=b"")], "damaged"),
        ([CONV], [weight(raw_data=b"\0" * 35)], "35 bytes for 9 values"),
        ([CONV], [weight(dims=[1, -1, 3, 3])], "negative size"),
        ([CONV], [weight(dims=[2**40, 2**40])], "damaged"),
        ([CONV], [weight(data_type=99)], "damaged"),
        ([CONV], [weight(data_type=0)], "damaged"),
        ([helper.make_node("Constant", [], ["c"], value=weight(raw_data=b"x"))], [], "damaged"),
    ],
)
def test_what_is_not_is_refused_in_a_sentence(nodes, weights, said):
    with pytest.raises(ModelError, match=said):
        lint(model(*nodes, weights=weights), "onnxruntime-x86")
