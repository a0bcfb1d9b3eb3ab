"""What PyTorch's exporter finds out again and again is found out once, and no export changes what the next one gets."""

import pytest

from edgekd.export.onnx_file import cache_operator_table, operators_looked_up_once


def test_the_table_is_built_once_and_copied(monkeypatch):
    registration = pytest.importorskip("torch.onnx._internal.exporter._registration")

    class Table:
        built = 0

        def __init__(self) -> None:
            self.functions = {"aten::relu": ["relu"]}

        @classmethod
        def from_torchlib(cls, opset_version: int = 18) -> "Table":
            cls.built += 1
            table = cls()
            table.opset = opset_version
            return table

    monkeypatch.setattr(registration, "ONNXRegistry", Table)
    cache_operator_table.cache_clear()
    cache_operator_table()
    first, second, other = (Table.from_torchlib(opset_version=opset) for opset in (18, 18, 17))
    first.functions["aten::relu"].append("mine")
    first.functions["mine::op"] = []
    assert second.functions == {"aten::relu": ["relu"]} == Table.from_torchlib(opset_version=18).functions
    assert (second.opset, other.opset, Table.built) == (18, 17, 2)


def test_an_exporter_without_such_a_table_is_left_alone(monkeypatch):
    registration = pytest.importorskip("torch.onnx._internal.exporter._registration")
    monkeypatch.delattr(registration, "ONNXRegistry")
    cache_operator_table.cache_clear()
    cache_operator_table()
    assert not hasattr(registration, "ONNXRegistry")


def test_operators_are_looked_up_once_in_each_export(monkeypatch):
    utils = pytest.importorskip("torch._export.utils")
    looked: list[None] = []
    monkeypatch.setattr(utils, "_materialize_cpp_cia_ops", lambda: looked.append(None))
    for exports in (1, 2):
        with operators_looked_up_once():
            for _ in range(3):
                utils._materialize_cpp_cia_ops()
        assert len(looked) == exports
    with pytest.raises(ValueError), operators_looked_up_once():
        raise ValueError
    utils._materialize_cpp_cia_ops()
    utils._materialize_cpp_cia_ops()
    assert len(looked) == 4, "as before"


def test_an_exporter_that_looks_up_no_operators_is_left_alone(monkeypatch):
    utils = pytest.importorskip("torch._export.utils")
    monkeypatch.delattr(utils, "_materialize_cpp_cia_ops")
    with operators_looked_up_once():
        assert not hasattr(utils, "_materialize_cpp_cia_ops")


@pytest.fixture(autouse=True)
def kept_again():
    yield
    cache_operator_table.cache_clear()
