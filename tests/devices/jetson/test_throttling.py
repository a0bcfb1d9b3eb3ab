import pytest

from edgekd.devices.jetson.tegrastats import parse_tegrastats
from edgekd.devices.jetson.throttling import clock_warnings, counter_warnings, temperature_warnings
from tests.devices.jetson.samples import TEGRASTATS


def gpu(*mhz: int, percent: int = 99) -> list[object]:
    return [parse_tegrastats(f"GR3D_FREQ {percent}%@[{clock}]") for clock in mhz]


def test_counters_that_grew():
    [warning] = counter_warnings({"oc1": 4, "oc3": 7}, {"oc1": 4, "oc3": 9})
    assert (warning.code, "2 times (oc3)" in warning.message) == ("throttled", True)
    assert counter_warnings({"oc1": 4}, {"oc1": 4, "oc2": 1}) == []


def test_a_zone_at_its_limit():
    hot = [parse_tegrastats(TEGRASTATS["Orin Nano, loaded, sudo"])]  # tj 65.562 °C
    [warning] = temperature_warnings(hot, {"tj": 65.5, "cpu": 99.0, "unknown": 1.0})
    assert "tj reached 65.562 °C" in warning.message
    assert temperature_warnings([], {"tj": 1.0}) == []


@pytest.mark.parametrize(
    ("samples", "slowed"),
    [
        (gpu(918, 918, 918, 918, 306, 306), True),
        (gpu(918, 900, 890, 880, 875, 873), False),  # 873 is over 95 % of 909
        (gpu(918, 918, 918, 306, 306, 306, percent=10), False),  # at rest
        (gpu(918, 306), False),  # too few to say
        ([parse_tegrastats("GR3D_FREQ 99%")] * 9, False),  # without root no clock is told
    ],
)
def test_a_clock_that_fell(samples, slowed):
    assert bool(clock_warnings(samples)) is slowed
