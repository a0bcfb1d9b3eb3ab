import pytest

from edgekd.prune.latency import Layer, predict

FULL = {
    "conv": Layer("conv", 3, 64, ((8, 8),), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "head": Layer("linear", 64, 10, ((),)),
}
HALF = {"conv": FULL["conv"].resized(3, 32), "head": FULL["head"].resized(32, 10)}
TABLE = {FULL["conv"]: 2.0, FULL["head"]: 0.5, HALF["conv"]: 1.2, HALF["head"]: 0.3}
SHARE = (32 * 64 + 10) / (64 * 64 + 10)


def test_what_is_beyond_the_layers_goes_with_the_activations():
    assert predict(3.5, FULL, HALF, TABLE) == pytest.approx((3.5 - 2.5) * SHARE + 1.5)


def test_a_network_faster_than_its_layers_keeps_their_ratio():
    assert predict(2.0, FULL, HALF, TABLE) == pytest.approx(2.0 * 1.5 / 2.5)
    assert predict(2.5, FULL, HALF, TABLE) == pytest.approx(1.5)


@pytest.mark.parametrize("network_ms", [1.0, 2.5, 9.0])
def test_the_same_widths_take_the_same_time(network_ms):
    assert predict(network_ms, FULL, FULL, TABLE) == pytest.approx(network_ms)
