from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.devices.jetson.tegrastats import EngineLoad, Rail, parse_tegrastats
from tests.devices.jetson.samples import TEGRASTATS

OFF = EngineLoad(on=False)


def cores(*figures: tuple[int, int], off: int = 0) -> tuple[EngineLoad, ...]:
    return (*(EngineLoad(True, percent, (mhz,)) for percent, mhz in figures), *[OFF] * off)


# Read off the lines by eye: time; RAM used, total, largest free; swap used, total; cores; engines; °C; rails.
BY_HAND = {
    "Nano, R32.x, sudo": (
        None, (1655, 3956, 1244.0), (0, 1978), cores((12, 102), (10, 102), (11, 102), (12, 102)),
        {"EMC": EngineLoad(True, 3, (1600,)), "GR3D": EngineLoad(True, 0, (76,)), "APE": EngineLoad(True, None, (25,))},
        {"pll": 36.5, "cpu": 39.0, "iwlwifi": 44.0, "gpu": 37.0, "ao": 47.5, "thermal": 38.0},
        {"POM_5V_IN": (2132, 2132), "POM_5V_GPU": (78, 78), "POM_5V_CPU": (275, 275)},
    ),
    "Nano, two cores off": (
        None, (1409, 3964, 112.0), (0, 1982), cores((22, 518), (67, 518), off=2),
        {"EMC": EngineLoad(True, 0, (1600,)), "GR3D": EngineLoad(True, 0, (76,)), "APE": EngineLoad(True, None, (25,))},
        {"pll": 28.5, "cpu": 32.0, "gpu": 30.5, "ao": 39.5, "thermal": 31.25},
        {"POM_5V_IN": (2003, 2003), "POM_5V_GPU": (0, 0), "POM_5V_CPU": (320, 320)},
    ),
    "Xavier NX, JetPack 5.1.2": (
        datetime(2024, 7, 9, 13, 31, 31), (3168, 6851, 8.0), (161, 3426),
        cores((23, 1397), (17, 1192), (16, 1190), (13, 1190), (23, 1190), (10, 1190)),
        {"EMC": EngineLoad(True, 2, (204,)), "GR3D": EngineLoad(True, 0, (114,)), "VIC": EngineLoad(True, None, (115,)),
         "APE": EngineLoad(True, None, (150,))},
        {"aux": 45.0, "cpu": 46.5, "thermal": 45.6, "ao": 45.0, "gpu": 45.5},
        {"VDD_IN": (2763, 2846), "VDD_CPU_GPU_CV": (650, 670), "VDD_SOC": (650, 711)},
    ),
    "Orin Nano, JP5 (GR3D2, cores off)": (
        datetime(2024, 1, 24, 9, 17, 9), (3503, 7337, 7.0), (430, 3668),
        cores((11, 729), (13, 729), (9, 729), (18, 729), off=2),
        {"EMC": EngineLoad(True, 0, (2133,)), "GR3D": EngineLoad(True, 0, (305,)), "GR3D2": EngineLoad(True, 0, (0,)),
         "VIC": EngineLoad(True, None, (115,)), "APE": EngineLoad(True, None, (174,))},
        {"cv0": 42.718, "cpu": 44.093, "soc2": 42.625, "soc0": 43.281, "cv1": 42.25, "gpu": 41.343, "tj": 46.968,
         "soc1": 46.968, "cv2": 42.875},
        {"VDD_IN": (4915, 4915), "VDD_CPU_GPU_CV": (449, 449), "VDD_SOC": (1431, 1431)},
    ),
    "AGX Orin 64GB (offline sensors, NC rails)": (
        datetime(2025, 4, 11, 10, 36, 27), (4321, 62801, 7036.0), (19, 31400), cores(*[(0, 729)] * 12),
        {"EMC": EngineLoad(True, 0, (2133,)), "GR3D": EngineLoad(True, 0, (0, 0)),
         "VIC": EngineLoad(True, None, (729,)),
         "APE": EngineLoad(True, None, (174,))},
        {"cpu": 44.562, "tboard": 32.0, "soc2": 40.093, "tdiode": 33.0, "soc0": 41.093, "tj": 44.343, "soc1": 41.25},
        {"VDD_GPU_SOC": (2340, 2340), "VDD_CPU_CV": (390, 390), "VIN_SYS_5V0": (4025, 4025),
         "VDDQ_VDD2_1V8AO": (301, 301)},
    ),
    "Orin Nano, loaded, sudo": (
        datetime(2025, 5, 15, 18, 30, 28), (6982, 7620, 5.0), (2640, 16384),
        cores((97, 1984), (95, 1984), (95, 1984), (91, 1984), (88, 1984), (93, 247)),
        {"EMC": EngineLoad(True, 18, (3199,)), "GR3D": EngineLoad(True, 84, (713,)),
         "NVENC": EngineLoad(True, 1, (115,)),
         "NVDEC": EngineLoad(True, 40, (115,)), "NVJPG": OFF, "NVJPG1": OFF, "VIC": EngineLoad(True, 31, (115,)),
         "OFA": OFF,
         "NVDLA0": OFF, "PVA0": OFF, "APE": EngineLoad(True, None, (174,))},
        {"cv0": 63.031, "cpu": 65.562, "soc2": 64.156, "soc0": 63.031, "cv1": 62.937, "gpu": 63.5, "tj": 65.562,
         "soc1": 64.718, "cv2": 60.875},
        {"VDD_IN": (17946, 15710), "VDD_CPU_GPU_CV": (8896, 7585), "VDD_SOC": (3923, 3515)},
    ),
    "Orin Nano, unprivileged: no EMC, no GR3D frequency": (
        datetime(2025, 1, 4, 16, 2, 59), (1273, 7620, 4.0), (286, 3810),
        cores((0, 1036), (0, 1036), (1, 1036), (0, 1036), (0, 729), (0, 729)),
        {"GR3D": EngineLoad(True, 0)},
        {"cpu": 45.875, "soc2": 45.843, "soc0": 44.843, "gpu": 45.437, "tj": 46.312, "soc1": 46.312},
        {"VDD_IN": (4968, 4968), "VDD_CPU_GPU_CV": (436, 436), "VDD_SOC": (1708, 1708)},
    ),
    "AGX Orin 64GB, R36.4.4": (
        datetime(2026, 5, 9, 18, 42, 6), (18207, 62841, 1864.0), (86, 31420),
        cores((14, 2188), (5, 2112), (8, 2035), (14, 2201), (46, 1267), (47, 1267), (2, 1267), (10, 1267), (4, 1036),
              (5, 1036), (6, 1036), (10, 1036)),
        {"EMC": EngineLoad(True, 3, (2133,)), "GR3D": EngineLoad(True, 0, (0, 0)),
         "NVENC": EngineLoad(True, 79, (166,)),
         "NVDEC": OFF, "NVJPG": OFF, "NVJPG1": OFF, "VIC": EngineLoad(True, 36, (115,)), "OFA": OFF, "NVDLA0": OFF,
         "NVDLA1": OFF, "PVA0": OFF, "APE": EngineLoad(True, None, (174,))},
        {"cpu": 52.562, "soc2": 48.437, "soc0": 49.093, "tj": 52.562, "soc1": 49.656},
        {"VDD_GPU_SOC": (2412, 2412), "VDD_CPU_CV": (1607, 1607), "VIN_SYS_5V0": (4707, 4707)},
    ),
    "Orin NX 16GB, 4 cores offline": (
        datetime(2025, 11, 23, 22, 47, 56), (1729, 15657, 32.0), (0, 7828),
        cores((1, 1420), (2, 1420), (4, 1420), (3, 1420), off=4),
        {"GR3D": EngineLoad(True, 0)},
        {"cv0": 43.562, "cpu": 46.125, "soc2": 43.781, "soc0": 44.656, "cv1": 43.312, "gpu": 43.0, "tj": 46.937,
         "soc1": 46.937, "cv2": 43.781},
        {"VDD_IN": (6120, 6120), "VDD_CPU_GPU_CV": (436, 436), "VDD_SOC": (2464, 2464)},
    ),
    "Orin Nano, R39, unprivileged": (
        datetime(2026, 9, 1, 9, 25, 18), (5739, 7546, 2.0), (2047, 2048),
        cores((72, 1728), (75, 1728), (88, 1728), (79, 1728), (87, 1728), (78, 1728)),
        {"GR3D": EngineLoad(True, 33)},
        {"cpu": 50.0, "soc2": 47.937, "soc0": 48.437, "gpu": 48.75, "tj": 50.0, "soc1": 48.5},
        {"VDD_IN": (9761, 9761), "VDD_CPU_GPU_CV": (4238, 4238), "VDD_SOC": (1825, 1825)},
    ),
    "Thor fragment (utilisation missing, three GPCs)": (
        None, (None, None, None), (None, None), (),
        {"EMC": EngineLoad(True, 2, (1866,)), "GR3D": EngineLoad(True, None, (1000, 1000, 1000)),
         "APE": EngineLoad(True, None, (150,))},
        {}, {},
    ),
}  # fmt: skip


