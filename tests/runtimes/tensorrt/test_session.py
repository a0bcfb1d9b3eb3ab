import json
from importlib import import_module

import numpy as np
import pytest
import torch

from edgekd.bench.plan import Workload
from edgekd.bench.runtimes import open_session
from edgekd.errors import MeasurementError
from edgekd.runtimes.tensorrt import PACKAGES, errors_of, library
from edgekd.runtimes.tensorrt.profile import join, parse_layers, profile
from edgekd.runtimes.tensorrt.session import DTYPES, drawn, wanted_shape

# After the inspector's schema of each release; TensorRT's own output cannot be had without a GPU.
CONV = {
    "Name": "conv1 + relu1",
    "LayerType": "CaskConvolution",
    "ParameterType": "Convolution",
    "Kernel": [3, 3],
    "Groups": 1,
    "Weights": {"Type": "Int8", "Count": 432},
    "Bias": {"Type": "Float", "Count": 16},
}
TENSORRT_10 = {
    "Layers": [
        {
            **CONV,
            "Inputs": [{"Name": "x", "Dimensions": [2, 3, 8, 8], "Format/Datatype": "Row major Int8 format"}],
            "Outputs": [{"Name": "y", "Dimensions": [2, 16, 8, 8], "Format/Datatype": "Row major linear FP16 format"}],
        },
        {
            "Name": "pool",
            "LayerType": "CaskPooling",
            "Inputs": [{"Name": "y", "Dimensions": [2, 16, 8, 8], "Format/Datatype": "Channel major FP16 format"}],
            "Outputs": [{"Name": "z", "Dimensions": [-1, 16], "Format/Datatype": "N/A due to dynamic shapes"}],
        },
    ],
    "Bindings": ["x", "z"],
}
TENSORRT_11 = {
    "Layers": [
        {
            **CONV,
            "Inputs": [{"Name": "x", "Dimensions": [2, 3, 8, 8], "Format": "Row major (kLINEAR)", "DataType": "Int8"}],
            "Outputs": [{"Name": "y", "Dimensions": [2, 16, 8, 8], "Format": "kHWC8", "DataType": "Half"}],
        },
        {
            "Name": "pool",
            "LayerType": "CaskPooling",
            "Inputs": [{"Name": "y", "Dimensions": [2, 16, 8, 8], "Format": "kHWC8", "DataType": "Half"}],
            "Outputs": [{"Name": "z", "Dimensions": [-1, 16], "Format": "kLINEAR", "DataType": "Half"}],
        },
    ],
    "I/O Tensors": [{"Name": "x", "IOMode": "Input", "DataType": "Int8", "Dimensions": [2, 3, 8, 8]}],
}
TIMES = [{"conv1 + relu1": 0.5, "pool": 0.1}, {"conv1 + relu1": 0.3, "pool": 0.1}, {"conv1 + relu1": 0.4, "pool": 0.2}]


@pytest.mark.parametrize("document", [TENSORRT_10, TENSORRT_11], ids=["10", "11"])
def test_times_are_joined_to_the_inspector(document):
    record = join(TIMES, [0.7, 0.6, 0.9], parse_layers(json.dumps(document)))
    conv, pool = record.layers
    assert (conv.name, conv.op, conv.ms, conv.precision) == ("conv1 + relu1", "CaskConvolution", 0.4, "int8")
    assert conv.macs == 2 * 8 * 8 * 16 * 3 * 3 * 3
    assert conv.bytes == 2 * 3 * 64 + 432 + 4 * 16 + 2 * 2 * 16 * 64
    assert (pool.ms, pool.precision, pool.macs, pool.bytes) == (0.1, "float16", 0, 2 * 2 * 16 * 64)
    assert (record.total_ms, record.runs) == (0.7, 3)


@pytest.mark.parametrize("document", ['{"Layers": ["conv1 + relu1", "pool"]}', '{"Layers": ["a "quoted" name"]}', ""])
def test_names_only_leaves_the_work_unknown(document):
    conv, _ = join(TIMES, [1.0, 1.0, 1.0], parse_layers(document)).layers
    assert (conv.name, conv.op, conv.macs, conv.bytes, conv.precision) == ("conv1 + relu1", "", 0, 0, "")


@pytest.mark.parametrize(
    ("own", "given", "batch", "shape"),
    [
        ((1, 3, 8, 8), None, 1, (1, 3, 8, 8)),
        ((-1, 3, 8, 8), None, 4, (4, 3, 8, 8)),
        ((-1, 3, -1, -1), (1, 3, 9, 9), 4, (4, 3, 9, 9)),
        ((-1, 3, -1, -1), (2, 3, 9, 9), 1, (2, 3, 9, 9)),
        ((), None, 1, ()),
    ],
)
def test_open_dimensions_are_filled(own, given, batch, shape):
    assert wanted_shape("m.plan", "x", own, given, batch) == shape


