"""The rooms of the house: each imports lower floors alone, some never import torch, and the map says so."""

import ast
from collections import Counter

import pytest

from tests.house import (
    FLOORS,
    HOUSE,
    MAP,
    ON_DEMAND,
    REGISTRIES,
    ROOMS,
    STAY,
    circle_of,
    imports,
    json_objects,
    loose_tables,
    modules,
    modules_imported,
    page,
    parsed,
    room_of,
    rooms_on_disk,
    small_files,
    way_to_torch,
)

# First words of docstrings that are fragments; a word in -s is the third person, as in "Returns".
FRAGMENTS = {
    *("A", "All", "An", "As", "By", "Each", "Every", "For", "From", "How", "In", "It", "Its", "None", "Of", "One"),
    *("That", "The", "Those", "What", "Where", "Whether", "Which", "With"),
}
VERBS_IN_S = {"Access", "Address", "Compress", "Discuss", "Express", "Guess", "Pass", "Process"}

NEVER = [("report", "gate"), ("export", "data"), ("train", "recipe"), ("data", "recipe"), ("prune", "train")]


def test_every_room_has_one_floor():
    assert sorted(ROOMS) == sorted(rooms_on_disk())
    assert len(ROOMS) == sum(map(len, FLOORS))


@pytest.mark.parametrize("name", ROOMS)
def test_imports_run_downwards(name):
    floor, room = ROOMS[name]
    not_below = {
        f"{path.relative_to(room.path.parent)} imports {module}"
        for path in room.files
        for module in imports(path)
        if (other := room_of(module)) and other != name and ROOMS[other][0] >= floor
    }
    assert not not_below


@pytest.mark.parametrize("name", [name for name, (_, room) in ROOMS.items() if room.first])
def test_imports_within_a_room_run_one_way(name):
    assert " -> ".join(circle_of(ROOMS[name][1])) == ""


def test_imports_in_functions_and_for_annotations_count():
    assert {"edgekd.data.folder", "edgekd.data.raw"} <= modules_imported(HOUSE / "data/sources.py")


@pytest.mark.parametrize(("room", "other"), NEVER)
def test_never(room, other):
    assert not [module for path in ROOMS[room][1].files for module in imports(path) if room_of(module) == other]


@pytest.mark.parametrize("name", [name for name, (_, room) in ROOMS.items() if not room.torch])
def test_rooms_with_a_star_do_not_reach_torch(name):
    ways = [way_to_torch(module) for module in modules(ROOMS[name][1]) if not ON_DEMAND.match(module)]
    assert not [" -> ".join(way) for way in ways if way]


@pytest.mark.parametrize("name", [name for name, (_, room) in ROOMS.items() if room.torch])
def test_rooms_without_a_star_do(name):
    """Else the star is missing, or nothing is seen at all."""
    assert any(way_to_torch(module) for module in modules(ROOMS[name][1]))


def test_the_map_is_of_this_house():
    assert MAP.read_text() == page(), "'python -m tests.house' writes it"
    assert all((room.path / room.first).is_file() for _, room in ROOMS.values())
    assert all(len(room.sentence) > 20 and room.sentence.endswith(".") for _, room in ROOMS.values())


def test_no_two_public_classes_share_a_name():
    found = Counter(
        node.name
        for path in HOUSE.rglob("*.py")
        for node in parsed(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not [name for name, count in found.items() if count > 1]


def test_tables_of_anything_become_records():
    """The bound falls as rooms are done; :func:`tests.house.loose_tables` says what is counted."""
    assert loose_tables().total() <= 25


def test_documents_of_json_stay_at_the_edge():
    assert json_objects().total() <= 20


def test_short_files_of_one_importer_are_folded_or_have_a_reason():
    assert not {name for name in small_files() if name not in STAY and not name.startswith(REGISTRIES)}
    assert len(STAY) <= 20


@pytest.mark.parametrize("name", ROOMS)
def test_docstrings_of_functions_begin_with_a_verb(name):
    functions = [
        (path, node)
        for path in ROOMS[name][1].files
        for node in ast.walk(parsed(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_")
    ]
    found = [
        (path, node.name, doc.split()[0].strip(".,:;")) for path, node in functions if (doc := ast.get_docstring(node))
    ]
    assert not [
        f"{path.relative_to(HOUSE)}: {function} begins with {word!r}"
        for path, function, word in found
        if word in FRAGMENTS or (word.endswith("s") and word not in VERBS_IN_S)
    ]
