import json
import subprocess
import sys

import numpy as np
import pytest

from edgekd.bench.plan import Workload
from edgekd.bench.profile.trace import Trace
from edgekd.bench.runtimes import open_session
from edgekd.errors import MeasurementError
from edgekd.runtime import RUNTIMES, by_session
from tests.bench.conftest import write_model
from tests.cli.conftest import edgekd as edgekd

SIMILAR = 1e-4


def opened(path, shape=None, threads=1, batch=1, seed=0, **workload):
    return open_session(Workload(str(path), "openvino", shape=shape, **workload), threads, batch, seed)


def refusal(call) -> str:
    with pytest.raises(MeasurementError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_runs_what_onnxruntime_runs(light):
    session = opened(light, batch=3, seed=4)
    assert session.batch == 3
    assert session.providers == ["CPU"]
    assert session.input_names == ["x"]
    assert session.load_ms > 0
    theirs = open_session(Workload(str(light)), 1, 3, 4)
    np.testing.assert_array_equal(session.feeds["x"], theirs.feeds["x"])
    ours = next(iter(session.run().values()))
    np.testing.assert_allclose(ours, theirs.run()[0], rtol=SIMILAR, atol=SIMILAR)


def test_outputs_of_any_batch_have_their_names(light):
    feeds = {"x": np.ones((5, 256), np.float32)}
    ours, theirs = (
        by_session(name).part("session").SESSION(Workload(str(light), name), 1, seed=None).outputs(feeds)
        for name in ("openvino", "onnxruntime")
    )
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=SIMILAR, atol=SIMILAR)


def test_open_dims_have_the_names_of_the_file(tmp_path):
    path = write_model(tmp_path / "open.onnx", width=8, shape=["batch", "time", 8])
    assert opened(path).feeds["x"].shape == (1, 1, 8)
    assert opened(path, sizes={"time": 4}).feeds["x"].shape == (1, 4, 8)
    assert opened(path, shape=(2, 5, 8)).batch == 2
    assert "did you mean 'time'?" in refusal(lambda: opened(path, sizes={"tme": 4}))


def test_float32_is_float32_unless_asked(light):
    """By itself OpenVINO computes in bfloat16 where the processor can."""
    assert opened(light).precision == "f32"
    assert opened(light, precision="bfloat16").precision == "bf16"
    assert "float32 or bfloat16" in refusal(lambda: opened(light, precision="float16"))


def test_the_command_times_the_precision_that_is_asked_for(edgekd, light):
    quick = ("--runtime", "openvino", "--seconds", 0.1, "--max-seconds", 0.1, "--launches", 1, "--json", "-")
    done = edgekd("bench", light, *quick, "--precision", "bfloat16")
    assert done.code == 0, done.err
    [row] = json.loads(done.out)["models"]
    assert (row["runtime"], row["precision"]) == ("openvino", "bfloat16")
    refused = edgekd("bench", light, *quick, "--precision", "float16")
    assert refused.err == f"error: {light}: OpenVINO computes in float32 or bfloat16 on a CPU, not in float16\n"


def test_refusals_say_what_is_wrong(tmp_path, light):
    assert "no such file" in refusal(lambda: opened(tmp_path / "absent.onnx"))
    (tmp_path / "bad.onnx").write_text("no model")
    assert "does not load in OpenVINO" in refusal(lambda: opened(tmp_path / "bad.onnx"))
    assert "on the CPU, not on cuda" in refusal(lambda: opened(light, device="cuda"))
    assert "takes no argument 'optimised'" in refusal(lambda: opened(light, args={"optimised": False}))


def test_where_it_is_not_installed_one_sentence_says_how_to_get_it():
    hidden = "import sys; sys.modules['openvino'] = None; import edgekd.runtimes.openvino.session"
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True)
    assert "MeasurementError: OpenVINO is not installed here" in done.stderr
    assert "pip install 'edgekd[openvino]' brings it" in done.stderr


def test_a_recording_has_an_inference_for_each_run(light):
    from edgekd.runtimes.openvino.recording import BEFORE, ROUND

    session = RUNTIMES["openvino"].part("session").SESSION(Workload(str(light), "openvino"), profile_to="here")
    runs = BEFORE + ROUND + 3
    for _ in range(runs):
        session.run()
    inferences, total_ms = Trace.from_json(session.end_profiling()).last(runs)
    assert len(inferences) == runs
    assert all(inferences)
    assert total_ms > 0
    assert {kernel.name for kernel in inferences[0]} == {kernel.name for kernel in inferences[-1]}


def test_a_session_that_records_nothing_has_no_profile(light):
    assert "records no kernels" in refusal(opened(light).end_profiling)
