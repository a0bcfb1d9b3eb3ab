import pytest

from edgekd.errors import EdgekdError, ModelError
from edgekd.nearest import among, nearest
from edgekd.registry import Registry


def test_entries_by_any_of_their_names():
    registry: Registry[object] = Registry("colour")
    entry = registry.register("red", "rouge")(object())
    assert registry.find("red") is registry.find("rouge") is entry


def test_an_unknown_name_says_what_is_known():
    registry: Registry[int] = Registry("colour", ModelError)
    registry["green"], registry["blue"] = 1, 2
    with pytest.raises(ModelError) as error:
        registry.find("gren")
    assert str(error.value) == "unknown colour 'gren' (did you mean 'green'?); known: blue, green"


def test_of_many_names_the_nearest_are_listed_where_none_is_close():
    many = {f"layer{number}": number for number in range(20)} | {"depth": 1}
    assert among("deph", ["depth", "width"]) == " (did you mean 'depth'?); known: depth, width"
    said = among("77", many, "'edgekd list' has all")
    assert said.startswith("; known: layer7, layer17, ")
    assert said.endswith(" and 16 others ('edgekd list' has all)") and said.count(",") == 4
    registry: Registry[int] = Registry("layer")
    registry.update(many)
    with pytest.raises(EdgekdError, match="^unknown layer 'deph' .did you mean 'depth'..$"):
        registry.find("deph")


def test_an_entry_is_imported_when_it_is_first_used():
    registry: Registry[object] = Registry("colour")
    made = []
    registry.late("green")(lambda: made.append(object()) or made[-1])
    registry["blue"] = object()
    assert list(registry) == ["green", "blue"]
    assert "green" in registry
    assert not made
    assert registry.find("green") is registry["green"] is made[0]
    assert (len(made), len(registry), [*registry.values()]) == (1, 2, [made[0], registry["blue"]])


def test_an_empty_registry():
    with pytest.raises(EdgekdError, match="^unknown colour 'red'; known: $"):
        Registry("colour").find("red")


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("epoch", ["epochs", "lr"], " (did you mean 'epochs'?)"),
        ("zebra", ["epochs", "lr"], ""),
        ("x", [], ""),
        ("resnet21", ["resnet32", "resnet20", "resnet56"], " (did you mean 'resnet20'?)"),
    ],
)
def test_nearest(name, known, expected):
    assert nearest(name, known) == expected
