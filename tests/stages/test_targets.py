import pytest

from edgekd.pipeline.files import served
from edgekd.recipe import Target
from edgekd.stages.targets import compute_float16, file_profile, is_here

CPU, GPU = Target(device="cpu", runtime="onnxruntime"), Target(device="jetson", runtime="tensorrt")


@pytest.mark.parametrize(("machine", "profile"), [("x86_64", "onnxruntime-x86"), ("aarch64", "onnxruntime-arm")])
def test_the_file_of_this_processor(monkeypatch, machine, profile):
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert file_profile(CPU) == profile
    assert is_here(profile)
    assert not is_here("tensorrt")
    assert is_here("onnxruntime-x86") != is_here("onnxruntime-arm")


def test_the_file_of_tensorrt():
    assert file_profile(GPU) == "tensorrt"


def test_half_precision_is_faster_where_all_compute_in_it():
    assert compute_float16([GPU])
    assert not compute_float16([GPU, CPU])
    assert not compute_float16([])


@pytest.mark.parametrize(
    ("trained", "wanted", "files"),
    [
        ("portable", ["tensorrt", "onnxruntime-x86"], ["tensorrt", "onnxruntime-x86"]),
        ("onnxruntime-x86", ["tensorrt", "onnxruntime-x86"], ["onnxruntime-x86"]),
        ("onnxruntime-x86", ["tensorrt"], ["onnxruntime-x86"]),  # one of its own, rather than none
        (None, ["tensorrt"], ["tensorrt"]),
    ],
)
def test_files_that_a_training_serves(trained, wanted, files):
    assert served(trained, wanted) == files
