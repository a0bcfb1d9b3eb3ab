import pytest

from edgekd.devices.jetson.power import energy_j, energy_per_inference_j, total_rails
from edgekd.devices.jetson.tegrastats import parse_tegrastats
from edgekd.errors import MeasurementError
from tests.devices.jetson.samples import TEGRASTATS

RAMP = [(float(second), {"VDD_IN": 1000.0 * second, "VDD_SOC": 1.0}) for second in range(11)]  # as many watts as s


def test_a_ramp_is_integrated_exactly():
    assert energy_j(RAMP, 0, 10) == pytest.approx(50)
    assert energy_j(RAMP, 2.5, 4.25) == pytest.approx((4.25**2 - 2.5**2) / 2)
    assert energy_per_inference_j(RAMP, 0, 10, 100) == pytest.approx(0.5)
    assert energy_j(RAMP, 0, 10, ["VDD_SOC"]) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("board", "rails"),
    [
        ("Nano, R32.x, sudo", ("POM_5V_IN",)),
        ("Orin Nano, R39, unprivileged", ("VDD_IN",)),
        ("AGX Orin 64GB, R36.4.4", ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")),
    ],
)
def test_the_whole_module(board, rails):
    assert total_rails(parse_tegrastats(TEGRASTATS[board]).rails) == rails


@pytest.mark.parametrize(
    ("samples", "start", "end", "message"),
    [
        (RAMP, 5, 11, "not over all of 5 to 11 s"),
        (RAMP, -1, 4, "sampled over 0 to 10 s"),
        (RAMP, 4, 4, "holds no time"),
        ([], 0, 1, "no energy"),
        ([(0, {"A": 1}), (1, {"A": 1})], 0, 1, "none of the rails A"),
        ([*RAMP, (9.0, RAMP[0][1])], 0, 1, "clock was set"),
        ([*RAMP, (12.0, {"VDD_SOC": 1.0})], 0, 1, "VDD_IN is missing"),
    ],
)
def test_no_energy_is_guessed(samples, start, end, message):
    with pytest.raises(MeasurementError, match=message):
        energy_j(samples, start, end)


def test_no_inference_has_no_energy():
    with pytest.raises(MeasurementError, match="no inference"):
        energy_per_inference_j(RAMP, 0, 10, 0)
