import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.devices.jetson.release import (
    Release,
    compute_capability,
    parse_l4t_package,
    parse_nv_tegra_release,
    soc_of,
)
from tests.devices.jetson.samples import NV_TEGRA_RELEASE

BY_HAND = {
    "R32": ("32.7.1", "t186ref", "Wed Feb  2 21:33:23 UTC 2022", "4.6.1"),
    "R34": ("34.1.1", "t186ref", "Tue May 17 04:20:55 UTC 2022", "5.0.1DP"),
    "R35": ("35.3.1", "t186ref", "Wed Mar 15 07:54:12 UTC 2023", "5.1.1"),
    "R36": ("36.4.4", "generic", "Mon Jun 16 16:07:13 UTC 2025", "6.2.1"),
}


@pytest.mark.parametrize("name", sorted(NV_TEGRA_RELEASE))
def test_the_samples(name):
    found = parse_nv_tegra_release(NV_TEGRA_RELEASE[name])
    assert found is not None
    assert (found.l4t, found.board, found.date, found.jetpack) == BY_HAND[name]


def test_two_numbers_are_a_release_too():
    assert parse_nv_tegra_release("# R36 (release), REVISION: 3.0, GCID: 1") == Release("36.3.0")
    assert parse_nv_tegra_release("# R99 (release), REVISION: 1.0\n") == Release("99.1.0")
    assert Release("99.1.0").jetpack is None


@pytest.mark.parametrize("text", ["", "R36", "# R36 (release), REVISION:", "# KERNEL_VARIANT: oot\n# R36 (release)"])
def test_what_is_no_release(text):
    assert parse_nv_tegra_release(text) is None


def test_the_package_stands_in():
    assert parse_l4t_package("nvidia-l4t-core\t36.4.4-20250616085344\n") == Release("36.4.4")
    assert parse_l4t_package("dpkg-query: no packages found matching nvidia-l4t-core\n") is None


def test_the_chip_and_its_capability():
    compatible = "nvidia,p3767-0000\0nvidia,tegra234\0"
    assert (soc_of(compatible), compute_capability(compatible)) == ("tegra234", "8.7")
    assert compute_capability("nvidia,tegra264\0") == "11.0"
    assert (soc_of("raspberrypi,5-model-b\0"), compute_capability("raspberrypi,5\0")) == (None, None)


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(
    st.sampled_from(sorted(NV_TEGRA_RELEASE.values())), st.integers(0, 120), st.integers(0, 120), st.text(max_size=8)
)
def test_no_text_raises(text, start, end, noise):
    for damaged in (text[start:end], text[:start] + noise + text[end:], noise):
        found = parse_nv_tegra_release(damaged)
        assert found is None or all(part.isdecimal() for part in found.l4t.split("."))
        assert parse_l4t_package(damaged) is None or "nvidia" in damaged
