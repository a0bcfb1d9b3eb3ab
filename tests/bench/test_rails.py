from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.bench.rails import RailReading, rails_of

# Files named as in the kernel's documentation of the INA3221; the values are made up.
JETPACK_5 = {
    **{"name": "ina3221\n", "in1_label": "VDD_IN\n", "in1_input": "4960\n", "curr1_input": "1008\n"},
    **{"curr1_crit_alarm": "0\n", "curr1_max_alarm": "1\n", "in2_label": "NC\n", "in2_input": "8\n"},
    **{"curr2_input": "0\n", "in3_label": "VDD_SOC\n", "in3_input": "4952\n", "curr3_input": "296\n"},
    **{"in4_input": "1\n", "in7_label": "sum of shunt voltages\n", "in7_input": "0\n", "curr7_input": "0\n"},
}
JETPACK_4 = {
    **{"rail_name_0": "POM_5V_IN\n", "in_voltage0_input": "4936\n", "in_current0_input": "432\n"},
    **{"in_power0_input": "2132\n", "rail_name_1": "NC\n", "in_power1_input": "0\n"},
}


def test_millivolts_times_milliamperes():
    assert rails_of(JETPACK_5) == (
        RailReading("VDD_IN", 4999.68, 4960, 1008, True),
        RailReading("VDD_SOC", 1465.792, 4952, 296),
    )


def test_jetpack_4_tells_milliwatts():
    assert rails_of(JETPACK_4) == (RailReading("POM_5V_IN", 2132.0, 4936, 432),)


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(st.dictionaries(st.sampled_from(sorted({**JETPACK_5, **JETPACK_4})), st.text(max_size=6) | st.just("12\n")))
def test_no_content_raises(files):
    assert all(rail.mw >= 0 and rail.name not in ("", "NC") for rail in rails_of(files))
