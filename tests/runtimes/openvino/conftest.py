import pytest


@pytest.fixture(autouse=True)
def _openvino():
    pytest.importorskip("openvino", reason="'pip install edgekd[openvino]' brings OpenVINO")
