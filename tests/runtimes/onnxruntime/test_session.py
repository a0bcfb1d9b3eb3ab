import numpy as np
import onnxruntime
import pytest

from edgekd.bench.plan import Workload
from edgekd.bench.profile.trace import Trace
from edgekd.bench.runtimes import open_session
from edgekd.errors import MeasurementError
from edgekd.runtime import by_session
from edgekd.runtimes.onnxruntime.session import OnnxSession
from tests.bench.conftest import write_model


def opened(path, shape=None, threads=1, batch=1, seed=0, **workload) -> OnnxSession:
    return open_session(Workload(str(path), shape=shape, **workload), threads, batch, seed)


def refusal(call) -> str:
    with pytest.raises(MeasurementError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_runs_what_onnxruntime_runs(light):
    session = opened(light, threads=2, batch=3, seed=4)
    assert session.batch == 3
    assert session.feeds["x"].shape == (3, 256)
    assert session.providers == ["CPUExecutionProvider"]
    assert session.load_ms > 0
    assert session.transfers() == {}
    theirs = onnxruntime.InferenceSession(light, providers=["CPUExecutionProvider"]).run(None, session.feeds)
    np.testing.assert_allclose(session.run()[0], theirs[0], rtol=1e-5)


def test_example_follows_the_seed(light):
    assert np.array_equal(opened(light, seed=1).feeds["x"], opened(light, seed=1).feeds["x"])
    assert not np.array_equal(opened(light, seed=1).feeds["x"], opened(light, seed=2).feeds["x"])


def test_open_dims_beyond_the_batch_are_1_or_have_a_shape(tmp_path):
    path = write_model(tmp_path / "open.onnx", width=8, shape=["batch", "time", 8])
    assert opened(path).feeds["x"].shape == (1, 1, 8)
    session = opened(path, shape=(2, 5, 8))
    assert session.run()[0].shape == (2, 5, 8)
    assert session.batch == 2


def test_open_dims_without_a_name_need_a_shape(tmp_path):
    path = write_model(tmp_path / "open.onnx", width=8, shape=["batch", None, 8])
    assert "--shape" in refusal(lambda: opened(path))
    assert opened(path, shape=(2, 5, 8)).batch == 2


def test_a_fixed_batch_is_not_overruled_in_silence(tmp_path):
    path = write_model(tmp_path / "fixed.onnx", width=8, shape=[4, 8])
    assert opened(path).batch == opened(path, batch=4).batch == 4
    assert "fixes its batch at 4, not 2" in refusal(lambda: opened(path, batch=2))


def test_a_wrong_shape_is_one_line(light):
    assert "does not run" in refusal(opened(light, shape=(1, 3)).run)


def test_missing_file(tmp_path):
    assert "no such file" in refusal(lambda: opened(tmp_path / "none.onnx"))


def test_not_a_graph(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    assert "does not load in ONNX Runtime" in refusal(lambda: opened(tmp_path / "bad.onnx"))


def test_no_threads(light):
    assert "--threads" in refusal(lambda: opened(light, threads=0))


@pytest.mark.parametrize("runtime", ["onnxruntime", "onnxruntime-tensorrt"])
def test_a_provider_that_is_not_installed_is_no_other_in_silence(light, runtime):
    message = refusal(lambda: opened(light, runtime=runtime, device="cuda"))
    assert "ExecutionProvider is not in this ONNX Runtime" in message
    assert "onnxruntime-gpu" in message


def test_a_device_that_there_is_not(light):
    assert "onnxruntime on abacus" in refusal(lambda: opened(light, device="abacus"))


def test_an_unknown_runtime_names_the_nearest(light):
    assert "did you mean 'onnxruntime'" in refusal(lambda: opened(light, runtime="onnxruntim"))
    names = ("onnxruntime", "onnxruntime-tensorrt", "pytorch", "pytorch-compiled", "tensorrt")
    assert [by_session(name).title for name in names] == [
        "ONNX Runtime",
        "ONNX Runtime",
        "PyTorch",
        "PyTorch",
        "TensorRT",
    ]


def test_profile_is_written(light, tmp_path):
    session = OnnxSession(Workload(str(light)), profile_to=tmp_path / "profile")
    session.run()
    trace = Trace.from_json(session.end_profiling())
    [written] = tmp_path.glob("profile*.json")
    assert "_kernel_time" in written.read_text()
    assert len(trace.inferences) == 1 and trace.kernels
