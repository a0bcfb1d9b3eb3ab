import numpy as np
import pytest

from edgekd.bench.energy import LaunchPower, PowerWindow, energy_j, mean_energy, others_share, power_window, total_rails
from edgekd.bench.records import EnergyRecord
from edgekd.devices.jetson.tegrastats import parse_tegrastats
from edgekd.errors import MeasurementError
from tests.devices.jetson.samples import TEGRASTATS

RAMP = [(float(second), {"VDD_IN": 1000.0 * second, "VDD_SOC": 1.0}) for second in range(11)]  # as many watts as s


def test_a_ramp_is_integrated_exactly():
    assert energy_j(RAMP, 0, 10) == pytest.approx(50)
    assert energy_j(RAMP, 2.5, 4.25) == pytest.approx((4.25**2 - 2.5**2) / 2)
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


def ina3221(mw: float, **more: str) -> dict[str, str]:
    """The files of a monitor whose first rail is the module's, at 5 V, and whose second is a part of that."""
    part = {"in2_label": "VDD_SOC\n", "in2_input": "5000\n", "curr2_input": "100\n"}
    return {"in1_label": "VDD_IN\n", "in1_input": "5000\n", "curr1_input": f"{mw / 5:.0f}\n", **part, **more}


def window_of(readings: list, began: float = 1.0, ended: float = 2.0, inferences: int = 40) -> dict:
    return {"began": began, "ended": ended, "inferences": inferences, "readings": readings}


def test_the_mean_power_of_rails_is_of_the_readings_while_inferences_that_count_ran():
    """5, 7 and 9 W at equal distances are 7 W on the mean; what was read before and after them is not."""
    powers = [(0.9, 100_000), (1.1, 5000), (1.5, 7000), (1.9, 9000), (2.1, 100_000)]
    found = power_window(window_of([[time, [ina3221(mw)]] for time, mw in powers]), "rails")
    assert (found.seconds, found.inferences) == (1.0, 40)
    assert found.watts == {"VDD_IN": pytest.approx(7.0)}
    # By the trapezoid rule: (5 + 9)/2 over 0.6 s, and 9 over 0.2 s.
    uneven = [(1.1, 5000), (1.7, 9000), (1.9, 9000)]
    found = power_window(window_of([[time, [ina3221(mw)]] for time, mw in uneven]), "rails")
    assert found.watts == {"VDD_IN": pytest.approx((7 * 0.6 + 9 * 0.2) / 0.8)}


def rapl(*uj: int, most: int = 262_143_328_850) -> dict[str, dict[str, str]]:
    return {f"package-{n}": {"energy_uj": str(each), "max_energy_range_uj": str(most)} for n, each in enumerate(uj)}


def test_the_power_of_packages_is_what_their_counters_took():
    """A counter that reaches its range starts again at 0: from 8 J to 2 J of 9.999999 J it took 4 J."""
    readings = [[1.0, rapl(8_000_000, 0)], [1.5, rapl(9_000_000, 2_000_000)], [2.0, rapl(10_000_000, 6_000_000)]]
    found = power_window(window_of(readings), "counters")
    assert found.watts == {"package-0": pytest.approx(2.0), "package-1": pytest.approx(6.0)}
    again = [[1.0, rapl(8_000_000, most=9_999_999)], [1.4, rapl(1_000_000, most=9_999_999)],
             [1.8, rapl(2_000_000, most=9_999_999)]]  # fmt: skip
    assert power_window(window_of(again), "counters").watts == {"package-0": pytest.approx(4.0 / 0.8)}


@pytest.mark.parametrize(
    ("kind", "readings"),
    [
        pytest.param("rails", [[1.2, [ina3221(1)]], [1.8, [ina3221(1)]]], id="two readings"),
        pytest.param("rails", [[time, [ina3221(1)]] for time in (0.1, 0.5, 0.9, 2.1)], id="none meanwhile"),
        pytest.param(
            "rails", [[time, [ina3221(1, update_interval="300\n")]] for time in (1.1, 1.4, 1.9)], id="slower than that"
        ),
        pytest.param("rails", [[time, [{}]] for time in (1.1, 1.4, 1.9)], id="no rails"),
        pytest.param(
            "rails",
            [[time, [{"in1_label": "FAN", "in1_input": "5", "curr1_input": "5"}]] for time in (1.1, 1.4, 1.9)],
            id="rails of something else",
        ),
        pytest.param("counters", [[time, rapl(7)] for time in (1.1, 1.4, 1.9)], id="a counter that stands still"),
        pytest.param("counters", [[1.1, rapl(7)], [1.4, rapl(8)]], id="two readings of a counter"),
        pytest.param(
            "counters",
            [[1.1, rapl(7)], [1.4, {"package-0": {"energy_uj": None}}], [1.5, rapl(8)]],
            id="a counter that was lost",
        ),
    ],
)
def test_a_window_whose_power_is_not_known_has_none(kind, readings):
    assert power_window(window_of(readings), kind).watts == {}


QUIET = np.array([[1000.0, 20.0], [500.0, 10.0]])


def launch_of(seconds: float, inferences: int, taken: np.ndarray = QUIET, **watts: float) -> LaunchPower:
    return LaunchPower({"a": PowerWindow(seconds, inferences, watts)}, taken)


def test_an_inference_takes_its_part_of_the_energy_of_all_windows():
    """6 W for 2 s and 3 W for 1 s are 15 J; the second window's power was not known."""
    launches = [launch_of(2.0, 100, cpu=4.0, soc=2.0), launch_of(9.0, 1), launch_of(1.0, 50, cpu=1.0, soc=2.0)]
    assert mean_energy(launches, "a") == EnergyRecord(0.1, 5.0, ("cpu", "soc"), 150)
    assert mean_energy([launch_of(1.0, 1)], "a") is mean_energy([], "a") is None
    assert mean_energy([launch_of(1.0, 1, cpu=1.0), launch_of(1.0, 1, soc=1.0)], "a") is None, "of other rails"


def test_power_that_others_had_a_share_of_is_nobodys():
    busy = np.array([[1000.0, 200.0], [500.0, 10.0]])
    launches = [launch_of(1.0, 1, busy, cpu=1.0), launch_of(1.0, 1, busy, cpu=1.0)]
    assert others_share(launches) == 0.2 and mean_energy(launches, "a") is None
    assert mean_energy([launch_of(1.0, 1, QUIET, cpu=1.0)], "a") is not None
    unseen = launch_of(1.0, 1, np.zeros((2, 2)), cpu=1.0)
    assert others_share([unseen]) == 0 and mean_energy([unseen], "a") is not None
