"""What is said of a job that failed, here and on a device alike."""

import pytest

from edgekd.bench.local_agent import AgentJob, LocalJob, failure
from edgekd.devices.remote import RemoteJob


@pytest.mark.parametrize(
    ("why", "model", "said"),
    [
        ("no such file: net.onnx; give another", "net.onnx", "no such file: net.onnx; give another"),
        ("OpenVINO computes in float32", "teacher", "teacher: OpenVINO computes in float32"),
        ("the measuring process was ended", "net.onnx", "net.onnx: the measuring process was ended"),
        ("0.onnx: does not load", "/here/bad.onnx", "/here/bad.onnx: does not load"),
        ("12.onnx does not load", "/here/bad.onnx", "/here/bad.onnx: does not load"),
        ("MemoryError: ", None, "MemoryError: "),
    ],
)
def test_a_failure_names_its_model_once(why, model, said):
    assert failure({"event": "failed", "why": why, "model": model}) == said


def test_a_job_is_one_conversation_here_and_on_a_device():
    assert AgentJob in LocalJob.__bases__ and AgentJob in RemoteJob.__bases__
    assert all("send" not in vars(job) and "_process" not in vars(job) for job in (LocalJob, RemoteJob))
