import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.stats.correct import decode_correct, encode_correct


@given(st.lists(st.booleans(), max_size=70))
def test_what_was_encoded_is_decoded(correct):
    text = encode_correct(correct)
    assert decode_correct(text, len(correct)) == tuple(correct)
    assert len(text) <= len(correct) / 6 + 4


@pytest.mark.parametrize("n", [-1, 16, 25, None, "24", 24.0])
def test_another_number_of_samples_than_was_encoded_is_none(n):
    assert decode_correct(encode_correct([True] * 24), n) is None
