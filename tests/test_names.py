"""Names are the field's, and the docstring of whatever can be called says with a verb what the caller gets."""

import pytest

from tests.house import ROOMS
from tests.names import dialect_in, faults, is_imperative


@pytest.mark.parametrize("room", ROOMS)
def test_docstrings_begin_with_a_verb_and_names_are_the_fields(room):
    """``python -m tests.names ROOM`` lists the same; tests/verbs.txt holds the verbs, and takes more."""
    assert not faults(room)


@pytest.mark.parametrize(
    ("docstring", "good"),
    [
        ("Return the file for ``target``, or None.", True),
        ("Hash the file\nin blocks.\n\nMore", True),
        ("What is left.", False),
        ("Writes the file.", False),
        ("``value`` in points.", False),
        ("Return a fragment", False),
    ],
)
def test_a_verb_and_a_sentence(docstring, good):
    assert is_imperative(docstring) is good


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("measure_abroad", True),
        ("chain sites", True),
        ("DeviceSite", True),
        ("HARM_SAMPLES", True),
        ("opposite", False),
    ],
)
def test_the_dialect(name, bad):
    assert dialect_in(name) is bad
