import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.runtimes.tensorrt.trtexec.output import (
    EngineLayerTime,
    Query,
    parse_outputs,
    parse_profile,
    parse_times,
    parse_version,
)


# The keys are those that trtexec writes from 8.2 to 11.1; the times are made up so that they add up.
def entry(start: float, **more: float) -> dict[str, float]:
    times = {"startEnqMs": start - 1.5, "endEnqMs": start - 1.25, "startH2dMs": start - 1, "endH2dMs": start - 0.5}
    times |= {"startComputeMs": start, "endComputeMs": start + 2, "startD2hMs": start + 2, "endD2hMs": start + 2.25}
    return times | {"h2dMs": 0.5, "computeMs": 2.0, "d2hMs": 0.25, "latencyMs": 2.75} | more


TIMES = json.dumps([entry(start) for start in (100, 210, 220)], indent=2)
PROFILE = '[\n  { "count" : 30 }\n, { "name" : "conv1 + relu", "timeMs" : 3.0, "averageMs" : 0.1, "medianMs" : 0.09, '
PROFILE += '"percentage" : 60 }\n, { "name" : "a "quoted" name", "timeMs" : 1.5, "averageMs" : 0.05 }\n'
PROFILE += ', { "name" : "fc", "timeMs" : 1.5, "averageMs" : 0.05, "percentage" : 30 }\n]\n'


@pytest.mark.parametrize(
    ("banner", "release"),
    [
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec --onnx=m.onnx", (8, 2, 1)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec", (8, 5, 2)),
        ("noise\n&&&& PASSED TensorRT.trtexec [TensorRT v100300] [b26] # trtexec\n", (10, 3, 0)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v101303] [b9] # trtexec", (10, 13, 3)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v110401] # trtexec", (11, 4, 1)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v11.1.0.106] [b48] # trtexec", (11, 1, 0)),
        ("sh: trtexec: not found", None),
        ("TensorRT.trtexec [TensorRT v]", None),
    ],
)
def test_the_release_in_the_banner(banner, release):
    assert parse_version(banner) == release


def test_times():
    query = Query(compute=2.0, latency=2.75, h2d=0.5, d2h=0.25, enqueue=0.25, start=100.0)
    assert parse_times(TIMES)[0] == query
    assert [found.start for found in parse_times(TIMES)] == [100, 210, 220]


def test_the_warm_up_that_8_2_writes_is_left_out():
    assert [found.start for found in parse_times(TIMES, warmup_ms=200)] == [210, 220]


def test_a_file_that_was_cut_holds_what_is_whole():
    assert len(parse_times(TIMES[: TIMES.rindex("latencyMs")])) == 2
    assert len(parse_times(json.dumps([entry(5, endToEndMs=3.0)]))) == 1


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", "true", '"2"', "null", "9" * 400])
def test_a_figure_that_is_none(value):
    assert len(parse_times(TIMES.replace('"computeMs": 2.0', f'"computeMs": {value}', 1))) == 2


def test_a_profile_with_a_name_that_breaks_it():
    assert parse_profile(PROFILE) == [EngineLayerTime("conv1 + relu", 0.1, 0.09), EngineLayerTime("fc", 0.05)]


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(
    st.integers(0, 1200), st.integers(0, 1200), st.text(max_size=8) | st.sampled_from(["{", "}", "1e999", "9" * 5000])
)
def test_no_text_raises(start, end, noise):
    for text in (TIMES, PROFILE):
        damaged = text[:start] + noise + text[max(start, end) :]
        for query in parse_times(damaged):
            assert query.compute >= 0 and query.latency >= 0 and query.enqueue >= 0
        assert all(layer.name is not None and layer.average_ms >= 0 for layer in parse_profile(damaged))
        assert parse_version(damaged) is None


OUTPUTS = """\
[
  { "name" : "features"
  , "dimensions" : "2x1"
  , "values" : [ 7, 8 ]
  }
, { "name" : "logits"
  , "dimensions" : "2x3"
  , "values" : [ 0.5, -1e-06, 3, nan, inf, 2 ]
  }
]
"""


def test_outputs_by_name():
    shape, values = parse_outputs(OUTPUTS, "logits") or ((), [])
    assert shape == (2, 3)
    assert values[:3] == [0.5, -1e-06, 3.0] and math.isnan(values[3]) and values[4:] == [math.inf, 2.0]
    assert parse_outputs(OUTPUTS, "features") == ((2, 1), [7.0, 8.0])


@pytest.mark.parametrize("cut", [OUTPUTS[:-30], OUTPUTS.replace("nan", "na#"), OUTPUTS.replace("2x3", "3x3"), "", "[]"])
def test_outputs_that_are_not_whole(cut):
    assert parse_outputs(cut, "logits") is None
