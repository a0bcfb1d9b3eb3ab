import json
from dataclasses import replace

import pytest

from edgekd.bench.environment import BUSY_SHARE
from edgekd.bench.profile import bandwidth, cache
from edgekd.bench.profile.layers import LayerProfile, LayerTime
from edgekd.bench.profile.roofline import kind, layer_limits, most_to_win_first, summary
from edgekd.bench.profile.roofs import Roofs, measure_roofs
from edgekd.runtimes.onnxruntime import peak

ROOFS = Roofs(1, {"float32": 50.0, "int8": 100.0}, ((1 << 10, 100.0), (1 << 20, 25.0)))
CONV = LayerTime("conv", "Conv", 0.4, 10_000_000, 2000, "float32")
HEAD = LayerTime("head", "QLinearMatMul", 0.1, 1_000_000, 1 << 20, "int8", 1 << 20)
TURN = LayerTime("turn", "ReorderOutput", 0.05, 0, 1 << 10, "float32")
VIEW = LayerTime("view", "Reshape", 0.01, 0, 0, "float32")
PROFILE = LayerProfile((CONV, HEAD, TURN, VIEW), 0.6, 10, unprofiled_ms=0.5)


def test_bandwidth_lies_on_a_line_between_measured_sizes_in_logarithms():
    assert ROOFS.bandwidth_at(1 << 15) == pytest.approx(50.0)
    assert ROOFS.bandwidth_at(1) == 100.0
    assert ROOFS.bandwidth_at(1 << 30) == 25.0
    assert ROOFS.bandwidth_at(1 << 20) == pytest.approx(25.0)


def test_limits_by_hand():
    assert ROOFS.limit_ms(10_000_000, 1000, "float32") == (pytest.approx(0.2), "compute")
    assert ROOFS.limit_ms(0, 1 << 20, "int8") == (pytest.approx((1 << 20) / 25e6), "memory")
    assert ROOFS.limit_ms(10_000_000, 1000, "float16")[0] == pytest.approx(0.2)


def test_weights_come_from_where_all_weights_fit():
    resident, streamed = (ROOFS.limit_ms(0, 1000, "float32", 900, total)[0] for total in (0, 1 << 20))
    assert resident == pytest.approx(1000 / 100e6)
    assert streamed == pytest.approx(100 / 100e6 + 900 / 25e6)


def test_layers_by_the_time_to_win():
    limits = layer_limits(PROFILE, ROOFS)
    assert [each.bound for each in limits] == ["compute", "memory", "memory", "overhead"]
    assert [each.layer.name for each in most_to_win_first(limits)] == ["conv", "head", "turn", "view"]
    assert limits[0].share == pytest.approx(0.5)
    assert limits[3].winnable_ms == 0.01


def test_a_layer_above_its_roof_has_nothing_to_win():
    [limit] = layer_limits(LayerProfile((LayerTime("fast", "Conv", 0.1, 10_000_000, 0, "float32"),), 0.1, 1), ROOFS)
    assert (limit.share, limit.winnable_ms) == (pytest.approx(2.0), 0.0)


@pytest.mark.parametrize("op", ["LSTM", "Einsum", "FusedConv"])
def test_products_that_nobody_counted_have_nothing_to_win(op):
    [limit] = layer_limits(LayerProfile((LayerTime("dark", op, 0.3, 0, 4000, "float32"),), 0.3, 1), ROOFS)
    assert (limit.bound, limit.limit_ms, limit.winnable_ms) == ("not counted", 0.3, 0.0)


def test_the_whole():
    whole = summary(PROFILE, layer_limits(PROFILE, ROOFS))
    assert whole.ms_by_kind == pytest.approx({"float32": 0.4, "int8": 0.1, "conversion": 0.05, "other": 0.01})
    assert whole.ms_by_bound == pytest.approx({"compute": 0.4, "memory": 0.15, "overhead": 0.01})
    assert whole.limit_ms == pytest.approx(0.2 + (1 << 20) / 25e6 + 1024 / 100e6)
    assert whole.share == pytest.approx(whole.limit_ms / 0.5)
    assert kind(VIEW) == "other"


def test_macs_of_the_measured_products():
    assert sorted({work.macs for work in peak.works()}) == sorted(
        {256**3, 512**3, 128 * 128 * 9 * 28 * 28, 256 * 256 * 9 * 14 * 14}
    )


def test_roofs_of_this_machine(monkeypatch):
    monkeypatch.setattr(peak, "SECONDS", 0.02)
    monkeypatch.setattr(bandwidth, "REPETITIONS", 3)
    monkeypatch.setattr(bandwidth.measure_bandwidth, "__defaults__", ((1 << 16, 1 << 20, 1 << 24),))
    roofs = measure_roofs(1)
    assert set(roofs.peak) == {"float32", "int8"}
    assert all(rate > 0.1 for rate in roofs.peak.values())
    rates = [rate for _, rate in roofs.bandwidth]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0.1
    assert Roofs.from_json(json.loads(json.dumps(roofs.to_json()))) == roofs


def test_two_threads_share_a_working_set():
    assert dict(bandwidth.measure_bandwidth(2, (1 << 20,)))[1 << 20] > 0.1


class Counting:
    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, threads: int) -> Roofs:
        self.calls.append(threads)
        return ROOFS


@pytest.fixture
def measure(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Counting()


def test_roofs_are_measured_once_for_each_number_of_threads(measure):
    assert [cache.cached_roofs(threads, measure) for threads in (1, 1, 2)] == [ROOFS] * 3
    assert measure.calls == [1, 2]
    cache.cached_roofs(1, measure, fresh=True)
    assert measure.calls == [1, 2, 1]


def test_roofs_beside_a_busy_neighbour_are_not_kept(measure, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "BUSY_SHARE", BUSY_SHARE)  # tests/conftest.py keeps them
    low = replace(ROOFS, busy=0.5)
    assert cache.cached_roofs(1, lambda threads: low) == low
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    "content",
    ['{"roofs": {"peak": [], "bandwidth": [], "threads": 1, "busy": 0}}', "", "{}", '{"roofs": {"threads": 1}}', "[1]"],
)
def test_a_damaged_cache_is_measured_again(measure, content, tmp_path):
    cache.cached_roofs(1, measure)
    [path] = (tmp_path / "edgekd").glob("roofs-*.json")
    path.write_text(content)
    assert cache.cached_roofs(1, measure) == ROOFS
    assert measure.calls == [1, 1]


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch, measure, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.cached_roofs(1, measure) == ROOFS


def test_another_runtime_version_is_another_machine(monkeypatch, measure):
    import onnxruntime

    cache.cached_roofs(1, measure)
    monkeypatch.setattr(onnxruntime, "__version__", "0.0")
    cache.cached_roofs(1, measure)
    assert measure.calls == [1, 1]