@pytest.mark.parametrize(
    ("own", "given", "batch", "words"),
    [
        ((-1, 3, -1, -1), None, 1, "open beyond its batch; give --shape"),
        ((1, 3, 8, 8), None, 4, "fixes its batch at 1, not 4"),
    ],
)
def test_shapes_that_stay_open_are_refused(own, given, batch, words):
    with pytest.raises(MeasurementError, match=words):
        wanted_shape("m.plan", "x", own, given, batch)


@pytest.mark.parametrize("dtype", DTYPES.values())
def test_values_of_every_type(dtype):
    """Those that the same input of an ONNX file is given; zeros where they may be indices."""
    for shape in ((40, 3), ()):
        made = drawn(shape, dtype, np.random.default_rng(0))
        assert (made.shape, made.dtype) == (shape, dtype)
    made = drawn((40, 3), dtype, np.random.default_rng(0))
    if dtype.is_floating_point:
        expected = np.random.default_rng(0).random((40, 3), np.float32)
        assert torch.equal(made, torch.from_numpy(expected).to(dtype)) and 0 <= made.min() < made.max() <= 1
    else:
        is_8_bit = dtype in (torch.int8, torch.uint8)
        low, high = int(made.min()), int(made.max())
        assert low >= 0 and (100 < high < 128 if is_8_bit else high == 0)


def test_an_engine_on_the_cpu_is_refused(tmp_path):
    with pytest.raises(MeasurementError, match="give --device cuda"):
        open_session(Workload(str(tmp_path / "m.plan"), "tensorrt", "cpu"))


def test_missing_engine(tmp_path):
    with pytest.raises(MeasurementError, match="no such file"):
        open_session(Workload(str(tmp_path / "m.plan"), "tensorrt", "cuda"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_library_or_gpu_the_way_out_is_named(tmp_path):
    engine = tmp_path / "m.plan"
    engine.write_bytes(b"engine")
    with pytest.raises(MeasurementError, match=r"edgekd\[tensorrt\]|time the ONNX file on the CPU"):
        open_session(Workload(str(engine), "tensorrt", "cuda"))


def test_what_cannot_be_profiled_says_so(tmp_path):
    with pytest.raises(MeasurementError, match="nsys"):
        profile(Workload("m.plan", "tensorrt", "cuda"), trace_to=tmp_path / "trace.json")
    with pytest.raises(MeasurementError, match="without cuda_graph"):
        profile(Workload("m.plan", "tensorrt", "cuda", args={"cuda_graph": True}))


@pytest.fixture(params=PACKAGES)
def trt(request):
    package = request.param.replace("_", "-")
    reason = f"'pip install {package}' brings what is missing here"
    pytest.importorskip(request.param, reason=reason, exc_type=ImportError)
    return import_module(request.param)


USED = {
    "ICudaEngine": (
        *("create_execution_context", "create_engine_inspector", "num_io_tensors", "get_tensor_name"),
        *("get_tensor_mode", "get_tensor_dtype", "get_tensor_shape", "get_tensor_vectorized_dim"),
        *("get_tensor_profile_shape", "is_shape_inference_io"),
    ),
    "IExecutionContext": (
        *("set_input_shape", "get_tensor_shape", "infer_shapes", "set_tensor_address", "execute_async_v3", "profiler"),
    ),
    "Runtime": ("deserialize_cuda_engine",),
    "EngineInspector": ("get_engine_information", "execution_context"),
    "IProfiler": ("report_layer_time",),
    "ILogger": ("Severity",),
    "TensorIOMode": ("INPUT",),
    "LayerInformationFormat": ("JSON",),
    "DataType": tuple(DTYPES),
}


@pytest.mark.parametrize("owner", USED)
def test_the_installed_library_has_what_is_used(trt, owner):
    assert [name for name in USED[owner] if not hasattr(getattr(trt, owner), name)] == []


def test_the_library_says_why_an_engine_does_not_load(trt):
    assert library().__name__ in PACKAGES
    logger = errors_of(trt)
    try:
        engine = trt.Runtime(logger).deserialize_cuda_engine(b"no engine" * 100)
    except TypeError:
        pytest.skip("without a driver there is no Runtime")
    assert engine is None
    assert logger.last().startswith(": ")
