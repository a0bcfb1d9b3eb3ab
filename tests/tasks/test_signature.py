import re

import pytest

from edgekd.errors import ModelError
from edgekd.tasks.signature import LOGITS, Signature, TensorSpec, must_give_logits

IMAGE = TensorSpec("input", (3, 32, 32))


def test_one_logit_each():
    must_give_logits(Signature((IMAGE,), (TensorSpec(LOGITS, (10,)),)), 10, "class")


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ([TensorSpec(LOGITS, (10,))], "gives 'logits' of shape (10,); expected one output 'logits' of shape (3,)"),
        ([TensorSpec("boxes", ("n", 4))], "gives 'boxes' of shape ('n', 4); expected"),
        ([TensorSpec(LOGITS, (3,)), TensorSpec("aux", (3,))], "gives 'logits' of shape (3,), 'aux' of shape (3,); "),
        ([], "gives nothing; expected"),
        ([TensorSpec(LOGITS, (3,), "int64")], "gives int64 values; logits are floating-point numbers"),
    ],
)
def test_something_else(outputs, said):
    with pytest.raises(ModelError, match=re.escape(said)):
        must_give_logits(Signature((IMAGE,), tuple(outputs)), 3, "class")