def test_every_sample_is_read_by_hand():
    assert sorted(BY_HAND) == sorted(TEGRASTATS)


@pytest.mark.parametrize("board", sorted(TEGRASTATS))
def test_the_samples(board):
    found = parse_tegrastats(TEGRASTATS[board])
    time, ram, swap, cpus, engines, temperatures, rails = BY_HAND[board]
    assert found.time == time
    assert (found.ram_used_mb, found.ram_total_mb, found.largest_free_mb) == ram
    assert (found.swap_used_mb, found.swap_total_mb) == swap
    assert found.cpus == cpus
    assert found.engines == engines
    assert found.temperatures_c == temperatures
    assert found.rails == {name: Rail(*mw) for name, mw in rails.items()}


def test_swap_after_the_cores_and_a_rail_named_as_an_engine():
    found = parse_tegrastats("RAM 1/2MB CPU [1%@3] SWAP 4/5MB (cached 0MB) GPU 1155/1150 GPU@28C GR3D_FREQ 0%@[1300,7]")
    assert (found.swap_used_mb, found.cpus) == (4, cores((1, 3)))
    assert found.rails == {"GPU": Rail(1155, 1150)}
    assert found.temperatures_c == {"gpu": 28.0}
    assert found.gpu == EngineLoad(True, 0, (1300, 7))


