import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.devices.jetson.power_mode import ClockRange, PowerMode, parse_clocks, parse_power_mode, parse_power_modes
from tests.devices.jetson.samples import JETSON_CLOCKS, NVPMODEL, NVPMODEL_MODES


def test_the_mode_in_force():
    assert parse_power_mode(NVPMODEL) == PowerMode(0, "MAXN")
    assert parse_power_mode("NVPM WARN: fan mode is not set!\nNV Power Mode: MAXN_SUPER\n2\n") == PowerMode(
        2, "MAXN_SUPER"
    )


@pytest.mark.parametrize("text", ["", "NV Power Mode: MAXN", "NV Power Mode: MAXN\nfan", "sh: nvpmodel: not found\n"])
def test_what_is_no_mode(text):
    assert parse_power_mode(text) is None


def test_the_modes_of_a_board():
    assert parse_power_modes(NVPMODEL_MODES) == (PowerMode(0, "MAXN"),)
    assert parse_power_modes("") == ()


def test_the_clocks():
    found = parse_clocks(JETSON_CLOCKS)
    assert (found.soc, found.machine) == ("tegra234", "NVIDIA Orin Jetson-Small Developer Kit")
    assert found.online_cpus == tuple(range(12))
    assert found.units == {
        "cpu0": ClockRange(115200, 2201600, 2112000, True, "schedutil"),
        "EMC": ClockRange(204, 3199, 3199),
    }
    assert found.locked is False


def test_clocks_are_locked_where_every_unit_stands_still():
    text = (
        "cpu0: Online=1 Governor=schedutil MinFreq=9 MaxFreq=9 CurrentFreq=9 IdleStates: WFI=0\n"
        "cpu1: Online=0 Governor=schedutil MinFreq=1 MaxFreq=9 CurrentFreq=1\n"
        "GPU MinFreq=7 MaxFreq=7 CurrentFreq=7\n"
    )
    assert parse_clocks(text).locked is True
    assert parse_clocks("").locked is None


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(
    st.sampled_from([NVPMODEL, NVPMODEL_MODES, JETSON_CLOCKS]),
    st.integers(0, 320),
    st.integers(0, 320),
    st.sampled_from(["", "\n", "=", "9" * 5000, "a=" * 2000, "0-99999999", "-", ","]) | st.text(max_size=8),
)
def test_no_text_raises(text, start, end, noise):
    damaged = text[:start] + noise + text[max(start, end) :]
    clocks = parse_clocks(damaged)
    assert all(clock.lowest >= 0 and clock.current >= 0 for clock in clocks.units.values())
    assert len(clocks.online_cpus) <= 5000
    for mode in (parse_power_mode(damaged), *parse_power_modes(damaged)):
        assert mode is None or (mode.id >= 0 and mode.name)
