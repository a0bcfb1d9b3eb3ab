import numpy as np
import onnxruntime
import pytest

from edgekd.bench.session import OnnxSession
from edgekd.errors import MeasurementError

from .conftest import write_model


def refusal(call) -> str:
    with pytest.raises(MeasurementError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_runs_what_onnxruntime_runs(light):
    session = OnnxSession(light, threads=2)
    feeds = session.example(batch=3, seed=4)
    assert session.input_name == "x"
    assert session.input_shape(3) == feeds["x"].shape == (3, 256)
    theirs = onnxruntime.InferenceSession(light, providers=["CPUExecutionProvider"]).run(None, feeds)
    np.testing.assert_allclose(session.run(feeds)[0], theirs[0], rtol=1e-5)


def test_example_follows_the_seed(light):
    session = OnnxSession(light)
    assert np.array_equal(session.example(seed=1)["x"], session.example(seed=1)["x"])
    assert not np.array_equal(session.example(seed=1)["x"], session.example(seed=2)["x"])


def test_open_dims_beyond_the_batch_need_a_shape(tmp_path):
    path = write_model(tmp_path / "open.onnx", width=8, shape=["batch", "time", 8])
    assert "--shape" in refusal(OnnxSession(path).example)
    session = OnnxSession(path, shape=(2, 5, 8))
    assert session.run(session.example())[0].shape == (2, 5, 8)


def test_a_fixed_batch_is_not_overruled_in_silence(tmp_path):
    session = OnnxSession(write_model(tmp_path / "fixed.onnx", width=8, shape=[4, 8]))
    assert session.input_shape() == session.input_shape(4) == session.example()["x"].shape == (4, 8)
    assert "fixes its batch at 4, not 2" in refusal(lambda: session.input_shape(2))


def test_a_wrong_shape_is_one_line(light):
    session = OnnxSession(light, shape=(1, 3))
    assert "does not run" in refusal(lambda: session.run(session.example()))


def test_missing_file(tmp_path):
    assert "no such file" in refusal(lambda: OnnxSession(tmp_path / "none.onnx"))


def test_not_a_graph(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    message = refusal(lambda: OnnxSession(tmp_path / "bad.onnx"))
    assert "does not load in ONNX Runtime" in message


def test_no_threads(light):
    assert "--threads" in refusal(lambda: OnnxSession(light, threads=0))


def test_profile_is_written(light, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = OnnxSession(light, profile=True)
    session.run(session.example())
    assert "_kernel_time" in (tmp_path / session.end_profiling()).read_text()
