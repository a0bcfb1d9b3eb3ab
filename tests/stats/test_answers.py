import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.stats.answers import read_answers, write_answers


@given(st.lists(st.booleans(), max_size=70))
def test_what_was_written_is_read(right):
    text = write_answers(right)
    assert read_answers(text, len(right)) == tuple(right)
    assert len(text) <= len(right) / 6 + 4


@pytest.mark.parametrize("n", [-1, 16, 25, None, "24", 24.0])
def test_another_number_of_answers_than_was_written_is_none(n):
    assert read_answers(write_answers([True] * 24), n) is None
