import pytest

from edgekd.report.profile import LayersUnderRoofs, ProfiledLayer
from edgekd.report.roofline import draw_roofline, intensity, longest, ranges, short, speed

ROOFS = {"peak": {"float32": 50.0, "int8": 100.0}, "bandwidth": [[1 << 15, 100.0], [1 << 28, 20.0]]}


def layer(name: str, ms: float, macs: int, precision: str = "float32") -> ProfiledLayer:
    return ProfiledLayer(name, "Conv", ms, ms / 2, macs, 1000, precision, ms / 2, ms / 2, "compute")


def profile(*layers: ProfiledLayer) -> LayersUnderRoofs:
    summary = {"layers_ms": 2.0, "unprofiled_ms": 1.9, "limit_ms": 1.0, "share": 0.53}
    document = {"threads": 1, "roofs": ROOFS, "summary": summary, "layers": [vars(each) for each in layers]}
    return LayersUnderRoofs.from_json(document)


@pytest.mark.parametrize(
    "layers",
    [
        [layer("conv", 1.0, 10**7), layer("after", 0.5, 10**6, "int8"), layer("pool", 0.5, 0)],
        [layer("pool", 0.5, 0)],
        [layer("odd", 0.5, 10**5, "int4")],
        [],
    ],
)
def test_pictures_of_any_profile(layers, tmp_path):
    draw_roofline(profile(*layers), tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_figures_give_the_same_bytes(tmp_path):
    paths = [tmp_path / name for name in ("a.svg", "b.svg")]
    for path in paths:
        draw_roofline(profile(layer("conv", 1.0, 10**7)), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert "GMAC/s" in paths[0].read_text()


def test_a_dot_s_place():
    conv = layer("conv", 0.5, 10**7)
    assert (intensity(conv), speed(conv)) == (10_000, 20)


def test_small_layers_are_left_out_unless_they_are_listed():
    large, small, listed, pool = layer("a", 1.0, 5), layer("b", 0.01, 5), layer("c", 0.01, 5), layer("d", 1.0, 0)
    assert longest([small, large, listed, pool], [listed]) == [large, listed]


def test_long_names_keep_their_end():
    assert short(layer("backbone.features.denseblock1.denselayer2.conv2", 1.0, 1)) == "…lock1.denselayer2.conv2"
    assert short(layer("add_70 after layer1.0.conv2", 1.0, 1)) == "add_70"


def test_dots_in_one_place_have_one_label(tmp_path):
    layers = [layer(f"conv{number}", 1.0 - number / 1000, 10**7) for number in range(3)]
    draw_roofline(profile(*layers, layer("far", 0.5, 10**5)), tmp_path / "p.svg")
    drawn = (tmp_path / "p.svg").read_text()
    assert ">1–3<" in drawn and ">4<" in drawn and ">2<" not in drawn
    assert ranges([1, 2, 3, 5, 7, 8]) == "1–3, 5, 7–8"
