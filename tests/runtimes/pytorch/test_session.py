import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgekd.bench.plan import Workload
from edgekd.bench.runtimes import open_session
from edgekd.errors import MeasurementError
from edgekd.runtimes.pytorch.profile import REMAINDER, leaves, profile
from edgekd.runtimes.pytorch.session import TorchSession, shape_in_force

NETWORKS = Path(__file__).with_name("networks.py")


def workload(function: str = "linear", runtime: str = "pytorch", **fields: object) -> Workload:
    return Workload(f"{NETWORKS}:{function}", runtime, **{"shape": (1, 8), **fields})  # type: ignore[arg-type]


def test_runs_the_network_in_eval_mode():
    session = open_session(workload(args={"width": 3}))
    assert session.run().shape == (1, 3)
    assert not session.network.training
    assert session.run().grad_fn is None
    assert session.providers == ["cpu"]
    assert session.transfers() == {}
    assert session.load_ms > 0


def test_the_input_comes_from_the_seed():
    same, other = (open_session(workload(), seed=seed).inputs[0] for seed in (3, 4))
    assert torch.equal(open_session(workload(), seed=3).inputs[0], same)
    assert not torch.equal(same, other)


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_network_and_input_are_cast(precision):
    session = open_session(workload(precision=precision))
    assert session.run().dtype == getattr(torch, precision)


@pytest.mark.parametrize("precision", [None, "bfloat16"])
def test_outputs_are_arrays_by_name(precision):
    session = open_session(workload(precision=precision))
    given = np.ones((2, 8), np.float32)
    [(name, found)] = session.outputs({session.input_names[0]: given}).items()
    assert (name, found.dtype, found.shape) == ("logits", np.float32, (2, 8))


def test_without_a_precision_the_networks_own_is_kept():
    assert open_session(workload("doubles")).run().dtype == torch.float64


