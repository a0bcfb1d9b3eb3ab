from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.bench import quiet_moment
from edgekd.bench.records import LatencyRecord, LatencySummary, MeasurementWarning
from edgekd.bench.target import LocalTarget
from edgekd.errors import MeasurementError, ModelError
from edgekd.export import export_onnx
from edgekd.preprocess import Preprocess
from edgekd.prune.budget import Pruned, prune
from edgekd.prune.clock import Clock, Timing
from edgekd.prune.latency_check import check_latency

SHAPE = (3, 32, 32)
WRITE = partial(export_onnx, preprocess=Preprocess("image", SHAPE, (0.5,) * 3, (0.25,) * 3))


def separable(width: int) -> nn.Module:
    """Depthwise convolutions leave ONNX Runtime's fast kernels at widths that are no multiple of 4."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, width, 1), nn.ReLU()]
    for _ in range(3):
        layers += [
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)).eval()


def cut(network: nn.Module, step: int, macs: float = 0.96) -> Pruned:
    return prune(network, SHAPE, macs=macs, round_to=step, scope="layer")


@pytest.mark.slow
def test_a_smaller_network_takes_less():
    network = separable(64)
    with Clock(network, WRITE, seconds=0.2, launches=3) as clock:
        timing = clock.time(separable(32), predicted=0.5)
        folder = clock.before.parent
        assert folder.is_dir()
    assert timing.ci95 is not None
    assert timing.ci95[0] <= timing.measured <= timing.ci95[1] < 0.9
    assert not timing.is_slower
    assert timing.to_json() == {"measured": timing.measured, "ci95": timing.ci95, "predicted": 0.5}
    assert not folder.exists()


def test_nothing_is_left_where_the_reference_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def refuse(network: nn.Module, path: Path) -> None:
        path.write_text("half")
        raise ModelError("no")

    with pytest.raises(ModelError, match="no"), Clock(separable(8), refuse):
        pass
    assert list(tmp_path.iterdir()) == []


class CrowdedTarget(LocalTarget):
    """This machine, when others took nearly all of its time."""

    def latency(self, plan, timeout_s=None, progress=iter):
        times = LatencySummary(min=1.0, mean=1.0, n=1, p50=1.0)
        why = MeasurementWarning("others_took_time", "others took processor time from 29 of 30 rounds")
        return {"after": LatencyRecord(times, 1.0, 1.0, 1, 1, [], [], warnings=(why,))}


def test_a_latency_that_others_leave_unclear_is_refused_when_no_quiet_moment_came(monkeypatch, capsys):
    monkeypatch.setattr(quiet_moment, "PATIENCE_S", 0.5)
    monkeypatch.setattr(quiet_moment, "PAUSE_S", 0.1)
    network = separable(8)
    with (
        Clock(network, WRITE, target=CrowdedTarget()) as clock,
        pytest.raises(MeasurementError, match="29 of 30 rounds"),
    ):
        clock.time(network)
    assert capsys.readouterr().err.count("measuring again until they rest, for 0.5 s at most") == 1


@pytest.mark.slow
def test_another_rounding_where_the_network_would_be_slower():
    """At 62 of 64 channels the network has 6 % fewer multiply-accumulates and takes twice as long."""
    network = separable(64)
    with Clock(network, WRITE, seconds=0.2, launches=3) as clock:
        assert cut(network, 1).network[0].out_channels == 62
        found = check_latency(lambda step: cut(network, step), clock, (1, 8, 16))
    assert [step for step, _ in found.rejected] == [1]
    assert found.rejected[0][1].is_slower
    assert found.rejected[0][1].measured > 1.1
    assert found.round_to == 8
    assert found.pruned.network[0].out_channels == 56
    assert not found.timing.is_slower


def test_where_no_rounding_helps_the_fastest_is_taken():
    class Readings(Clock):
        """What a clock would say of one network after the other; a real one cannot be told to."""

        def time(self, network: nn.Module, predicted: float | None = None) -> Timing:
            measured = readings.pop(0)
            return Timing(measured, (measured - 0.01, measured + 0.01))

    network = separable(16)
    clock = Readings(network, WRITE)
    readings = [1.3, 1.3, 1.1, 1.1, 1.2, 1.2]
    found = check_latency(lambda step: cut(network, step, macs=0.9), clock, (1, 2, 4))
    assert (found.round_to, found.timing.measured, found.timing.is_slower) == (2, 1.1, True)
    assert [(step, timing.measured) for step, timing in found.rejected] == [(1, 1.3), (4, 1.2)]
    readings = [1.3, 1.3]
    found = check_latency(lambda step: cut(network, step, macs=0.5), clock, (1, 16))
    assert (found.round_to, readings) == (1, [])
    # By chance slower once
    readings = [1.3, 0.9]
    assert check_latency(lambda step: cut(network, step, macs=0.9), clock, (1,)).timing.measured == 0.9
    with pytest.raises(ModelError, match="cannot reach 1% of the MACs"):
        check_latency(lambda step: cut(network, step, macs=0.01), clock, (8,))


def test_beyond_the_interval():
    assert Timing(1.2, (1.01, 1.3)).is_slower
    assert not Timing(1.2, (0.99, 1.3)).is_slower
    assert not Timing(1.2, None).is_slower