def test_blocks_of_kilobytes():
    assert parse_tegrastats("RAM 5/9MB (lfb 3x512kB)").largest_free_mb == 1.5


@pytest.mark.parametrize(
    "line",
    [
        "", "RAM 1655/3956", "RAM", "SWAP 0/1978M", "CPU [12%@102,10%", "CPU [12%@102,oops]", "CPU [101%@102]",
        "GR3D_FREQ 0%@[1300,", "GR3D_FREQ 140%@76", "VDD_IN 4915mW/49", "VDD_IN 4915mW/4915m", "NC 0mW/0mW",
        "CV0@-256C", "PMIC@50C", "cpu@C", "99-99-2024 09:17:09", f"VDD_IN {'9' * 5000}/1", "EMC_FREQ 3%@", "١/٢MB",
    ],
)  # fmt: skip
def test_half_a_field_is_none(line):
    assert parse_tegrastats(line) == parse_tegrastats("")


def test_unknown_words_are_passed_over():
    line = TEGRASTATS["Orin Nano, loaded, sudo"]
    assert parse_tegrastats(line.replace(" EMC", " NEW{1;2} (x) EMC")) == parse_tegrastats(line)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    line = draw(st.sampled_from(sorted(TEGRASTATS.values())))
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(line))] * 2)))
    noise = draw(st.one_of(st.text(max_size=12), st.sampled_from(["9" * 400, "@", "[,", "%@", "mW/", "\x00", "-"])))
    middle = draw(st.integers(start, end))
    return line[start:middle] + noise + line[middle + draw(st.integers(0, 6)) : end]


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(damaged() | st.text())
def test_no_line_raises_and_figures_are_well_formed(line):
    found = parse_tegrastats(line)
    assert (found.ram_used_mb is None) == (found.ram_total_mb is None)
    assert all(mb is None or mb >= 0 for mb in (found.ram_used_mb, found.largest_free_mb, found.swap_used_mb))
    for engine in (*found.cpus, *found.engines.values()):
        assert engine.percent is None or 0 <= engine.percent <= 100
        assert all(mhz >= 0 for mhz in engine.mhz)
        assert engine.on or (engine.percent, engine.mhz) == (None, ())
    assert all(-256 < degrees < 10_000 for degrees in found.temperatures_c.values())
    assert all(rail.mw >= 0 and rail.average_mw >= 0 for rail in found.rails.values())
    assert not {"RAM", "SWAP", "IRAM", "CPU", "NC"} & {*found.rails} and not {"RAM", "SWAP"} & {*found.engines}
