import pytest

from edgekd.errors import DeviceError
from edgekd.runtimes.tensorrt.trtexec.command import (
    Build,
    EngineTiming,
    build_command,
    inference_command,
    timing_command,
    written_warmup_ms,
)

GRAPH = ["--useCudaGraph", "--useSpinWait", "--noDataTransfers", "--separateProfileRun"]


@pytest.mark.parametrize(
    ("version", "flags"),
    [
        ((8, 2, 1), ["--fp16", "--int8", "--workspace=256", "--buildOnly"]),
        ((8, 4, 1), ["--fp16", "--int8", "--memPoolSize=workspace:256", "--buildOnly"]),
        ((8, 6, 2), ["--fp16", "--int8", "--memPoolSize=workspace:256", "--skipInference"]),
        ((10, 3, 0), ["--stronglyTyped", "--memPoolSize=workspace:256", "--skipInference"]),
        ((11, 4, 1), ["--memPoolSize=workspace:256", "--skipInference"]),
    ],
)
def test_building(version, flags):
    words = build_command("trtexec", version, Build("a.onnx", "a.engine", 256, int8=True))
    assert words == ["trtexec", "--onnx=a.onnx", "--saveEngine=a.engine", *flags]


def test_what_building_may_be_given():
    build = Build("a.onnx", "a.engine", shapes={"x": (1, 3, 32, 32)}, timing_cache="t", detailed=True, dla_core=0)
    assert build_command("trtexec", (8, 2, 1), build)[-5:] == [
        "--shapes=x:1x3x32x32", "--timingCacheFile=t", "--nvtxMode=verbose", "--useDLACore=0", "--allowGPUFallback"
    ]  # fmt: skip
    assert "--profilingVerbosity=detailed" in build_command("trtexec", (10, 3, 0), build)
    # A DLA takes float16, which a network with strong types would not let the builder choose.
    words = build_command("trtexec", (10, 3, 0), build)
    assert "--fp16" in words and "--stronglyTyped" not in words


@pytest.mark.parametrize(
    ("version", "copies", "flags"),
    [
        ((8, 2, 1), False, GRAPH),
        ((10, 13, 3), False, GRAPH),
        ((10, 3, 0), True, [flag for flag in GRAPH if flag != "--noDataTransfers"]),
        ((11, 1, 0), False, []),
        ((11, 1, 0), True, ["--includeDataTransfers"]),
    ],
)
def test_the_same_measurement_in_every_release(version, copies, flags):
    words = timing_command("trtexec", version, EngineTiming("a.engine", "t.json", 5, copies))
    fixed = ["--loadEngine=a.engine", "--warmUp=500", "--duration=5", "--iterations=400", "--exportTimes=t.json"]
    assert words == ["trtexec", *fixed, *flags]


def test_the_layers_of_a_run():
    timing = EngineTiming("a.engine", "t.json", profile_to="p.json", layers_to="l.json")
    words = timing_command("trtexec", (8, 2, 1), timing)
    assert words[-3:] == ["--separateProfileRun", "--exportProfile=p.json", "--exportLayerInfo=l.json"]


def test_only_8_2_writes_its_warm_up():
    assert [written_warmup_ms(version) for version in ((8, 2, 1), (8, 5, 2), (11, 0, 0))] == [500, 0, 0]


@pytest.mark.parametrize("version", [(7, 1, 3), (8, 0, 1), (12, 0, 0)])
def test_other_releases_are_refused(version):
    with pytest.raises(DeviceError, match="knows the flags of 8.2 to 11"):
        build_command("trtexec", version, Build("a.onnx", "a.engine"))


def test_a_name_that_trtexec_would_misread():
    with pytest.raises(DeviceError, match="'a:b'.*rename it"):
        timing_command("trtexec", (10, 3, 0), EngineTiming("e", "t", shapes={"a:b": (1,)}))


def test_answers_to_given_inputs():
    words = inference_command("trtexec", (10, 3, 0), "m.engine", {"x": "batch.bin"}, {"x": (4, 3)}, "out.json")
    assert words[1:] == [
        *("--loadEngine=m.engine", "--loadInputs=x:batch.bin", "--exportOutput=out.json"),
        *("--warmUp=0", "--duration=0", "--iterations=1", "--shapes=x:4x3"),
    ]
    assert "--includeDataTransfers" in inference_command("trtexec", (11, 4, 1), "m.engine", {"x": "b"}, {}, "out.json")
    with pytest.raises(DeviceError, match="cannot be given values for an input named 'a:b'"):
        inference_command("trtexec", (10, 3, 0), "m.engine", {"a:b": "b"}, {}, "out.json")