def test_threads_are_those_asked_for():
    before = torch.get_num_threads()
    try:
        open_session(workload(), threads=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_float32_is_ieee_whatever_the_users_code_has_set():
    before = torch.backends.fp32_precision
    try:
        open_session(workload("allows_tf32"))
        assert torch.backends.fp32_precision == "tf32"
        assert torch.backends.cuda.matmul.fp32_precision == torch.backends.cudnn.conv.fp32_precision == "ieee"
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.fp32_precision = before


def test_layout_is_the_networks_own():
    network = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    session = TorchSession.of(network, (1, 3, 8, 8))
    assert session.network.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_network_of_ones_own_is_left_alone():
    network = nn.Linear(8, 4)
    session = TorchSession.of(network, (2, 8), precision="bfloat16")
    assert session.run().shape == (2, 4)
    assert session.batch == 2
    assert network.training
    assert network.weight.dtype == torch.float32


def test_batch_replaces_that_of_the_shape():
    session = open_session(workload(), batch=4)
    assert session.batch == 4
    assert session.run().shape[0] == 4
    assert shape_in_force(workload(shape=(4, 8)), 1) == (4, 8)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (workload(shape=None), "give --shape"),
        (workload(precision="int8"), "float32, float16, bfloat16"),
        (workload(runtime="pytorch-cudagraph"), "on a CPU time pytorch"),
        (workload(device="tpu"), "--device cpu or cuda"),
        (workload("no_network"), "gives a str; it must return a torch.nn.Module"),
        (workload("linaer"), "did you mean 'linear'"),
        (workload(args={"widht": 3}), "did you mean 'width'"),
        (Workload("model.onnx", "pytorch", shape=(1, 8)), "path/to/file.py:function"),
        (workload("breaks"), "at the shape (1, 8) in float32: no such"),
        (workload(shape=(1, 9)), "at the shape (1, 9)"),
    ],
)
def test_mistakes_are_one_line(broken, words):
    with pytest.raises(MeasurementError) as caught:
        open_session(broken).run()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_batch_than_the_shapes_is_refused():
    with pytest.raises(MeasurementError, match="leave out --batch"):
        open_session(workload(shape=(2, 8)), batch=3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_that_is_not_there_is_refused():
    with pytest.raises(MeasurementError, match="finds no CUDA device here; give --device cpu"):
        open_session(workload(device="cuda"))


@pytest.mark.gpu
@pytest.mark.parametrize("runtime", ["pytorch", "pytorch-cudagraph", "pytorch-compiled"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("float16", 1e-2), ("bfloat16", 5e-2)])
def test_on_a_gpu_the_runtimes_agree(runtime, precision, tolerance):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    expected = TorchSession.of(network, (2, 3, 8, 8)).run()
    session = TorchSession.of(network, (2, 3, 8, 8), runtime, "cuda", precision)
    for _ in range(2):  # a graph is captured in the first run
        torch.testing.assert_close(session.run().float().cpu(), expected, rtol=tolerance, atol=tolerance)
    assert session.transfers().keys() == {"in", "out"}
    assert [call() for call in session.transfers().values()] == [None, None]
    assert session.providers[0].startswith("cuda:0 ")


@pytest.mark.gpu
def test_a_graph_replays_what_was_copied_in():
    session = TorchSession.of(nn.Linear(8, 4), (2, 8), "pytorch-cudagraph", "cuda")
    first = session.run().clone()
    session.inputs[0].zero_()
    assert not torch.equal(session.run(), first)
    torch.testing.assert_close(session.run(), session.network.bias.expand(2, 4))


@pytest.mark.gpu
def test_on_a_gpu_layers_have_the_time_of_their_kernels():
    record = profile(workload("residual", device="cuda", shape=(2, 4, 4, 4)), runs=5)
    assert all(layer.ms > 0 for layer in record.layers if layer.name in ("conv", "up", "act", "head.1"))
    assert sum(layer.ms for layer in record.layers) <= 1.05 * record.total_ms  # medians


@pytest.fixture(scope="module")
def profiled(tmp_path_factory):
    trace = tmp_path_factory.mktemp("profile") / "new" / "trace.json"
    return profile(workload("residual", shape=(2, 4, 4, 4)), runs=5, trace_to=trace), trace


def test_every_module_has_its_path_time_and_work(profiled):
    layers = {layer.name: layer for layer in profiled[0].layers}
    assert list(layers) == ["conv", "act", "up", "head.0", "head.1", REMAINDER]
    assert layers["conv"].op == "Conv2d"
    assert layers["conv"].macs == 2 * 4 * 4 * 4 * (2 * 3 * 3)  # groups=2: two channels in per channel out
    assert layers["conv"].bytes == 4 * (2 * 4 * 16 + 4 * 2 * 9 + 4 + 2 * 4 * 16)
    assert layers["up"].macs == 2 * 4 * 16 * (2 * 2 * 2)
    assert layers["head.1"].macs == 2 * 128 * 5
    assert layers["head.1"].precision == "float32"
    assert layers["act"].bytes == 4 * 2 * (2 * 4 * 16 + 2 * 2 * 64)  # called twice, read and written
    assert layers["act"].macs == 0


def test_times_add_up_to_the_whole_run(profiled):
    record = profiled[0]
    assert record.runs == 5
    assert record.unprofiled_ms is not None
    assert record.unprofiled_ms > 0
    assert all(layer.ms > 0 for layer in record.layers)
    assert sum(layer.ms for layer in record.layers) == pytest.approx(record.total_ms, rel=0.3)


def test_trace_names_the_layers(profiled):
    events = json.loads(profiled[1].read_text())["traceEvents"]
    assert {"head.1", "conv"} <= {event.get("name") for event in events}


def test_macs_agree_with_pytorchs_own_counter():
    layers = profile(workload("residual", shape=(2, 4, 4, 4)), runs=1).layers
    session = open_session(workload("residual", shape=(2, 4, 4, 4)))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        session.network(*session.inputs)
    assert sum(layer.macs for layer in layers) == counter.get_total_flops() / 2


def test_network_of_one_module_goes_by_its_class():
    assert list(leaves(nn.Linear(2, 2))) == ["Linear"]


@pytest.mark.parametrize("runtime", ["pytorch-compiled", "pytorch-cudagraph"])
def test_fused_layers_are_not_profiled(runtime):
    with pytest.raises(MeasurementError, match="profile the runtime pytorch instead"):
        profile(workload("residual", runtime))


@pytest.mark.slow
def test_what_does_not_compile_is_one_line():
    with pytest.raises(MeasurementError, match="does not run as pytorch-compiled .*; see whether it does as pytorch"):
        open_session(workload("breaks", "pytorch-compiled")).run()


@pytest.mark.slow
def test_compiled_means_compiled():
    with torch._dynamo.config.patch(recompile_limit=1):
        open_session(workload("linear", "pytorch-compiled")).run()
        with pytest.raises(MeasurementError, match="does not run as pytorch-compiled .*recompile_limit"):
            open_session(workload("linear", "pytorch-compiled", args={"width": 3})).run()


@pytest.mark.slow
def test_compiled_network_gives_the_same():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    eager, compiled = (TorchSession.of(network, (1, 3, 8, 8), name) for name in ("pytorch", "pytorch-compiled"))
    torch.testing.assert_close(compiled.run(), eager.run())
    assert compiled.first_run_ms() > 0
