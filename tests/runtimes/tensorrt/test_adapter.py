import sys

import pytest

from edgekd.errors import ExportError, MeasurementError
from edgekd.runtimes.tensorrt.adapter import PACKAGES, errors_of, library, plain, version


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of stand-ins for the two packages, before any that are installed."""
    for name in PACKAGES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in PACKAGES:
        sys.modules.pop(name, None)


def test_tensorrt_comes_first(packages):
    for name in PACKAGES:
        (packages / f"{name}.py").write_text("__version__ = '10.3.0'\n")
    assert version(library()) == "tensorrt 10.3.0"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise OSError('libnvinfer.so.10: cannot open shared object file')", "does not load: libnvinfer.so.10"),
        ("raise ImportError('undefined symbol')", "does not load: undefined symbol"),
        ("import tensorrt_bindings_of_nobody", "lacks tensorrt_bindings_of_nobody"),
    ],
)
def test_a_broken_one_is_no_reason_to_take_the_other(packages, code, words):
    (packages / "tensorrt.py").write_text(code + "\n")
    with pytest.raises(ExportError, match=f"tensorrt is installed but {words}"):
        library()


def test_none_is_installed(monkeypatch):
    monkeypatch.setattr("edgekd.runtimes.tensorrt.adapter.PACKAGES", ("tensorrt_of_nobody",))
    with pytest.raises(MeasurementError, match=r"pip install edgekd\[tensorrt\]"):
        library(MeasurementError)


def test_the_logger_is_one_and_forgets(rtx):
    logger = errors_of(rtx)
    builder = rtx.Builder(logger)
    assert builder.build_serialized_network(builder.create_network(0), builder.create_builder_config()) is None
    assert "Network must have at least one output" in logger.last()
    later = errors_of(rtx)
    assert later.last() == ""
    assert rtx.Runtime(later).deserialize_cuda_engine(b"no engine" * 100) is None
    assert "magicTag" in later.last()


def test_places_in_its_source_are_left_out():
    said = (
        "ITensor::getDimensions: Error Code 4: API Usage Error (conv: types differ. In validateTypes at "
        "/_src/optimizer/common/nodes/convolutionNode.cpp:88)\n[checkMacros.cpp::catchCudaError::250] Error Code 1"
    )
    assert plain(said) == "ITensor::getDimensions: Error Code 4: API Usage Error (conv: types differ.)"
    assert len(plain("word " * 1000)) == 300
