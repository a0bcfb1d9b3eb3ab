import json
import re

import pytest
import torch

from edgekd.errors import ModelError
from edgekd.tasks.logits import must_give_logits
from edgekd.tasks.signature import LOGITS, OpenDimension, Signature, TensorSpec
from edgekd.tasks.tensor_spec import UNBOUNDED

IMAGE = TensorSpec("input", (3, 32, 32))


def test_one_logit_each():
    must_give_logits(Signature((IMAGE,), (TensorSpec(LOGITS, (10,)),)), [(10,)], "class")


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
        must_give_logits(Signature((IMAGE,), tuple(outputs)), [(3,)], "class")


TEXT = Signature(
    (TensorSpec("ids", ("length",), "int64", (2, 30)), TensorSpec("mask", ("length",), bounds=(-30, 0))),
    (TensorSpec("tags", ("length", 5)), TensorSpec("score", (2,))),
    (OpenDimension("length", 6, 2, 64),),
)


def test_a_shape_is_a_classifier_s_input():
    found = Signature.of((3, 8, 8))
    assert found.is_single and found is Signature.of(found)
    [example] = found.example()
    assert example.shape == (2, 3, 8, 8) and not example.any()
    [[(axis, batch)]] = [shape.items() for shape in found.dynamic_shapes()]
    assert (axis, batch.__name__) == (0, "batch")
    assert list(found.named(example)) == ["logits"]


def test_examples_stay_within_bounds():
    ids, mask = TEXT.example(3)
    assert ids.dtype == torch.int64 and ids.shape == mask.shape == (3, 6) and ids.eq(2).all() and mask.eq(0).all()
    ids, mask = TEXT.sized(length=500 // 10).example(20, generator=torch.Generator().manual_seed(0))
    assert ids.shape == (20, 50) and (ids.min(), ids.max()) == (2, 30)
    assert -30 <= mask.min() < -29 and -1 < mask.max() <= 0
    half = torch.zeros(1, dtype=torch.float16)
    assert [each.dtype for each in TEXT.example(like=half)] == [torch.int64, torch.float16]


def test_open_dimensions_are_one_for_all_inputs():
    ids, mask = TEXT.dynamic_shapes()
    assert ids == mask and ids[0].__name__ == "batch"
    assert (ids[1].__name__, ids[1].min, ids[1].max) == ("length", 2, 64)


def test_batches_become_arguments_and_outputs_get_names():
    ids, mask = TEXT.example()
    assert TEXT.arguments({"mask": mask, "ids": ids}) == TEXT.arguments([ids, mask]) == (ids, mask)
    assert Signature.of((4,)).arguments(mask) == (mask,)
    assert TEXT.named([mask, {"any": ids}]) == {"tags": mask, "score": ids}
    with pytest.raises(ModelError, match="the batch has no 'mask'"):
        TEXT.arguments({"ids": ids})
    with pytest.raises(ModelError, match=re.escape("the network takes 2 inputs (ids, mask); the batch has 1")):
        TEXT.arguments(ids)
    with pytest.raises(ModelError, match="the network gives 1 tensors; expected 2: tags, score"):
        TEXT.named(ids)
    with pytest.raises(ModelError, match=re.escape("two outputs of the network are called 'a.b'")):
        TEXT.named({"a.b": ids, "a": {"b": ids}})
    with pytest.raises(ModelError, match="the network gives a float as '1.x'"):
        TEXT.named([ids, {"x": 1.0}])


def test_json_and_back():
    every = Signature(
        (TensorSpec("image", (3, 8, 8), bounds=UNBOUNDED), *TEXT.inputs),
        (*TEXT.outputs, TensorSpec("map", (4, 2), kind="bins", axis=0)),
        TEXT.open,
    )
    assert Signature.from_json(json.loads(json.dumps(every.to_json(), allow_nan=False))) == every


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: TensorSpec("", ()), "tensor '' of a signature cannot have name ''"),
        (lambda: TensorSpec("a", (0,)), "cannot have shape (0,): give sizes from 1"),
        (lambda: TensorSpec("a", ("batch",)), "cannot have shape ('batch',)"),
        (lambda: TensorSpec("a", (1,), "int4"), "cannot have dtype 'int4'"),
        (lambda: TensorSpec("a", (1,), "int8", UNBOUNDED), "cannot have bounds (-inf, inf)"),
        (
            lambda: TensorSpec("a", (1,), "uint8", (0, 256)),
            "cannot have bounds (0, 256): give the least and the largest",
        ),
        (lambda: TensorSpec("a", (1,), "int64", (0, 1e300)), "for integers within the range of their type"),
        (lambda: TensorSpec("a", (1,), axis=1), "cannot have axis 1"),
        (lambda: Signature((), ()), "a signature needs an input"),
        (lambda: Signature(TEXT.inputs, TEXT.inputs), "two tensors of a signature are named 'ids'"),
        (lambda: Signature(TEXT.inputs, (), (OpenDimension("lenght"),)), "'lenght' of a signature is in no input's"),
        (lambda: OpenDimension("a", 3, 4), "the open dimension 'a' has examples of 3, outside of 4 to any"),
        (lambda: TEXT.sized(width=3), "no input has an open dimension 'width'; open are length"),
        (lambda: TEXT.sized(length=65), "has examples of 65, outside of 2 to 64"),
    ],
)
def test_mistakes_in_signatures(made, said):
    with pytest.raises(ModelError, match=re.escape(said)):
        made()
